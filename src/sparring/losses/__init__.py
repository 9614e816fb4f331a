"""How wrong answers should score against right ones."""

from sparring.losses.adaptive import Tans
from sparring.losses.base import Loss, attention, average
from sparring.losses.debiased import Debiased, HardDebiased, HaSa
from sparring.losses.logistic import Logistic, SelfAdversarial, SummedLogistic
from sparring.losses.margin import DoubleMargin, MarginRanking, PairwiseLogistic
from sparring.losses.nce import NCE
from sparring.losses.smoothed import Emu, SmoothedLogistic, SmoothedSoftmax
from sparring.losses.softmax import Softmax
from sparring.losses.true_negatives import TrueNegativeSoftmax
from sparring.losses.unlabeled import NonNegative

LOSSES = {
    "debiased": Debiased,
    "double-margin": DoubleMargin,
    "emu": Emu,
    "hard-debiased": HardDebiased,
    "hasa": HaSa,
    "logistic": Logistic,
    "margin": MarginRanking,
    "nce": NCE,
    "non-negative": NonNegative,
    "pairwise-logistic": PairwiseLogistic,
    "self-adversarial": SelfAdversarial,
    "smoothed-logistic": SmoothedLogistic,
    "smoothed-softmax": SmoothedSoftmax,
    "softmax": Softmax,
    "summed-logistic": SummedLogistic,
    "tans": Tans,
    "true-negative-softmax": TrueNegativeSoftmax,
}

__all__ = [
    "LOSSES",
    "NCE",
    "Debiased",
    "DoubleMargin",
    "Emu",
    "HaSa",
    "HardDebiased",
    "Logistic",
    "Loss",
    "MarginRanking",
    "NonNegative",
    "PairwiseLogistic",
    "SelfAdversarial",
    "SmoothedLogistic",
    "SmoothedSoftmax",
    "Softmax",
    "SummedLogistic",
    "Tans",
    "TrueNegativeSoftmax",
    "attention",
    "average",
]
