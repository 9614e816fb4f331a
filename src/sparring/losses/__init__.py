"""How wrong answers should score against right ones."""

from sparring.losses.base import Loss, attention, average
from sparring.losses.margin import DoubleMargin, MarginRanking, PairwiseLogistic
from sparring.losses.pointwise import (
    NCE,
    Logistic,
    NonNegative,
    SelfAdversarial,
    SmoothedLogistic,
    SummedLogistic,
    Tans,
)
from sparring.losses.softmax import (
    Debiased,
    Emu,
    HardDebiased,
    HaSa,
    SmoothedSoftmax,
    Softmax,
    TrueNegativeSoftmax,
)

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
