"""How often what is said to be true with some probability is true."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ReliabilityBin:
    """Candidates with similar probabilities.

    Attributes:
        low, high: bounds of the probability; `low` belongs to the bin.
        candidates: how many per query, on average.
        probability: their mean probability.
        true: fraction of them that are facts.
    """

    low: float
    high: float
    candidates: float
    probability: float
    true: float


BIN_COLUMNS = [each.name for each in fields(ReliabilityBin)]


def reliability(
    probability: Float[Tensor, "M"],
    true: Float[Tensor, "M"],
    weight: Float[Tensor, "M"],
    edges: Sequence[float],
) -> list[ReliabilityBin]:
    """The bins that hold candidates.

    Args:
        probability: of each candidate to be true.
        true: 1 for those that are, 0 for all others.
        weight: how many candidates each stands for.
        edges: bounds of the bins, from 0 to 1.
    """
    inner = torch.tensor(edges[1:-1], dtype=torch.double, device=probability.device)
    place = torch.bucketize(probability.double(), inner, right=True)
    columns = torch.stack([weight, weight * probability, weight * true], 1).double()
    sums = torch.zeros(len(edges) - 1, 3, dtype=torch.double, device=probability.device)
    sums.index_add_(0, place, columns)
    return [
        ReliabilityBin(low, high, number, mean / number, facts / number)
        for low, high, (number, mean, facts) in zip(edges, edges[1:], sums.tolist())
        if number
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean over candidates of |mean probability - fraction of facts| of their bin."""
    total = math.fsum(each.candidates for each in bins)
    gaps = (each.candidates * abs(each.probability - each.true) for each in bins)
    return math.fsum(gaps) / total
