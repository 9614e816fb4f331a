"""Graph neural networks: an encoder of all entities over the training graph, then a decoder."""

from abc import abstractmethod
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.extras import optional
from sparring.models.adjacency import MOST_LAYERS, RelationalAdjacency
from sparring.models.base import KGEModel
from sparring.models.decoders import Decoder, DistMultDecoder
from sparring.registry import register

Encoding = tuple[Float[Tensor, "N d"], Float[Tensor, "R2 d"]]  # of entities, of relations


class GNNModel(KGEModel):
    """An encoder of all entities and relations, and a decoder that scores the encoded vectors.

    Subclasses define `encode`. The encoder runs once per training step. While training, the facts
    that the batch asks about are removed from the graph, in both directions, so that no fact
    predicts itself. Outside training the graph is complete, and an encoding made without gradients
    is cached until a parameter changes, so that an evaluation encodes once.

    Args:
        graph: the training graph.
        dim: numbers per vector, before and after encoding.
        decoder: scores the encoded vectors; None for DistMult.
        init: standard deviation of the initial vectors; None for 1 / sqrt(dim).
        edge_dropout: probability of removing an edge of the graph in a training step.

    Raises:
        ValueError: if the decoder cannot take vectors of this width, or for an `edge_dropout`
            outside [0, 1).
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int,
        decoder: Decoder | None,
        init: float | None,
        edge_dropout: float,
    ):
        super().__init__()
        decoder = DistMultDecoder() if decoder is None else decoder
        if not decoder.accepts(dim):
            raise ValueError(
                f"{type(decoder).__name__} cannot score vectors of {dim} numbers; give it the "
                "model's dim if it takes one, or choose an even dim for complex vectors"
            )
        if not 0 <= edge_dropout < 1:
            raise ValueError(f"edge_dropout must be in [0, 1); got {edge_dropout}")
        self.decoder, self.edge_dropout = decoder, edge_dropout
        self.adjacency = RelationalAdjacency(graph)
        self.entity = nn.Embedding(graph.num_entities, dim)
        self.relation = nn.Embedding(2 * graph.num_relations, dim)
        for table in (self.entity, self.relation):
            nn.init.normal_(table.weight, std=dim**-0.5 if init is None else init)
        self.cache: tuple[Any, Encoding] | None = None

    @abstractmethod
    def encode(self, edge_weight: Float[Tensor, "E"]) -> Encoding:
        """Vectors of all entities and of all 2R relations, given the weight of each edge."""

    def forward(self, queries: Queries) -> Scorer:
        entity, relation = self.encoding(queries)
        lookup = lambda ids: F.embedding(ids, entity)
        return self.decoder(lookup(queries.anchor), F.embedding(queries.relation, relation), lookup)

    def encoding(self, queries: Queries) -> Encoding:
        """The encoded graph; while training, without the queries' own facts."""
        if self.training:
            edge_weight = self.adjacency.edges_without(queries)
            keep = torch.rand_like(edge_weight) >= self.edge_dropout
            return self.encode(edge_weight * keep)
        state = [(t.data_ptr(), t._version) for t in [*self.parameters(), *self.buffers()]]
        if self.cache is not None and self.cache[0] == state:
            return self.cache[1]
        encoded = self.encode(self.adjacency.all_edges())
        self.cache = None if encoded[0].requires_grad else (state, encoded)
        return encoded

    def train(self, mode: bool = True) -> "GNNModel":
        """Set the mode, and drop the cached encoding."""
        self.cache = None
        return super().train(mode)


@register("rgcn", example={"dim": 8}, renamed={"fact_dropout": "edge_dropout"})
class RGCN(GNNModel):
    """Mean over neighbors through one matrix per relation, then a decoder.

    Schlichtkrull et al., 2018, "Modeling Relational Data with Graph Convolutional Networks".
    The decoder has its own relation vectors. Needs PyTorch Geometric (extra `graph`).

    Args:
        dim, decoder, init, edge_dropout: as for `GNNModel`.
        layers: number of convolutions, with ReLU between them.
        bases: matrices that those of all relations of a layer are linear combinations of.
        dropout: probability of setting a number of an entity vector to 0 after each layer while
            training.

    Raises:
        ValueError: for fewer than one layer or basis, or as `GNNModel` does.
        MissingExtraError: if PyTorch Geometric is not installed.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 100,
        decoder: Decoder | None = None,
        layers: int = 2,
        bases: int = 2,
        init: float | None = None,
        dropout: float = 0.2,
        edge_dropout: float = 0.0,
    ):
        super().__init__(graph, dim=dim, decoder=decoder, init=init, edge_dropout=edge_dropout)
        if bases < 1 or not 1 <= layers <= MOST_LAYERS:
            raise ValueError(
                f"R-GCN needs at least one basis, and 1 to {MOST_LAYERS} layers; "
                f"got bases={bases}, layers={layers}"
            )
        convolution = load_convolutions("R-GCN").RelationalConvolution
        self.layers = nn.ModuleList(
            convolution(dim, graph.num_relations, bases) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)

    def encode(self, edge_weight: Float[Tensor, "E"]) -> Encoding:
        first, *others = self.layers
        x = self.dropout(first(self.entity.weight, self.adjacency, edge_weight))
        for layer in others:
            x = self.dropout(layer(x.relu(), self.adjacency, edge_weight))
        return x, self.relation.weight


@register("compgcn", example={"dim": 8}, renamed={"fact_dropout": "edge_dropout"})
class CompGCN(GNNModel):
    """Sum over neighbors composed with relations, which are encoded too, then a decoder.

    Vashishth et al., 2020, "Composition-based Multi-Relational Graph Convolutional Networks".
    Needs PyTorch Geometric (extra `graph`).

    Args:
        dim, decoder, init, edge_dropout: as for `GNNModel`.
        layers: number of convolutions.
        composition: "sub" for neighbor - relation, "mult" for their product, "corr" for their
            circular correlation.
        dropout: probability of setting a number of either direction's message to 0 while training.
        output_dropout: the same for the entity vectors that the decoder gets.

    Raises:
        ValueError: for fewer than one layer, or as `GNNModel` does.
        MissingExtraError: if PyTorch Geometric is not installed.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 100,
        decoder: Decoder | None = None,
        layers: int = 1,
        composition: Literal["corr", "mult", "sub"] = "mult",
        init: float | None = None,
        dropout: float = 0.1,
        output_dropout: float = 0.3,
        edge_dropout: float = 0.0,
    ):
        super().__init__(graph, dim=dim, decoder=decoder, init=init, edge_dropout=edge_dropout)
        if not 1 <= layers <= MOST_LAYERS:
            raise ValueError(f"CompGCN needs 1 to {MOST_LAYERS} layers; got layers={layers}")
        convolutions = load_convolutions("CompGCN")
        compose = convolutions.COMPOSITIONS[composition]
        self.layers = nn.ModuleList(
            convolutions.CompositionConvolution(dim, compose=compose, dropout=dropout)
            for _ in range(layers)
        )
        self.dropout = nn.Dropout(output_dropout)

    def encode(self, edge_weight: Float[Tensor, "E"]) -> Encoding:
        edge_weight = self.adjacency.normalize(edge_weight)
        x, relation = self.entity.weight, self.relation.weight
        for layer in self.layers:
            x, relation = layer(x, relation, self.adjacency, edge_weight)
        return self.dropout(x), relation


def load_convolutions(purpose: str) -> ModuleType:
    """The module `convolutions`, which imports PyTorch Geometric.

    Raises:
        MissingExtraError: if PyTorch Geometric is not installed.
    """
    optional("torch_geometric.nn", extra="graph", purpose=purpose)
    return import_module("sparring.models.convolutions")
