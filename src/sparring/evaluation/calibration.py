"""How well estimates of being a false negative match the withheld facts, and entropy estimates."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

BIN_EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True)
class Bin:
    """Candidates with similar estimates of being facts.

    Attributes:
        low, high: bounds of the estimate; `low` belongs to the bin.
        candidates: how many there are.
        estimate: their mean estimate.
        withheld: fraction of them that are withheld facts.
    """

    low: float
    high: float
    candidates: int
    estimate: float
    withheld: float


@dataclass(frozen=True)
class Calibration:
    """How well `Negatives.p_false_negative` predicts the withheld facts.

    It covers the counted candidates that are neither answers nor training facts.

    Attributes:
        brier: mean squared error; None if there are no such candidates. A sampler that makes no
            estimate says 0, and gets its rate of withheld facts.
        error: expected calibration error: the mean over candidates of how far the mean estimate of
            their bin is from its fraction of withheld facts (Naeini et al., 2015); None likewise.
        bins: those with candidates. They are finer near 0, where nearly all candidates are.
    """

    brier: float | None
    error: float | None
    bins: tuple[Bin, ...]

    @property
    def has_estimates(self) -> bool:
        """Whether the sampler estimates that any candidate may be a fact."""
        return any(each.estimate for each in self.bins)


class CalibrationAccumulator:
    """Running sums of estimates and outcomes, by bin."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(BIN_EDGES) - 1, 4, dtype=torch.double, device=device)

    def add(self, estimate: Float[Tensor, "C"], withheld: Float[Tensor, "C"]) -> None:
        """Add candidates.

        Args:
            estimate: probabilities of being a fact.
            withheld: 1 for withheld facts, 0 for all others.
        """
        inner = torch.tensor(BIN_EDGES[1:-1], dtype=torch.double, device=estimate.device)
        error = (estimate - withheld).square()
        columns = torch.stack([torch.ones_like(estimate), estimate, withheld, error], dim=1)
        self.sums.index_add_(0, torch.bucketize(estimate, inner, right=True), columns)

    def result(self) -> Calibration:
        """The calibration of all candidates that were added."""
        total, _, _, error = self.sums.sum(0).tolist()
        bins = tuple(
            Bin(low, high, int(number), estimate / number, withheld / number)
            for low, high, (number, estimate, withheld, _) in zip(
                BIN_EDGES, BIN_EDGES[1:], self.sums.tolist()
            )
            if number
        )
        gap = math.fsum(each.candidates * abs(each.estimate - each.withheld) for each in bins)
        return Calibration(fraction(error, total), fraction(gap, total), bins)


def fraction(part: float, whole: float) -> float | None:
    """`part / whole`; None if there is no whole, or the part is NaN."""
    return part / whole if whole and not math.isnan(part) else None


def entropy(
    group: Int[Tensor, "M"], count: Int[Tensor, "M"], groups: int
) -> Float[Tensor, "groups"]:
    """Entropy, in nats, of each group's distribution over its members, estimated from counts.

    The plain estimate misses members too rare to be seen. Chao & Shen (2003) scale probabilities
    by the estimated coverage, which is 1 minus the fraction of draws that were seen only once, and
    divide the term of each member by its probability of being seen at all.

    Args:
        group, count: of each member that was seen: its group, and how often, from 1.
        groups: number of groups.

    Returns:
        0 for a group without members.
    """
    none = torch.zeros(groups, dtype=torch.double, device=group.device)
    draws = none.index_add(0, group, count.double())
    once = none.index_add(0, group, (count == 1).double())
    coverage = 1 - torch.minimum(once, draws - 1) / draws  # not 0 where all were seen only once
    probability = coverage[group] * count / draws[group]
    seen = -torch.expm1(draws[group] * torch.log1p(-probability))
    return none.index_add(0, group, -probability * probability.log() / seen)
