"""Losses with a margin: between answers and negatives, or on either side of a threshold."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.kernels.losses import hinge
from sparring.losses.base import (
    Loss,
    adversarial_weights,
    combine_terms,
    to_float32,
    weighted_mean,
)
from sparring.registry import register

RENAMED = {"temperature": "adversarial_temperature"}


@register("margin-ranking", aliases=["margin"], renamed=RENAMED)
class MarginRankingLoss(Loss):
    """Mean over negatives of max(0, margin + negative - positive) (Bordes et al., 2013).

    Args:
        margin: how far above each negative the answer should be.
        adversarial_temperature: as in `NSSALoss`.
    """

    def __init__(self, *, margin: float = 1.0, adversarial_temperature: float = 0.0):
        super().__init__()
        self.margin, self.adversarial_temperature = margin, adversarial_temperature

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        share = hinge_weights(negative, negatives, self.adversarial_temperature)
        gap = hinge(share, negatives.mask, negative, self.margin - positive)
        return weighted_mean(gap, weight)


@register("soft-margin-ranking", aliases=["pairwise-logistic"], renamed=RENAMED)
class SoftMarginRankingLoss(Loss):
    """Mean over negatives of log(1 + exp(margin + negative - positive)) (Burges et al., 2005).

    The smooth form of `MarginRankingLoss`: its gradient fades, but never becomes 0.

    Args:
        margin: as in `MarginRankingLoss`.
        adversarial_temperature: as in `NSSALoss`.
    """

    def __init__(self, *, margin: float = 0.0, adversarial_temperature: float = 0.0):
        super().__init__()
        self.margin, self.adversarial_temperature = margin, adversarial_temperature

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        share = adversarial_weights(negative, negatives, self.adversarial_temperature)
        gap = F.softplus(negative - positive.unsqueeze(1) + self.margin)
        return weighted_mean((share * gap).sum(1), weight)


@register(
    "double-margin",
    renamed={**RENAMED, "floor": "positive_margin", "ceiling": "negative_margin"},
)
class DoubleMarginLoss(Loss):
    """max(0, positive_margin - positive) plus the mean of max(0, negative - negative_margin).

    Each score is compared with a threshold of its own (Zhou et al., 2017).

    Args:
        positive_margin: an answer that scores at least this much gets no gradient.
        negative_margin: a negative that scores at most this much gets no gradient.
        adversarial_temperature: as in `NSSALoss`.

    Raises:
        ValueError: if the negative margin is above the positive one.
    """

    def __init__(
        self,
        *,
        positive_margin: float = 1.0,
        negative_margin: float = 0.0,
        adversarial_temperature: float = 0.0,
    ):
        super().__init__()
        if negative_margin > positive_margin:
            raise ValueError(
                "negative_margin must not be above positive_margin; "
                f"got negative_margin={negative_margin} and positive_margin={positive_margin}"
            )
        self.positive_margin, self.negative_margin = positive_margin, negative_margin
        self.adversarial_temperature = adversarial_temperature

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        share = hinge_weights(negative, negatives, self.adversarial_temperature)
        right = F.relu(self.positive_margin - positive)
        threshold = torch.full_like(positive, -self.negative_margin)
        wrong = hinge(share, negatives.mask, negative, threshold)
        return combine_terms(right, wrong, weight, negatives.negative_query_weight)


def hinge_weights(
    negative: Float[Tensor, "B K"], negatives: Negatives, temperature: float
) -> Float[Tensor, "B K"]:
    """`adversarial_weights`, but where these are in proportion to the weights given, just those.

    `hinge` applies the mask and divides by the sum itself.
    """
    if not temperature:
        return negatives.weight
    return adversarial_weights(negative, negatives, temperature)
