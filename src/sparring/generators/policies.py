"""Networks that say how likely each entity is to be proposed for a query."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, grouped
from sparring.graph.knowledge_graph import TrainGraph


class Policy(nn.Module, ABC):
    """Logits as inner products of a vector for the query and one for each entity, plus a bias.

    Args:
        dim: numbers per vector.
    """

    def __init__(self, graph: TrainGraph, dim: int):
        super().__init__()
        self.entity = _table(graph.num_entities, dim)
        self.bias = nn.Parameter(torch.zeros(graph.num_entities))

    @abstractmethod
    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        """The vector of each query."""

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Logits of candidates, up to a constant per query."""
        context = grouped(self.context(queries), len(ids))
        logits = context @ self.entity(ids).mT + self.bias[ids].unsqueeze(1)
        return logits.flatten(0, 1)


class BilinearPolicy(Policy):
    """The query is the product of its anchor's and its relation's vector."""

    def __init__(self, graph: TrainGraph, dim: int):
        super().__init__(graph, dim)
        self.relation = _table(2 * graph.num_relations, dim, scale=1.0)

    def context(self, queries):
        return self.entity(queries.anchor) * self.relation(queries.relation)


class NeuralPolicy(Policy):
    """The query is a network with one hidden layer over its anchor's and relation's vectors."""

    def __init__(self, graph: TrainGraph, dim: int, hidden: int):
        super().__init__(graph, dim)
        self.anchor = _table(graph.num_entities, dim)
        self.relation = _table(2 * graph.num_relations, dim)
        self.network = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def context(self, queries):
        given = [self.anchor(queries.anchor), self.relation(queries.relation)]
        return self.network(torch.cat(given, 1))


def _table(rows: int, dim: int, scale: float | None = None) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=dim**-0.5 if scale is None else scale)
    return table
