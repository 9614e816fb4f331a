"""The distinct queries of the training graph, as rows of a table."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.graph.knowledge_graph import TrainGraph


class SeenQueries(nn.Module):
    """Numbers the distinct (anchor, relation) of the training graph, on both sides together."""

    key: Int[Tensor, "Q"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.slots = 2 * graph.num_relations
        key = (graph.known.facts // graph.num_entities).unique_consecutive()
        self.register_buffer("key", key, persistent=False)

    def __len__(self) -> int:
        return len(self.key)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """The number of each query; Q for one that is not in the training graph."""
        wanted = queries.anchor * self.slots + queries.relation
        place = torch.searchsorted(self.key, wanted).clamp(max=len(self.key) - 1)
        return torch.where(self.key[place] == wanted, place, len(self.key))

    def queries(self, rows: Int[Tensor, "M"]) -> Queries:
        """The queries of these numbers. They have no answer of their own; the anchor stands in."""
        anchor = self.key[rows] // self.slots
        ones = torch.ones(len(rows), device=anchor.device)
        return Queries(anchor, self.key[rows] % self.slots, anchor, ones)
