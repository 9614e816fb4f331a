"""Main models that encode all entities by a network over the training graph.

R-GCN and CompGCN: graph convolutions in front of a decoder."""

from abc import abstractmethod
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.models.base import KGEModel
from sparring.models.convolutions import MessageGraph
from sparring.models.decoders import Decoder, DistMultDecoder
from sparring.registry import register

Encoding = tuple[Tensor, Tensor]  # [N, d] for entities, [2R, d] for relations


class EncodedModel(KGEModel):
    """An encoder of all entities and relations, and a decoder that judges by what it makes.

    The encoder runs once a step. While training, what the queries of the batch ask about is
    hidden from all messages of that step, from both ends, since a fact would else prove itself.
    Outside training nothing is hidden, and what was encoded without gradients is kept until a
    parameter changes, so that an evaluation encodes once.

    Args:
        dim: numbers per vector, before and after encoding.
        decoder: what judges the encoded vectors; None for DistMult.
        init: standard deviation of the vectors at the start; None for 1 / sqrt(dim).
        fact_dropout: share of all facts that carry no message in a step.

    Raises:
        ValueError: if the decoder cannot take vectors of this width, or for a share that is none.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int,
        decoder: Decoder | None,
        init: float | None,
        fact_dropout: float,
    ):
        super().__init__()
        decoder = DistMultDecoder() if decoder is None else decoder
        if not decoder.accepts(dim):
            raise ValueError(
                f"{type(decoder).__name__} cannot judge vectors of {dim} numbers; give it the "
                "model's dim if it takes one, and complex vectors an even one"
            )
        if not 0 <= fact_dropout < 1:
            raise ValueError(f"fact_dropout is a share below 1; got {fact_dropout}")
        self.decoder, self.fact_dropout = decoder, fact_dropout
        self.messages = MessageGraph(graph)
        self.entity = nn.Embedding(graph.num_entities, dim)
        self.relation = nn.Embedding(2 * graph.num_relations, dim)
        for table in (self.entity, self.relation):
            nn.init.normal_(table.weight, std=dim**-0.5 if init is None else init)
        self.kept: tuple[Any, Encoding] | None = None

    @abstractmethod
    def encode(self, weight: Float[Tensor, "F"]) -> Encoding:
        """Vectors of all entities and relations, where facts speak as loud as they weigh."""

    def forward(self, queries):
        entity, relation = self.encoding(queries)
        vectors = lambda ids: F.embedding(ids, entity)
        return self.decoder(
            vectors(queries.anchor), F.embedding(queries.relation, relation), vectors
        )

    def encoding(self, queries: Queries) -> Encoding:
        """What `encode` makes of the graph, without the queries' own facts while training."""
        if self.training:
            weight = self.messages.without(queries)
            heard = torch.rand_like(weight) >= self.fact_dropout
            return self.encode(weight * heard)
        state = [(t.data_ptr(), t._version) for t in [*self.parameters(), *self.buffers()]]
        if self.kept is not None and self.kept[0] == state:
            return self.kept[1]
        encoded = self.encode(self.messages.everything())
        self.kept = None if encoded[0].requires_grad else (state, encoded)
        return encoded

    def train(self, mode: bool = True) -> "EncodedModel":
        """Set the mode, and forget what was encoded in the old one."""
        self.kept = None
        return super().train(mode)


def geometric() -> ModuleType:
    """The convolutions, which are PyTorch Geometric's.

    Raises:
        ValueError: if that is not installed.
    """
    try:
        return import_module("sparring.models.convolutions")
    except ModuleNotFoundError as error:
        raise ValueError(
            "models that pass messages need PyTorch Geometric; run pip install 'sparring[graph]'"
        ) from error


@register("rgcn", example={"dim": 8})
class RGCN(EncodedModel):
    """Entities hear the mean of their neighbours through a matrix per relation, then a decoder.

    Schlichtkrull et al., 2018, "Modeling Relational Data with Graph Convolutional Networks".
    The decoder has relation vectors of its own. Needs PyTorch Geometric.

    Args:
        dim, decoder, init, fact_dropout: as for `EncodedModel`.
        layers: of convolution, with a rectifier between.
        bases: matrices that the relations of a layer mix theirs from.
        dropout: share of the numbers of an entity's vector set to 0 after each layer in training.

    Raises:
        ValueError: for fewer layers or bases than one, a decoder of another width, or without
            PyTorch Geometric.
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
        fact_dropout: float = 0.0,
    ):
        super().__init__(graph, dim=dim, decoder=decoder, init=init, fact_dropout=fact_dropout)
        if layers < 1 or bases < 1:
            raise ValueError(f"R-GCN needs layers and bases; got layers={layers}, bases={bases}")
        convolution = geometric().RelationalConvolution
        self.layers = nn.ModuleList(
            convolution(dim, graph.num_relations, bases) for _ in range(layers)
        )
        self.drop = nn.Dropout(dropout)

    def encode(self, weight):
        first, *others = self.layers
        x = self.drop(first(self.entity.weight, self.messages, weight))
        for layer in others:
            x = self.drop(layer(x.relu(), self.messages, weight))
        return x, self.relation.weight


@register("compgcn", example={"dim": 8})
class CompGCN(EncodedModel):
    """Entities hear neighbours composed with relations, which are mapped along, then a decoder.

    Vashishth et al., 2020, "Composition-based Multi-Relational Graph Convolutional Networks".
    Needs PyTorch Geometric.

    Args:
        dim, decoder, init, fact_dropout: as for `EncodedModel`.
        layers: of convolution.
        composition: "sub" for neighbour - relation, "mult" for their product, "corr" for their
            circular correlation.
        dropout: share of the numbers of what either direction says set to 0 while training.
        output_dropout: the same for the vectors of entities that reach the decoder.

    Raises:
        ValueError: for no layer, a decoder of another width, or without PyTorch Geometric.
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
        fact_dropout: float = 0.0,
    ):
        super().__init__(graph, dim=dim, decoder=decoder, init=init, fact_dropout=fact_dropout)
        if layers < 1:
            raise ValueError(f"CompGCN needs at least one layer; got layers={layers}")
        found = geometric()
        compose = found.COMPOSITIONS[composition]
        self.layers = nn.ModuleList(
            found.ComposedConvolution(dim, compose=compose, dropout=dropout) for _ in range(layers)
        )
        self.drop = nn.Dropout(output_dropout)

    def encode(self, weight):
        weight = self.messages.balanced(weight)
        x, relation = self.entity.weight, self.relation.weight
        for layer in self.layers:
            x, relation = layer(x, relation, self.messages, weight)
        return self.drop(x), relation
