"""Models that move the anchor by the relation and measure the distance to the candidate."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Scorer
from sparring.data.graph import TrainGraph
from sparring.models.base import EmbeddingModel, complex_magnitude
from sparring.models.scorers import (
    CityBlockScorer,
    EuclideanScorer,
    Lookup,
    ModuliScorer,
    ShiftedScorer,
)
from sparring.registry import register

Distance = Callable[[Tensor, Lookup], Scorer]


@register("transe", example={"dim": 8})
class TransE(EmbeddingModel):
    """-||anchor + relation - candidate||; a relation's inverse is its negation.

    Bordes et al., 2013, "Translating Embeddings for Modeling Multi-relational Data".

    Args:
        norm: 1 or 2. With 2, distances are inner products and shared lists cost little.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        norm: int = 1,
        reciprocal_relations: bool = False,
        init: float | None = None,
        dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__(
            graph,
            dim=dim,
            reciprocal_relations=reciprocal_relations,
            init=init,
            dropout=dropout,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )
        self.distance = one_of_two(norm, CityBlockScorer, EuclideanScorer)

    def forward(self, queries):
        shift = self.relation(self.relation_row(queries.relation)) * self.turned(queries.relation)
        return self.distance(self.drop(self.entity(queries.anchor) + shift), self.entity)


@register("transh", example={"dim": 8})
class TransH(EmbeddingModel):
    """Translation on a hyperplane of the relation, whose unit normal projects both ends.

    Wang et al., 2014, "Knowledge Graph Embedding by Translating on Hyperplanes". The distance
    is not squared, and the normal is normalised exactly instead of by a penalty.
    """

    def relation_width(self):
        return 2 * self.dim

    def forward(self, queries):
        both = self.relation(self.relation_row(queries.relation))
        shift, normal = both.chunk(2, dim=1)
        normal = F.normalize(normal, dim=1)
        anchor = self.entity(queries.anchor)
        flat = anchor - (anchor * normal).sum(1, keepdim=True) * normal
        query = self.drop(flat + shift * self.turned(queries.relation))
        return ShiftedScorer(query, normal, self.entity, minus_along)


def minus_along(ids: Tensor, along: Tensor, axis: Tensor) -> Tensor:
    """The slide that projects candidates onto the hyperplane of a unit normal."""
    return -along


@register("transd", example={"dim": 8})
class TransD(EmbeddingModel):
    """Each end is shifted along the relation's projection vector, as far as its own says.

    Ji et al., 2015, "Knowledge Graph Embedding via Dynamic Mapping Matrix", with entities and
    relations of one width. The distance is not squared.
    """

    def relation_width(self):
        return 2 * self.dim

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        reciprocal_relations: bool = False,
        init: float | None = None,
        dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__(
            graph,
            dim=dim,
            reciprocal_relations=reciprocal_relations,
            init=init,
            dropout=dropout,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )
        self.projection = self.table(graph.num_entities, dim)

    def slide(self, ids: Int[Tensor, "G K"], along: Tensor, axis: Tensor) -> Tensor:
        """How far candidates are shifted: as far as their own projection vectors say."""
        return (self.projection(ids) * self.entity(ids)).sum(2).unsqueeze(1)

    def forward(self, queries):
        both = self.relation(self.relation_row(queries.relation))
        shift, axis = both.chunk(2, dim=1)
        anchor = self.entity(queries.anchor)
        far = (self.projection(queries.anchor) * anchor).sum(1, keepdim=True)
        query = self.drop(anchor + far * axis + shift * self.turned(queries.relation))
        return ShiftedScorer(query, axis, self.entity, self.slide)


@register("rotate", example={"dim": 8})
class RotatE(EmbeddingModel):
    """Rotation in the complex plane; a relation's inverse turns the other way.

    Sun et al., 2019, "RotatE: Knowledge Graph Embedding by Relational Rotation in Complex Space".

    Args:
        dim: real numbers per entity; half of them are imaginary parts.
        norm: 1 for the paper's sum of moduli, 2 for the L2 distance, which is made of inner
            products, so that shared lists cost little.
    """

    width = 2

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        norm: int = 1,
        reciprocal_relations: bool = False,
        init: float | None = None,
        dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__(
            graph,
            dim=dim,
            reciprocal_relations=reciprocal_relations,
            init=init,
            dropout=dropout,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )
        self.distance = one_of_two(norm, ModuliScorer, EuclideanScorer)
        nn.init.uniform_(self.relation.weight, -math.pi, math.pi)

    def relation_width(self):
        return self.dim // 2

    def magnitude(self, vectors):
        if vectors.shape[1] < self.dim:  # a rotation has no size to penalise
            return vectors.new_zeros(vectors.shape)
        return complex_magnitude(vectors)

    def forward(self, queries):
        phase = self.relation(self.relation_row(queries.relation)) * self.turned(queries.relation)
        a, b = self.entity(queries.anchor).chunk(2, dim=1)
        c, d = phase.cos(), phase.sin()
        rotated = torch.cat([a * c - b * d, a * d + b * c], dim=1)
        return self.distance(self.drop(rotated), self.entity)


def one_of_two(norm: int, first: Distance, second: Distance) -> Distance:
    """The distance of norm 1 or the one of norm 2.

    Raises:
        ValueError: for another norm.
    """
    if norm not in (1, 2):
        raise ValueError(f"distances are measured by norm 1 or 2; got {norm}")
    return (first, second)[norm - 1]
