"""Models whose query vector a small network makes of the anchor's and the relation's."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.data.graph import TrainGraph
from sparring.models.base import EmbeddingModel
from sparring.models.decoders import ConvEDecoder, refuse_single
from sparring.models.scorers import DotScorer
from sparring.registry import register


@register("tucker", example={"dim": 8})
class TuckER(EmbeddingModel):
    """core x1 anchor x2 relation x3 candidate, with batch normalisation around the first product.

    Balažević et al., 2019, "TuckER: Tensor Factorization for Knowledge Graph Completion". Each
    inverse relation has a vector of its own. A step holds B matrices of dim * dim.

    Args:
        relation_dim: numbers per relation vector; 0 for `dim`.
        init: standard deviation of the vectors at the start; None for 1 / sqrt(dim).
        input_dropout, matrix_dropout, dropout: share of the anchor vector's numbers, of the
            relation matrix's, and of the query vector's set to 0 while training.
        l2, n3, sparse: as for `EmbeddingModel`.

    Raises:
        ValueError: for widths that are none.
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
        self.narrow = relation_dim or dim
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
        self.core = nn.Parameter(torch.empty(self.narrow, dim, dim).uniform_(-1, 1))
        self.before, self.after = nn.BatchNorm1d(dim), nn.BatchNorm1d(dim)
        self.drop_input, self.drop_matrix = nn.Dropout(input_dropout), nn.Dropout(matrix_dropout)

    def relation_width(self):
        return self.narrow

    def forward(self, queries):
        refuse_single(self, len(queries))
        anchor = self.drop_input(self.before(self.entity(queries.anchor)))
        matrix = self.relation(queries.relation) @ self.core.flatten(1)
        matrix = self.drop_matrix(matrix).unflatten(1, (self.dim, self.dim))
        query = torch.bmm(anchor.unsqueeze(1), matrix).squeeze(1)
        return DotScorer(self.drop(self.after(query)), self.entity)


@register("conve", example={"dim": 8, "height": 2, "filters": 3})
class ConvE(EmbeddingModel):
    """A convolution over anchor and relation, compared with candidates; each entity has a bias.

    Dettmers et al., 2018, "Convolutional 2D Knowledge Graph Embeddings". Each inverse relation
    has a vector of its own.

    Args:
        height, filters, kernel: the image that a vector is laid out as, and what is slid over it.
        input_dropout, feature_dropout, dropout: share of the image's numbers, of whole feature
            maps, and of the query vector's numbers set to 0 while training.
        l2, n3, sparse: as for `EmbeddingModel`.

    Raises:
        ValueError: if the vectors make no image that a filter fits on.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        height: int = 10,
        filters: int = 32,
        kernel: int = 3,
        init: float | None = None,
        input_dropout: float = 0.2,
        feature_dropout: float = 0.2,
        dropout: float = 0.3,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__(
            graph,
            dim=dim,
            reciprocal_relations=True,
            init=init,
            dropout=0.0,
            l2=l2,
            n3=n3,
            sparse=sparse,
        )
        self.bias = nn.Embedding(graph.num_entities, 1, sparse=sparse)
        nn.init.zeros_(self.bias.weight)
        self.decoder = ConvEDecoder(
            dim=dim,
            height=height,
            filters=filters,
            kernel=kernel,
            input_dropout=input_dropout,
            feature_dropout=feature_dropout,
            dropout=dropout,
        )

    def candidate(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d1"]:
        """Vectors of entities, and their biases in one more coordinate."""
        return torch.cat([self.entity(ids), self.bias(ids)], -1)

    def forward(self, queries):
        anchor, relation = self.entity(queries.anchor), self.relation(queries.relation)
        query = self.decoder.query(anchor, relation)
        return DotScorer(F.pad(query, (0, 1), value=1.0), self.candidate)
