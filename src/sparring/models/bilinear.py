"""Models whose score is linear in the anchor's vector and in the candidate's."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.models.base import EmbeddingModel, complex_magnitude
from sparring.models.decoders import require_batch
from sparring.models.scorers import DotScorer
from sparring.registry import register


class BilinearModel(EmbeddingModel):
    """An embedding model whose score is an inner product of a query vector and the candidate's.

    Args:
        dura: weight of DURA (Zhang et al., 2020, "Duality-Induced Regularizer for Tensor
            Factorization Based Knowledge Graph Completion"): the mean over the batch of
            |h|^2 + |t|^2 + |h R|^2 + |t R'|^2.
        dim, reciprocal_relations, init, init_range, dropout, entity_dropout, relation_dropout, l2,
            n3, sparse: as for `EmbeddingModel`.

    Raises:
        ValueError: as `EmbeddingModel` does.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        reciprocal_relations: bool = False,
        init: float | None = None,
        init_range: float = 0.0,
        dropout: float = 0.0,
        entity_dropout: float = 0.0,
        relation_dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        dura: float = 0.0,
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
        self.dura = dura

    @abstractmethod
    def multiply(
        self,
        vectors: Float[Tensor, "B d"],
        queries: Queries,
        *,
        transpose: bool = False,
        dropout: float = 0.0,
    ) -> Float[Tensor, "B d"]:
        """Vectors times the matrices R of the queries' relations, so that anchors give queries.

        Args:
            transpose: multiply by the transposed matrices.
            dropout: probability of setting a parameter of a matrix to 0.
        """

    def forward(self, queries: Queries) -> Scorer:
        dropout = self.relation_dropout.p if self.training else 0.0
        query = self.multiply(self.anchor_vectors(queries), queries, dropout=dropout)
        return DotScorer(self.dropout(query), self.candidates)

    def relation_parameters(self, queries: Queries, dropout: float) -> Float[Tensor, "B c"]:
        """The vectors of the queries' relations, of which numbers are dropped."""
        return F.dropout(self.relation(self.relation_row(queries.relation)), dropout)

    def regularization(self, queries: Queries) -> Float[Tensor, ""]:
        other = super().regularization(queries)
        if not self.dura:
            return other
        anchor, answer = self.entity(queries.anchor), self.entity(queries.answer)
        products = self.multiply(anchor, queries), self.multiply(answer, queries, transpose=True)
        squares = torch.cat([anchor, answer, *products], dim=1) ** 2
        return other + self.dura * squares.sum() / len(queries)


@register("distmult", example={"dim": 8})
class DistMult(BilinearModel):
    """<anchor, relation, candidate>; without reciprocal relations, every relation is symmetric.

    Yang et al., 2015, "Embedding Entities and Relations for Learning and Inference in
    Knowledge Bases".
    """

    def multiply(
        self,
        vectors: Float[Tensor, "B d"],
        queries: Queries,
        *,
        transpose: bool = False,
        dropout: float = 0.0,
    ) -> Float[Tensor, "B d"]:
        return vectors * self.relation_parameters(queries, dropout)


@register("complex", example={"dim": 8})
class ComplEx(BilinearModel):
    """Re<anchor, relation, conj(candidate)>; the inverse of a relation is its conjugate.

    Trouillon et al., 2016, "Complex Embeddings for Simple Link Prediction".

    Args:
        dim: real numbers per vector; half of them are imaginary parts.
    """

    components = 2

    def magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        return complex_magnitude(vectors)

    def multiply(
        self,
        vectors: Float[Tensor, "B d"],
        queries: Queries,
        *,
        transpose: bool = False,
        dropout: float = 0.0,
    ) -> Float[Tensor, "B d"]:
        a, b = vectors.chunk(2, dim=1)
        c, d = self.relation_parameters(queries, dropout).chunk(2, dim=1)
        d = d * self.inverse_sign(queries.relation) * (-1 if transpose else 1)
        return torch.cat([a * c - b * d, a * d + b * c], dim=1)


@register("rescal", example={"dim": 4})
class RESCAL(BilinearModel):
    """anchor' W candidate with a full matrix W per relation; the inverse transposes it.

    Nickel et al., 2011, "A Three-Way Model for Collective Learning on Multi-Relational Data".
    """

    def relation_dim(self) -> int:
        return self.dim**2

    def multiply(
        self,
        vectors: Float[Tensor, "B d"],
        queries: Queries,
        *,
        transpose: bool = False,
        dropout: float = 0.0,
    ) -> Float[Tensor, "B d"]:
        rows, inverse = self.relation_row(queries.relation), self.inverse_sign(queries.relation) < 0
        transposed = inverse.squeeze(1) != transpose
        return self.relation.multiply(vectors, rows, transposed, dropout=dropout)

    def penalties(self, queries: Queries) -> Float[Tensor, ""]:
        rows, matrices = self.relation_row(queries.relation), self.relation.num_embeddings
        if matrices > len(queries):
            return super().penalties(queries)
        # each matrix once, times how often it occurs: a batch would hold B of them
        count = self.relation.weight.new_zeros(matrices).index_add(
            0, rows, torch.ones_like(queries.weight, dtype=self.relation.weight.dtype)
        )
        each = self.penalty(self.relation(torch.arange(matrices, device=rows.device)).abs()).sum(1)
        ends = torch.cat([self.entity(queries.anchor), self.entity(queries.answer)]).abs()
        return self.penalty(ends).sum() + (each * count).sum()


@register("tucker", example={"dim": 8})
class TuckER(EmbeddingModel):
    """core x1 anchor x2 relation x3 candidate, with batch normalization around the first product.

    Balažević et al., 2019, "TuckER: Tensor Factorization for Knowledge Graph Completion". Each
    inverse relation has its own vector. A training step holds B matrices of dim * dim numbers.

    Args:
        relation_dim: numbers per relation vector; 0 for `dim`.
        input_dropout, matrix_dropout, dropout: probability of setting a number of the anchor
            vector, of the relation matrix and of the query vector to 0 while training.
        dim, init, init_range, entity_dropout, relation_dropout, l2, n3, sparse: as for
            `EmbeddingModel`.

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
        init_range: float = 0.0,
        entity_dropout: float = 0.0,
        relation_dropout: float = 0.0,
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
            init_range=init_range,
            dropout=dropout,
            entity_dropout=entity_dropout,
            relation_dropout=relation_dropout,
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
        anchor = self.input_dropout(self.input_norm(self.anchor_vectors(queries)))
        matrix = self.relation_vectors(queries) @ self.core.flatten(1)
        matrix = self.matrix_dropout(matrix).unflatten(1, (self.dim, self.dim))
        query = torch.bmm(anchor.unsqueeze(1), matrix).squeeze(1)
        return DotScorer(self.dropout(self.query_norm(query)), self.candidates)
