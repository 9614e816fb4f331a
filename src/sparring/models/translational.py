"""Models that move the anchor by the relation and measure the distance to the candidate."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable
from sparring.models.base import EmbeddingModel, complex_magnitude
from sparring.models.scorers import (
    ComplexL1Scorer,
    Distance,
    L1Scorer,
    L2Scorer,
    ProjectedL2Scorer,
    distance_for_norm,
)
from sparring.registry import register


class DistanceModel(EmbeddingModel):
    """An embedding model that has an L1 and an L2 distance.

    Args:
        norm: 1 or 2, the norm of the distance. With 2 it is computed by inner products, which makes
            shared candidate lists cheap.
        dim, reciprocal_relations, init, init_range, dropout, entity_dropout, relation_dropout, l2,
            n3, sparse: as for `EmbeddingModel`.

    Raises:
        ValueError: for any other norm, or as `EmbeddingModel` does.
    """

    l1_distance: Distance = L1Scorer
    l2_distance: Distance = L2Scorer

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        norm: int = 1,
        reciprocal_relations: bool = False,
        init: float | None = None,
        init_range: float = 0.0,
        dropout: float = 0.0,
        entity_dropout: float = 0.0,
        relation_dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__(
            graph,
            dim=dim,
            reciprocal_relations=reciprocal_relations,
            init=init,
            init_range=init_range,
            dropout=dropout,
            entity_dropout=entity_dropout,
            relation_dropout=relation_dropout,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )
        self.distance = distance_for_norm(norm, self.l1_distance, self.l2_distance)


@register("transe", example={"dim": 8})
class TransE(DistanceModel):
    """-||anchor + relation - candidate||; the inverse of a relation is its negation.

    Bordes et al., 2013, "Translating Embeddings for Modeling Multi-relational Data".

    Args:
        norm: 1 or 2, as for `DistanceModel`.
    """

    def forward(self, queries: Queries) -> Scorer:
        shift = self.relation_vectors(queries) * self.inverse_sign(queries.relation)
        return self.distance(self.dropout(self.anchor_vectors(queries) + shift), self.candidates)


@register("transh", example={"dim": 8})
class TransH(EmbeddingModel):
    """Translation on a hyperplane of the relation, onto which both entities are projected.

    Wang et al., 2014, "Knowledge Graph Embedding by Translating on Hyperplanes". The distance is
    not squared, and the unit normal is normalized exactly instead of by regularization.
    """

    def relation_dim(self) -> int:
        return 2 * self.dim

    def forward(self, queries: Queries) -> Scorer:
        shift, normal = self.relation_vectors(queries).chunk(2, dim=1)
        normal = F.normalize(normal, dim=1)
        anchor = self.anchor_vectors(queries)
        projected = anchor - (anchor * normal).sum(1, keepdim=True) * normal
        query = self.dropout(projected + shift * self.inverse_sign(queries.relation))
        return ProjectedL2Scorer(query, normal, self.candidates, lambda ids, product: -product)


@register("transd", example={"dim": 8})
class TransD(EmbeddingModel):
    """Translation after a projection that relation and entity determine together.

    Entity e with projection vector p becomes e + (p . e) r', where r' is the projection vector of
    the relation. Ji et al., 2015, "Knowledge Graph Embedding via Dynamic Mapping Matrix", with
    entities and relations of equal width. The distance is not squared.
    """

    def relation_dim(self) -> int:
        return 2 * self.dim

    def add_parameters(self) -> None:
        self.projection = self.new_table(self.num_entities, self.dim)

    def coefficient(
        self, ids: Int[Tensor, "G K"], product: Float[Tensor, "G b K"]
    ) -> Float[Tensor, "G 1 K"]:
        """Inner product of each candidate with its own projection vector."""
        return (self.projection(ids) * self.entity(ids)).sum(2).unsqueeze(1)

    def forward(self, queries: Queries) -> Scorer:
        shift, direction = self.relation_vectors(queries).chunk(2, dim=1)
        anchor = self.anchor_vectors(queries)
        coefficient = (self.projection(queries.anchor) * anchor).sum(1, keepdim=True)
        projected = anchor + coefficient * direction
        query = self.dropout(projected + shift * self.inverse_sign(queries.relation))
        return ProjectedL2Scorer(query, direction, self.candidates, self.coefficient)


@register("rotate", example={"dim": 8})
class RotatE(DistanceModel):
    """Rotation in the complex plane; the inverse of a relation rotates the other way.

    Sun et al., 2019, "RotatE: Knowledge Graph Embedding by Relational Rotation in Complex Space".

    Args:
        dim: real numbers per entity; half of them are imaginary parts.
        norm: 1 for the paper's sum of moduli, 2 for the L2 distance; see `DistanceModel`.
    """

    components = 2
    l1_distance = ComplexL1Scorer

    def relation_dim(self) -> int:
        return self.dim // 2

    def new_relation_table(self, dim: int) -> EmbeddingTable:
        """Phases between -pi and pi."""
        table = super().new_relation_table(dim)
        nn.init.uniform_(table.weight, -math.pi, math.pi)
        return table

    def magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        return complex_magnitude(vectors)

    def relation_magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        return vectors.new_zeros(vectors.shape)  # a rotation has no magnitude

    def forward(self, queries: Queries) -> Scorer:
        phase = self.relation_vectors(queries) * self.inverse_sign(queries.relation)
        rotated = rotate(self.anchor_vectors(queries), phase)
        return self.distance(self.dropout(rotated), self.candidates)


def rotate(vectors: Float[Tensor, "B d"], phase: Float[Tensor, "B c"]) -> Float[Tensor, "B d"]:
    """Complex vectors, stored as [real, imaginary], turned by an angle per coordinate."""
    a, b = vectors.chunk(2, dim=1)
    c, d = phase.cos(), phase.sin()
    return torch.cat([a * c - b * d, a * d + b * c], dim=1)
