"""Models of squared distances with a bias per entity.

A row of the entity table is a vector and, as its last number, the bias of the entity: one look-up
finds both, and samplers that compare rows see both.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable, new_table
from sparring.models.base import EmbeddingModel
from sparring.models.scorers import BiasedSquaredL2Scorer
from sparring.models.translational import rotate
from sparring.registry import register


class VectorDropout(nn.Dropout):
    """Dropout of all numbers of a row but the last, which is a bias."""

    def forward(self, input: Float[Tensor, "... d1"]) -> Float[Tensor, "... d1"]:
        """The rows after dropout."""
        if not (self.training and self.p):
            return input
        return torch.cat([super().forward(input[..., :-1]), input[..., -1:]], -1)


class BiasedModel(EmbeddingModel):
    """-|query - candidate|^2 + the biases of anchor and candidate; biases start at 0.

    Args:
        dim, reciprocal_relations, init, init_range, dropout, entity_dropout, relation_dropout, l2,
            n3, sparse: as for `EmbeddingModel`. Neither dropout nor a penalty concerns biases.

    Raises:
        ValueError: as `EmbeddingModel` does.
    """

    entity_dropout_class = VectorDropout

    def entity_dim(self) -> int:
        return self.dim + 1

    def new_entity_table(self) -> Any:
        """Vectors and biases, which start at 0."""
        return new_table(
            self.num_entities, self.entity_dim(), init=self.fill_without_bias, sparse=self.sparse
        )

    def fill_without_bias(
        self, weight: Float[Tensor, "n d1"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d1"]:
        """Fill rows of the table of entities."""
        self.fill(weight, generator)
        with torch.no_grad():
            weight[:, -1] = 0.0
        return weight

    def magnitude(self, vectors: Float[Tensor, "B d1"]) -> Float[Tensor, "B d"]:
        return vectors[:, :-1].abs()

    def score_from(
        self, query: Float[Tensor, "B d"], anchor: Float[Tensor, "B d1"]
    ) -> BiasedSquaredL2Scorer:
        """The scorer of query vectors, with the anchors' biases."""
        biased = torch.cat([self.dropout(query), anchor[:, -1:]], dim=1)
        return BiasedSquaredL2Scorer(biased, self.candidates)


@register("rote", example={"dim": 8})
class RotE(BiasedModel):
    """-|rot(h) + r - t|^2 + b_h + b_t: a rotation and a translation, and biases of entities.

    Chami et al., 2020, "Low-Dimensional Hyperbolic Knowledge Graph Embeddings". The inverse of a
    relation moves and rotates back.

    Args:
        dim: real numbers per vector; half of them are imaginary parts.
        reciprocal_relations, init, init_range, dropout, entity_dropout, relation_dropout, l2, n3,
            sparse: as for `BiasedModel`; rotations are neither dropped nor regularized.
    """

    components = 2

    def relation_dim(self) -> int:
        return self.dim // 2 + self.dim

    def new_relation_table(self, dim: int) -> EmbeddingTable:
        """Phases between -pi and pi, and translations."""
        table = super().new_relation_table(dim)
        nn.init.uniform_(table.weight[:, : self.dim // 2], -math.pi, math.pi)
        return table

    def relation_magnitude(self, vectors: Float[Tensor, "B c"]) -> Float[Tensor, "B d"]:
        return vectors[:, self.dim // 2 :].abs()

    def forward(self, queries: Queries) -> Scorer:
        anchor, sign = self.anchor_vectors(queries), self.inverse_sign(queries.relation)
        relation = self.relation(self.relation_row(queries.relation))
        phase, shift = relation.split([self.dim // 2, self.dim], dim=1)
        shift = self.relation_dropout(shift)
        moved = anchor[:, :-1] - shift * (sign < 0)
        query = rotate(moved, phase * sign) + shift * (sign > 0)
        return self.score_from(query, anchor)


@register("mure", example={"dim": 8})
class MuRE(BiasedModel):
    """-|R h + r - t|^2 + b_h + b_t with a diagonal matrix R per relation.

    Balažević et al., 2019, "Multi-relational Poincaré Graph Embeddings". Each inverse relation has
    its own vector.

    Args:
        dim: numbers per vector.
        init, init_range, dropout, entity_dropout, relation_dropout, l2, n3, sparse: as for
            `BiasedModel`; diagonals are neither dropped nor regularized.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
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
            reciprocal_relations=True,
            init=init,
            init_range=init_range,
            dropout=dropout,
            entity_dropout=entity_dropout,
            relation_dropout=relation_dropout,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )

    def relation_dim(self) -> int:
        return 2 * self.dim

    def new_relation_table(self, dim: int) -> EmbeddingTable:
        """Diagonals between -1 and 1, and translations."""
        table = super().new_relation_table(dim)
        nn.init.uniform_(table.weight[:, : self.dim], -1, 1)
        return table

    def relation_magnitude(self, vectors: Float[Tensor, "B c"]) -> Float[Tensor, "B d"]:
        return vectors[:, self.dim :].abs()

    def forward(self, queries: Queries) -> Scorer:
        anchor = self.anchor_vectors(queries)
        diagonal, shift = self.relation(queries.relation).chunk(2, dim=1)
        query = diagonal * anchor[:, :-1] + self.relation_dropout(shift)
        return self.score_from(query, anchor)
