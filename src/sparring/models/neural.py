"""Models that compute the query vector by a neural network."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.models.base import EmbeddingModel
from sparring.models.decoders import ConvEDecoder
from sparring.models.scorers import DotScorer
from sparring.registry import register


@register("conve", example={"dim": 8, "height": 2, "filters": 3}, renamed={"kernel": "kernel_size"})
class ConvE(EmbeddingModel):
    """A convolution over anchor and relation, compared with candidates; each entity has a bias.

    Dettmers et al., 2018, "Convolutional 2D Knowledge Graph Embeddings". Each inverse relation
    has its own vector.

    Args:
        height, filters, kernel_size, input_dropout, feature_dropout, dropout: as for
            `ConvEDecoder`.
        dim, init, init_range, entity_dropout, relation_dropout, l2, n3, sparse: as for
            `EmbeddingModel`.

    Raises:
        ValueError: if `height` does not divide `dim`, or a filter does not fit on the image.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        height: int = 10,
        filters: int = 32,
        kernel_size: int = 3,
        init: float | None = None,
        init_range: float = 0.0,
        entity_dropout: float = 0.0,
        relation_dropout: float = 0.0,
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
            init_range=init_range,
            entity_dropout=entity_dropout,
            relation_dropout=relation_dropout,
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
            kernel_size=kernel_size,
            input_dropout=input_dropout,
            feature_dropout=feature_dropout,
            dropout=dropout,
        )

    def candidate(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d1"]:
        """Vectors of entities, with their biases as one more coordinate."""
        return torch.cat([self.entity_dropout(self.entity(ids)), self.bias(ids)], -1)

    def forward(self, queries: Queries) -> Scorer:
        query = self.decoder.query(self.anchor_vectors(queries), self.relation_vectors(queries))
        return DotScorer(F.pad(query, (0, 1), value=1.0), self.candidate)
