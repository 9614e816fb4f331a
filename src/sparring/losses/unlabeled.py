"""Losses for negatives that are unlabelled rather than wrong."""

import torch
from torch.nn import functional as F

from sparring.losses.base import Loss, attention, average, counted, wide
from sparring.losses.debiased import below_one


class NonNegative(Loss):
    """Learning from positive and unlabelled examples, with a risk that stays non-negative.

    Of the unlabelled candidates a share `prior` is right; the loss they would cause as wrong
    ones is estimated at the answers and taken off, over the whole batch, down to 0 (Kiryo et
    al., 2017; for knowledge graphs, Tang et al., 2022).
    """

    def __init__(self, *, prior: float = 1e-5):
        super().__init__()
        self.prior = below_one(prior)

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, 0.0)
        heard = weight * (counted(negatives) > 0).any(1)
        unlabelled = (share * F.softplus(negative)).sum(1) * heard
        unlabelled = unlabelled.sum() / heard.sum().clamp(min=torch.finfo(heard.dtype).tiny)
        mistaken = self.prior * average(F.softplus(positive), weight)
        return self.prior * average(F.softplus(-positive), weight) + F.relu(unlabelled - mistaken)
