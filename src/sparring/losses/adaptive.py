"""Losses that weigh queries by what the model thinks of them."""

from dataclasses import replace

import torch

from sparring.losses.base import Loss, known_facts, log_total, wide
from sparring.losses.logistic import Logistic


class Tans(Loss):
    """`Logistic` with queries weighed by (sum of exp(score) over known answers) ** gamma.

    The model's own estimate of how common a query is takes the place of counts (Feng et al.,
    2024). Known answers are those that the sampler shows beside its negatives (`show-known`);
    where there are none, the query's own answer. The reference code's factor cancels by a slip
    in its shapes, so that gamma = 0 reproduces it.

    Args:
        margin, temperature: as in `Logistic`.
        gamma: below 0, rare queries weigh more; 0 for equal weights.
    """

    def __init__(self, *, margin: float = 9.0, temperature: float = 1.0, gamma: float = -0.5):
        super().__init__()
        self.plain = Logistic(margin=margin, temperature=temperature)
        self.gamma = gamma

    def forward(self, positive, negative, negatives, weight):
        answer, candidate = wide(positive).detach(), wide(negative).detach()
        known = known_facts(negatives)
        total = log_total(known.log(), candidate, candidate.new_ones(()))
        common = self.gamma * torch.where((known > 0).any(1), total, answer)
        common = common.masked_fill(weight == 0, -torch.inf)
        factor = (common - common.amax()).exp()
        other = negatives.query_weight
        negatives = replace(negatives, query_weight=None if other is None else other * factor)
        return self.plain(positive, negative, negatives, weight * factor)
