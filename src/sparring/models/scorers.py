"""Geometries that compare a query vector with candidate entities.

Candidate lists may be own (G = B), shared by chunks (1 < G < B) or global (G = 1, for example
all N entities). One code path serves all three. `entity` looks vectors up by id: an embedding
table, or the rows of an encoded matrix. Rows of a table on the processor are compared where they
stand, by compiled loops, unless the list is shared and inner products do better.

A geometry of models that score all entities at once, whoever asks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import expand_lists, group_rows
from sparring.embedding import CITY_BLOCK, DISTANCE, MODULI, PRODUCT, Comparison, EmbeddingTable
from sparring.kernels.embedding import TINY

Lookup = Callable[[Tensor], Tensor]
AT_ONCE = 2**24  # numbers that a comparison may spell out, beyond the candidates' vectors


@dataclass(frozen=True, eq=False)
class LookupScorer(ABC):
    """What scorers share that compare queries with vectors, and with nothing else.

    Attributes:
        how: loops that do the same with rows of a table.
    """

    query: Float[Tensor, "B d"]
    entity: Lookup
    how: ClassVar[Comparison | None] = None

    def vectors(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates."""
        return self.entity(ids)

    def at(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors, which need not be those of entities."""
        nobody = torch.zeros(vectors.shape[:2], dtype=torch.long, device=vectors.device)
        return replace(self, entity=lambda ids: vectors)(nobody)

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        table, how = self.entity, self.how
        if how and isinstance(table, EmbeddingTable) and table.fits(how, self.query, ids):
            return table.compare(how, self.query, ids)
        return self.spelled_out(ids)

    def __getitem__(self, rows: slice) -> "LookupScorer":
        """The scorer of the chosen queries."""
        return replace(self, query=self.query[rows])

    @abstractmethod
    def spelled_out(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """The scores, by way of candidates' vectors."""


@dataclass(frozen=True, eq=False)
class DotScorer(LookupScorer):
    """Inner product of query and candidate."""

    how = PRODUCT

    def spelled_out(self, ids):
        return (group_rows(self.query, len(ids)) @ self.entity(ids).mT).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class EuclideanScorer(LookupScorer):
    """Minus the L2 distance; where lists are shared by inner products, without a [B, K, d]."""

    how = DISTANCE

    def spelled_out(self, ids):
        query, candidate = group_rows(self.query, len(ids)), self.entity(ids)
        if query.shape[1] == 1:  # differences take fewer passes than products of one row each
            return -torch.linalg.vector_norm(query - candidate, dim=2)
        return -_root(_squared_distance(query, candidate)).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class CityBlockScorer(LookupScorer):
    """Minus the L1 distance."""

    how = CITY_BLOCK

    def spelled_out(self, ids):
        return -torch.cdist(group_rows(self.query, len(ids)), self.entity(ids), p=1.0).flatten(0, 1)


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
        query, axis = group_rows(self.query, len(ids)), group_rows(self.axis, len(ids))
        candidate = self.entity(ids)
        along = axis @ candidate.mT
        slide = self.slide(ids, along, axis)
        # |q - e - a x|^2 = |q - e|^2 - 2 a x.(q - e) + a^2 |x|^2
        toward = (axis * query).sum(2, keepdim=True) - along
        length = (axis**2).sum(2, keepdim=True)
        far = _squared_distance(query, candidate) - 2 * slide * toward + slide**2 * length
        return -_root(far).flatten(0, 1)

    def __getitem__(self, rows: slice) -> "ShiftedScorer":
        """The scorer of the chosen queries."""
        return replace(self, query=self.query[rows], axis=self.axis[rows])


@dataclass(frozen=True, eq=False)
class BroadcastScorer(LookupScorer):
    """Any comparison of a query vector with a candidate, a bounded number of them at once.

    Attributes:
        compare: maps vectors [..., c] and [..., d] that broadcast to scores [...].
    """

    query: Float[Tensor, "B c"]
    entity: Lookup
    compare: Callable[[Tensor, Tensor], Tensor]

    def spelled_out(self, ids):
        query, candidate = (
            group_rows(self.query, len(ids)).unsqueeze(2),
            self.entity(ids).unsqueeze(1),
        )
        width = max(1, AT_ONCE // max(1, len(self.query) * candidate.shape[-1]))
        parts = [self.compare(query, some) for some in candidate.split(width, dim=2)]
        return torch.cat(parts, dim=2).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class ModuliScorer(LookupScorer):
    """Minus the sum of moduli of query less candidate, both [real, imaginary]."""

    how = MODULI

    def spelled_out(self, ids):
        return BroadcastScorer(self.query, self.entity, minus_moduli)(ids)


def minus_moduli(query: Tensor, candidate: Tensor) -> Tensor:
    """Minus the sum of moduli of a difference of complex vectors stored as [real, imaginary]."""
    real, imaginary = (query - candidate).chunk(2, dim=-1)
    return -(real**2 + imaginary**2).clamp_min(TINY).sqrt().sum(-1)


def _squared_distance(
    query: Float[Tensor, "G b d"], candidate: Float[Tensor, "G K d"]
) -> Float[Tensor, "G b K"]:
    here = (query**2).sum(2, keepdim=True)
    there = (candidate**2).sum(2).unsqueeze(1)
    return torch.baddbmm(here + there, query, candidate.mT, alpha=-2)


def _root(squared: Tensor) -> Tensor:
    # rounding can take a square below 0, and the root has no gradient at 0
    return squared.clamp_min(TINY).sqrt()


@dataclass(frozen=True, eq=False)
class TableScorer:
    """Scores of all entities, made already; candidates are looked up."""

    table: Float[Tensor, "B N"]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        rows = group_rows(self.table, len(ids))
        wanted = expand_lists(ids, len(self.table))
        return rows.gather(2, wanted).flatten(0, 1)

    def __getitem__(self, rows: slice) -> "TableScorer":
        """The scorer of the chosen queries."""
        return TableScorer(self.table[rows])
