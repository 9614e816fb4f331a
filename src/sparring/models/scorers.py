"""Scorers: the functions that models return, from candidate ids to scores.

Candidate lists may be one per query (G = B), shared by chunks of queries (1 < G < B) or shared by
all (G = 1, for example all N entities); one code path serves all three. The attribute `entity` of a
scorer looks up vectors by id: it is an embedding table, or a function of your own. Where it is a
table on the CPU, a compiled kernel scores its rows without copying them, unless a matrix product
is faster.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Scorer
from sparring.embedding import ScoringTable
from sparring.groups import expand_lists, group_rows
from sparring.kernels.embedding import (
    COMPLEX_L1,
    DOT,
    L1,
    L2,
    SQUARED_L2,
    TINY,
    ScoreKernel,
)

Lookup = Callable[[Tensor], Tensor]  # from ids [...] to vectors [..., d]
Distance = Callable[[Tensor, Lookup], Scorer]  # from query vectors and a lookup to a scorer

MAX_BROADCAST_ELEMENTS = 2**24  # largest [G, b, K, d] tensor that a broadcast may create


@dataclass(frozen=True, eq=False)
class LookupScorer(ABC):
    """Base of the scorers that compare one query vector with one vector per candidate.

    Attributes:
        query: one vector per query.
        entity: vectors of candidates by id.
        kernel: compiled loops that compute the same scores; None if there are none.
    """

    query: Float[Tensor, "B d"]
    entity: Lookup
    kernel: ClassVar[ScoreKernel | None] = None

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Score each query against its list of candidates."""
        if isinstance(self.entity, ScoringTable):
            return self.entity.compare(self, ids)
        return self.score_in_pytorch(ids)

    @abstractmethod
    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """The same scores by PyTorch operations on the candidates' vectors."""

    def embeddings(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates."""
        return self.entity(ids)

    def score_embeddings(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of any vectors, whether or not they belong to entities."""
        unused = torch.zeros(vectors.shape[:2], dtype=torch.long, device=vectors.device)
        return replace(self, entity=lambda ids: vectors)(unused)

    def __getitem__(self, rows: slice) -> "LookupScorer":
        """The scorer of the selected queries."""
        return replace(self, query=self.query[rows])


@dataclass(frozen=True, eq=False)
class DotScorer(LookupScorer):
    """Inner product of query and candidate."""

    kernel = DOT

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return (group_rows(self.query, len(ids)) @ self.entity(ids).mT).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class L1Scorer(LookupScorer):
    """Negative L1 distance of query and candidate."""

    kernel = L1

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return -torch.cdist(group_rows(self.query, len(ids)), self.entity(ids), p=1.0).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class L2Scorer(LookupScorer):
    """Negative L2 distance of query and candidate.

    Shared lists are scored by inner products, without a [B, K, d] tensor.
    """

    kernel = L2

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query, candidate = group_rows(self.query, len(ids)), self.entity(ids)
        if query.shape[1] == 1:  # one query per list: differences are cheaper than products
            return -torch.linalg.vector_norm(query - candidate, dim=2)
        return -_safe_sqrt(_squared_distance(query, candidate)).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class BiasedSquaredL2Scorer(LookupScorer):
    """Biases of query and candidate, their last numbers, minus the squared L2 distance of the rest.

    Shared lists are scored by inner products, without a [B, K, d] tensor.
    """

    kernel = SQUARED_L2

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query, candidate = group_rows(self.query, len(ids)), self.entity(ids)
        query, query_bias = query[..., :-1], query[..., -1:]
        candidate, bias = candidate[..., :-1], candidate[..., -1]
        if query.shape[1] == 1:  # one query per list: differences are cheaper than products
            squared = ((query - candidate) ** 2).sum(2, keepdim=True).mT
        else:
            squared = _squared_distance(query, candidate)
        return (query_bias + bias.unsqueeze(1) - squared).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class ComplexL1Scorer(LookupScorer):
    """Negative sum of the moduli of query - candidate; complex vectors are [real, imaginary]."""

    kernel = COMPLEX_L1

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return BroadcastScorer(self.query, self.entity, negative_modulus_sum)(ids)


@dataclass(frozen=True, eq=False)
class BroadcastScorer(LookupScorer):
    """Any comparison of a query vector with a candidate's, in chunks of bounded memory.

    Attributes:
        compare: maps vectors [..., c] and [..., d], which broadcast, to scores [...].
    """

    query: Float[Tensor, "B c"]
    entity: Lookup
    compare: Callable[[Tensor, Tensor], Tensor]

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        query = group_rows(self.query, len(ids)).unsqueeze(2)
        candidate = self.entity(ids).unsqueeze(1)
        width = max(1, MAX_BROADCAST_ELEMENTS // max(1, len(self.query) * candidate.shape[-1]))
        parts = [self.compare(query, chunk) for chunk in candidate.split(width, dim=2)]
        return torch.cat(parts, dim=2).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class ProjectedL2Scorer:
    """Negative L2 distance to candidates that the query's relation projects first.

    A candidate e becomes e + a x, with the query's direction x and a coefficient a of the pair.

    Attributes:
        query: one vector per query.
        direction: one direction x per query.
        entity: vectors of candidates by id.
        coefficient: maps ids [G, K] and the inner products [G, b, K] of directions and candidates
            to coefficients a that broadcast to [G, b, K].
    """

    query: Float[Tensor, "B d"]
    direction: Float[Tensor, "B d"]
    entity: Lookup
    coefficient: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Score each query against its list of candidates."""
        query, direction = group_rows(self.query, len(ids)), group_rows(self.direction, len(ids))
        candidate = self.entity(ids)
        product = direction @ candidate.mT
        coefficient = self.coefficient(ids, product)
        # |q - e - a x|^2 = |q - e|^2 - 2 a x.(q - e) + a^2 |x|^2
        cross = (direction * query).sum(2, keepdim=True) - product
        length = (direction**2).sum(2, keepdim=True)
        squared = (  # one expression: a name would keep another [B, K] in memory
            _squared_distance(query, candidate) - 2 * coefficient * cross + coefficient**2 * length
        )
        return -_safe_sqrt(squared).flatten(0, 1)

    def __getitem__(self, rows: slice) -> "ProjectedL2Scorer":
        """The scorer of the selected queries."""
        return replace(self, query=self.query[rows], direction=self.direction[rows])


@dataclass(frozen=True, eq=False)
class PrecomputedScorer:
    """Looks up scores of all entities that are computed already."""

    scores: Float[Tensor, "B N"]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """The scores of the candidates."""
        rows = group_rows(self.scores, len(ids))
        return rows.gather(2, expand_lists(ids, len(self.scores))).flatten(0, 1)

    def __getitem__(self, rows: slice) -> "PrecomputedScorer":
        """The scorer of the selected queries."""
        return PrecomputedScorer(self.scores[rows])


def distance_for_norm(norm: int, l1: Distance, l2: Distance) -> Distance:
    """The distance for norm 1 or norm 2.

    Raises:
        ValueError: for any other norm.
    """
    if norm not in (1, 2):
        raise ValueError(f"norm must be 1 or 2; got {norm}")
    return (l1, l2)[norm - 1]


def negative_modulus_sum(
    query: Float[Tensor, "... d"], candidate: Float[Tensor, "... d"]
) -> Float[Tensor, "..."]:
    """Negative sum of the moduli of a difference of complex vectors, stored [real, imaginary]."""
    real, imaginary = (query - candidate).chunk(2, dim=-1)
    return -(real**2 + imaginary**2).clamp_min(TINY).sqrt().sum(-1)


def _squared_distance(
    query: Float[Tensor, "G b d"], candidate: Float[Tensor, "G K d"]
) -> Float[Tensor, "G b K"]:
    lengths = (query**2).sum(2, keepdim=True) + (candidate**2).sum(2).unsqueeze(1)
    return torch.baddbmm(lengths, query, candidate.mT, alpha=-2)


def _safe_sqrt(squared: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    # rounding can take a square below 0, and the root has no gradient at 0
    return squared.clamp_min(TINY).sqrt()
