"""Losses: they compare the score of the answer with the scores of its negatives.

`pointwise` looks at each score by itself, `margin` at differences and thresholds, `softmax` at the
answer among all its negatives. `Loss` says how to write another one.
"""

from sparring.losses.base import LOSSES, Loss, adversarial_weights, to_float32, weighted_mean
from sparring.losses.margin import DoubleMarginLoss, MarginRankingLoss, SoftMarginRankingLoss
from sparring.losses.pointwise import NCE, BCELoss, NNPULoss, NSSALoss
from sparring.losses.softmax import HardDebiased, HaSa, SampledSoftmax, TrueNegativeSoftmax

__all__ = [
    "LOSSES",
    "NCE",
    "BCELoss",
    "DoubleMarginLoss",
    "HaSa",
    "HardDebiased",
    "Loss",
    "MarginRankingLoss",
    "NNPULoss",
    "NSSALoss",
    "SampledSoftmax",
    "SoftMarginRankingLoss",
    "TrueNegativeSoftmax",
    "adversarial_weights",
    "to_float32",
    "weighted_mean",
]
