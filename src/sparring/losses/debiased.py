"""Losses that take back what the answers among the negatives contribute, by a prior."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparring.losses.base import Loss, average, counted, log_mean, log_minus, tilted, wide


class HardDebiased(Loss):
    """Softmax loss on hard negatives, less the share of true facts expected among them.

    With u = mean of exp(score) over negatives and p = exp(score) of the answer, true negatives
    are estimated as (u - prior * p) / (1 - prior), and count K times (Robinson et al., 2021).

    Args:
        prior: share of candidates that are in truth facts. Hard samplers draw more of these
            than uniform ones, so it belongs to the sampler as much as to the graph.
        hardness: negatives weigh in by softmax of hardness * score / temperature, without
            gradient.
        temperature: scores are divided by it.
        lowest: least score that the model can give, -1 for cosines; the estimate does not fall
            below it. None for models without such a limit.
    """

    def __init__(
        self,
        *,
        prior: float = 1e-3,
        hardness: float = 1.0,
        temperature: float = 1.0,
        lowest: float | None = None,
    ):
        super().__init__()
        self.prior, self.hardness = below_one(prior), hardness
        self.temperature, self.lowest = temperature, lowest

    def forward(self, positive, negative, negatives, weight):
        positive = wide(positive) / self.temperature
        negative = wide(negative) / self.temperature
        share = counted(negatives)
        drawn = log_mean(tilted(share, negative, self.hardness), negative)
        wrong = log_minus(drawn, positive + log_or_lowest(self.prior)) - math.log1p(-self.prior)
        if self.lowest is not None:
            wrong = wrong.clamp(min=self.lowest / self.temperature)
        return average(F.softplus(share.sum(1).log() + wrong - positive), weight)


class Debiased(HardDebiased):
    """`HardDebiased` with all negatives alike (Chuang et al., 2020)."""

    def __init__(
        self, *, prior: float = 1e-3, temperature: float = 1.0, lowest: float | None = None
    ):
        super().__init__(prior=prior, hardness=0.0, temperature=temperature, lowest=lowest)


class HaSa(Loss):
    """Softmax loss on hard negatives, less the candidates suspected to be facts.

    With u = mean of exp(score) over negatives and f over the suspects, both by softmax weights,
    true negatives are estimated as (u - prior * f) / (1 - prior), or 0, and count `count` times.
    Suspects are candidates with a `false_negative` above 0, in proportion to it (Zhang et al.,
    2024, "Learning Hard and Structure-aware ...").

    Args:
        prior: share of candidates that are in truth facts.
        hardness: weights are the softmax of hardness * score, without gradient.
        margin: taken off the score of the answer.
        count: how often the mean negative counts; None for the number of negatives.
        compat: as in the reference code, weights are the softmax of scores scaled to length 1,
            which makes them almost equal, and `count` is 500, the width of its vectors.
    """

    def __init__(
        self,
        *,
        prior: float = 1e-4,
        hardness: float = 1.0,
        margin: float = 1.0,
        count: float | None = None,
        compat: bool = False,
    ):
        super().__init__()
        self.prior, self.hardness, self.margin = below_one(prior), hardness, margin
        self.count = 500.0 if compat and count is None else count
        self.compat = compat

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive) - self.margin, wide(negative)
        share = counted(negatives)
        suspect = negatives.weight * negatives.false_negative
        suspect = suspect * (negatives.mask | (negatives.false_negative == 1))
        judged = unit_rows(negative * (share + suspect > 0)) if self.compat else negative
        drawn = log_mean(tilted(share, judged, self.hardness), negative)
        facts = log_mean(tilted(suspect, judged, self.hardness), negative)
        wrong = log_minus(drawn, facts + log_or_lowest(self.prior)) - math.log1p(-self.prior)
        times = share.sum(1).log() if self.count is None else math.log(self.count)
        return average(F.softplus(times + wrong - positive), weight)


def unit_rows(scores: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Each row scaled to length 1, without gradient."""
    return F.normalize(scores.detach(), dim=1)


def log_or_lowest(prior: float) -> float:
    """Log of the prior; -inf for a prior of 0."""
    return math.log(prior) if prior else -torch.inf


def below_one(prior: float) -> float:
    """The prior, if it is a share that leaves something.

    Raises:
        ValueError: if it is below 0, or 1 or above.
    """
    if not 0 <= prior < 1:
        raise ValueError(f"the prior of a false negative is a share below 1; got {prior}")
    return prior
