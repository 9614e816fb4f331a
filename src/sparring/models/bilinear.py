"""Models whose score is linear in the anchor's vector and in the candidate's."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.models.base import EmbeddingModel, complex_magnitude
from sparring.models.decoders import require_batch
from sparring.models.scorers import DotScorer
from sparring.registry import register


@register("distmult", example={"dim": 8})
class DistMult(EmbeddingModel):
    """<anchor, relation, candidate>; without reciprocal relations, every relation is symmetric.

    Yang et al., 2015, "Embedding Entities and Relations for Learning and Inference in
    Knowledge Bases".
    """

    def forward(self, queries: Queries) -> Scorer:
        relation = self.relation(self.relation_row(queries.relation))
        return DotScorer(self.dropout(self.entity(queries.anchor) * relation), self.entity)


@register("complex", example={"dim": 8})
class ComplEx(EmbeddingModel):
    """Re<anchor, relation, conj(candidate)>; the inverse of a relation is its conjugate.

    Trouillon et al., 2016, "Complex Embeddings for Simple Link Prediction".

    Args:
        dim: real numbers per vector; half of them are imaginary parts.
    """

    components = 2

    def magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        return complex_magnitude(vectors)

    def forward(self, queries: Queries) -> Scorer:
        a, b = self.entity(queries.anchor).chunk(2, dim=1)
        c, d = self.relation(self.relation_row(queries.relation)).chunk(2, dim=1)
        d = d * self.inverse_sign(queries.relation)
        query = torch.cat([a * c - b * d, a * d + b * c], dim=1)
        return DotScorer(self.dropout(query), self.entity)


@register("rescal", example={"dim": 4})
class RESCAL(EmbeddingModel):
    """anchor' W candidate with a full matrix W per relation; the inverse transposes it.

    Nickel et al., 2011, "A Three-Way Model for Collective Learning on Multi-Relational Data".
    """

    def relation_dim(self) -> int:
        return self.dim**2

    def forward(self, queries: Queries) -> Scorer:
        matrix = self.relation(self.relation_row(queries.relation)).unflatten(1, (self.dim, -1))
        inverse = (self.inverse_sign(queries.relation) < 0).unsqueeze(2)
        matrix = torch.where(inverse, matrix.mT, matrix)
        query = torch.einsum("bi,bij->bj", self.entity(queries.anchor), matrix)
        return DotScorer(self.dropout(query), self.entity)


@register("tucker", example={"dim": 8})
class TuckER(EmbeddingModel):
    """core x1 anchor x2 relation x3 candidate, with batch normalization around the first product.

    Balažević et al., 2019, "TuckER: Tensor Factorization for Knowledge Graph Completion". Each
    inverse relation has its own vector. A training step holds B matrices of dim * dim numbers.

    Args:
        relation_dim: numbers per relation vector; 0 for `dim`.
        input_dropout, matrix_dropout, dropout: probability of setting a number of the anchor
            vector, of the relation matrix and of the query vector to 0 while training.
        dim, init, l2, n3, sparse: as for `EmbeddingModel`.

    Raises:
        ValueError: for a width that is not positive.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        relation_dim: int = 0,
        init: float | None = None,
        input_dropout: float = 0.3,
        matrix_dropout: float = 0.4,
        dropout: float = 0.5,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        if relation_dim < 0:
            raise ValueError(f"relation_dim must not be negative; got {relation_dim}")
        self.core_dim = relation_dim or dim
        super().__init__(
            graph,
            dim=dim,
            reciprocal_relations=True,
            init=init,
            dropout=dropout,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )
        self.input_dropout = nn.Dropout(input_dropout)
        self.matrix_dropout = nn.Dropout(matrix_dropout)

    def relation_dim(self) -> int:
        return self.core_dim

    def add_parameters(self) -> None:
        core = torch.empty(self.core_dim, self.dim, self.dim)
        self.core = nn.Parameter(core.uniform_(-1, 1))
        self.input_norm, self.query_norm = nn.BatchNorm1d(self.dim), nn.BatchNorm1d(self.dim)

    def forward(self, queries: Queries) -> Scorer:
        require_batch(self, len(queries))
        anchor = self.input_dropout(self.input_norm(self.entity(queries.anchor)))
        matrix = self.relation(queries.relation) @ self.core.flatten(1)
        matrix = self.matrix_dropout(matrix).unflatten(1, (self.dim, self.dim))
        query = torch.bmm(anchor.unsqueeze(1), matrix).squeeze(1)
        return DotScorer(self.dropout(self.query_norm(query)), self.entity)
