"""Losses with a margin between right and wrong answers, or on both sides of a line."""

import torch
from torch.nn import functional as F

from sparring.losses.base import Loss, attention, average, both_terms, weights, wide
from sparring.losses.hinge import hinge


class MarginRanking(Loss):
    """Mean of max(0, margin + wrong - right) over negatives (Bordes et al., 2013).

    Args:
        temperature: as in `Logistic`.
    """

    def __init__(self, *, margin: float = 1.0, temperature: float = 0.0):
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = weights(negative, negatives, self.temperature)
        gap = hinge(share, negatives.mask, negative, self.margin - positive)
        return average(gap, weight)


class PairwiseLogistic(Loss):
    """Mean of log(1 + exp(margin + wrong - right)) over negatives: a margin that never dies.

    Args:
        temperature: as in `Logistic`.
    """

    def __init__(self, *, margin: float = 0.0, temperature: float = 0.0):
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, self.temperature)
        gap = F.softplus(negative - positive.unsqueeze(1) + self.margin)
        return average((share * gap).sum(1), weight)


class DoubleMargin(Loss):
    """Right answers at least at `floor`, wrong ones at most at `ceiling` (Zhou et al., 2017).

    Args:
        floor, ceiling: scores beyond which there is nothing to learn.
        temperature: as in `Logistic`.

    Raises:
        ValueError: if the ceiling of wrong answers is above the floor of right ones.
    """

    def __init__(self, *, floor: float = 1.0, ceiling: float = 0.0, temperature: float = 0.0):
        super().__init__()
        if ceiling > floor:
            raise ValueError(
                "double margin needs the ceiling of wrong answers below the floor of right ones; "
                f"got ceiling={ceiling} and floor={floor}"
            )
        self.floor, self.ceiling, self.temperature = floor, ceiling, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = weights(negative, negatives, self.temperature)
        ceiling = torch.full_like(positive, -self.ceiling)
        wrong = hinge(share, negatives.mask, negative, ceiling)
        return both_terms(F.relu(self.floor - positive), wrong, negatives, weight)
