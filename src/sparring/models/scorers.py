"""Geometries that compare a query vector with candidate entities.

Candidate lists may be own (G = B), shared by chunks (1 < G < B) or global (G = 1, for example
all N entities). One code path serves all three. `entity` looks vectors up by id: an embedding
table, or the rows of an encoded matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import grouped

Lookup = Callable[[Tensor], Tensor]
TINY = 1e-12  # distances below 1e-6 have no direction


@dataclass(frozen=True, eq=False)
class DotScorer:
    """Inner product of query and candidate."""

    query: Float[Tensor, "B d"]
    entity: Lookup

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return (grouped(self.query, len(ids)) @ self.entity(ids).mT).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class EuclideanScorer:
    """Minus the L2 distance, by inner products: no [B, K, d] beyond the candidates' vectors."""

    query: Float[Tensor, "B d"]
    entity: Lookup

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query, candidate = grouped(self.query, len(ids)), self.entity(ids)
        return -_root(_squared_distance(query, candidate)).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class CityBlockScorer:
    """Minus the L1 distance."""

    query: Float[Tensor, "B d"]
    entity: Lookup

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
class BroadcastScorer:
    """Any comparison of a query vector with a candidate; memory grows with B * K * d.

    Attributes:
        compare: maps vectors [..., c] and [..., d] that broadcast to scores [...].
    """

    query: Float[Tensor, "B c"]
    entity: Lookup
    compare: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query = grouped(self.query, len(ids)).unsqueeze(2)
        return self.compare(query, self.entity(ids).unsqueeze(1)).flatten(0, 1)


def _squared_distance(
    query: Float[Tensor, "G b d"], candidate: Float[Tensor, "G K d"]
) -> Float[Tensor, "G b K"]:
    here = (query**2).sum(2, keepdim=True)
    there = (candidate**2).sum(2).unsqueeze(1)
    return torch.baddbmm(here + there, query, candidate.mT, alpha=-2)


def _root(squared: Tensor) -> Tensor:
    # rounding can take a square below 0, and the root has no gradient at 0
    return squared.clamp_min(TINY).sqrt()
