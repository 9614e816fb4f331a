"""Geometries that compare a query vector with candidate entities.

Candidate lists may be own (G = B), shared by chunks (1 < G < B) or global (G = 1, for example
all N entities). One code path serves all three. `entity` looks vectors up by id: an embedding
table, or the rows of an encoded matrix.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import grouped

Lookup = Callable[[Tensor], Tensor]
AT_ONCE = 2**24  # numbers that a comparison may spell out, beyond the candidates' vectors
TINY = 1e-12  # distances below 1e-6 have no direction


@dataclass(frozen=True, eq=False)
class LookupScorer(ABC):
    """What scorers share that compare queries with vectors, and with nothing else."""

    query: Float[Tensor, "B d"]
    entity: Lookup

    def vectors(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates."""
        return self.entity(ids)

    def at(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors, which need not be those of entities."""
        nobody = torch.zeros(vectors.shape[:2], dtype=torch.long, device=vectors.device)
        return replace(self, entity=lambda ids: vectors)(nobody)

    @abstractmethod
    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]: ...


@dataclass(frozen=True, eq=False)
class DotScorer(LookupScorer):
    """Inner product of query and candidate."""

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return (grouped(self.query, len(ids)) @ self.entity(ids).mT).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class EuclideanScorer(LookupScorer):
    """Minus the L2 distance; where lists are shared by inner products, without a [B, K, d]."""

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query, candidate = grouped(self.query, len(ids)), self.entity(ids)
        if query.shape[1] == 1:  # differences take fewer passes than products of one row each
            return -torch.linalg.vector_norm(query - candidate, dim=2)
        return -_root(_squared_distance(query, candidate)).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class CityBlockScorer(LookupScorer):
    """Minus the L1 distance."""

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return -torch.cdist(grouped(self.query, len(ids)), self.entity(ids), p=1.0).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class ShiftedScorer:
    """Minus the L2 distance to candidates moved along the query's axis by `slide`.

    Attributes:
        axis: direction in which a query moves the candidates.
        slide: how far, from the candidates' ids, their vectors and the axis; [G, b, K].
    """

    query: Float[Tensor, "B d"]
    axis: Float[Tensor, "B d"]
    entity: Lookup
    slide: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query, axis = grouped(self.query, len(ids)), grouped(self.axis, len(ids))
        candidate = self.entity(ids)
        along = axis @ candidate.mT
        slide = self.slide(ids, along, axis)
        # |q - e - a x|^2 = |q - e|^2 - 2 a x.(q - e) + a^2 |x|^2
        toward = (axis * query).sum(2, keepdim=True) - along
        length = (axis**2).sum(2, keepdim=True)
        far = _squared_distance(query, candidate) - 2 * slide * toward + slide**2 * length
        return -_root(far).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class BroadcastScorer(LookupScorer):
    """Any comparison of a query vector with a candidate, a bounded number of them at once.

    Attributes:
        compare: maps vectors [..., c] and [..., d] that broadcast to scores [...].
    """

    query: Float[Tensor, "B c"]
    entity: Lookup
    compare: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query, candidate = grouped(self.query, len(ids)).unsqueeze(2), self.entity(ids).unsqueeze(1)
        width = max(1, AT_ONCE // (len(self.query) * candidate.shape[-1]))
        parts = [self.compare(query, some) for some in candidate.split(width, dim=2)]
        return torch.cat(parts, dim=2).flatten(0, 1)


def _squared_distance(
    query: Float[Tensor, "G b d"], candidate: Float[Tensor, "G K d"]
) -> Float[Tensor, "G b K"]:
    here = (query**2).sum(2, keepdim=True)
    there = (candidate**2).sum(2).unsqueeze(1)
    return torch.baddbmm(here + there, query, candidate.mT, alpha=-2)


def _root(squared: Tensor) -> Tensor:
    # rounding can take a square below 0, and the root has no gradient at 0
    return squared.clamp_min(TINY).sqrt()
