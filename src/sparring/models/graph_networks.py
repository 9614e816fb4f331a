"""R-GCN and CompGCN: graph convolutions in front of a decoder."""

from typing import Literal

from torch import nn

from sparring.graph.knowledge_graph import TrainGraph
from sparring.models.decoders import Decoder
from sparring.models.encoded import EncodedModel, geometric


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
