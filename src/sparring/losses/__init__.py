"""How wrong answers should score against right ones."""

from sparring.losses.base import LOSSES, Loss, attention, average
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
