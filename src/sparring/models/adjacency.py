"""The training graph as a sparse adjacency matrix that models pass messages over."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.data.graph import TrainGraph

MOST_LAYERS = 100  # of networks that pass messages over it


class RelationalAdjacency(nn.Module):
    """Neighbors of every entity, grouped by the relation that leads from them to it.

    The known answers of a query (entity, relation, ?) are the neighbors from which the inverse
    relation leads to the entity. So the facts, sorted by query, are the edges of a sparse matrix
    with one row per known query, and one pass sums the neighbors' vectors of each row. Only then
    does a layer look at the relation, once per row: FB15k-237 has 3.6 edges per row, and no edge
    takes a vector of memory. Each fact is an edge in both directions, so there are E edges and U
    rows.

    Attributes:
        neighbor: source entity of each edge.
        row: row of each edge.
        target: target entity of each row.
        relation: relation from the neighbors to the target, by row, in [0, 2R).
    """

    start: Int[Tensor, "U"]
    neighbor: Int[Tensor, "E"]
    row: Int[Tensor, "E"]
    target: Int[Tensor, "U"]
    relation: Int[Tensor, "U"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        self.known, queries = graph.known, graph.known.queries()
        rows = torch.arange(len(queries), device=queries.anchor.device)
        row, neighbor = self.known.entities.gather_rows(rows)
        buffers = {
            "start": self.known.entities.bounds(rows)[0],
            "neighbor": neighbor,
            "row": row,
            "target": queries.anchor,
            "relation": queries.inverse(graph.num_relations).relation,
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    @property
    def is_inverse(self) -> Bool[Tensor, "U"]:
        """Whether the relation of each row is an inverse one."""
        return self.relation >= self.num_relations

    def all_edges(self) -> Float[Tensor, "E"]:
        """Weight 1 for every edge."""
        return torch.ones(len(self.neighbor), device=self.neighbor.device)

    def edges_without(self, queries: Queries) -> Float[Tensor, "E"]:
        """Weight 1 for every edge, but 0 for the queries' own facts, in both directions."""
        directions = queries, queries.inverse(self.num_relations)
        own = [self.known.find(each, each.answer.unsqueeze(1)).squeeze(1) for each in directions]
        index, edges = torch.cat(own), len(self.neighbor)
        # one index more, for queries that are not facts of the graph
        weight = queries.weight.new_ones(edges + 1)
        return weight.index_fill(0, index.where(index >= 0, edges), 0.0)[:-1]

    def sum_neighbors(
        self, x: Float[Tensor, "N d"], edge_weight: Float[Tensor, "E"]
    ) -> Float[Tensor, "U d"]:
        """Weighted sum of the neighbors' vectors of each row."""
        return F.embedding_bag(
            self.neighbor,
            x,
            self.start,
            mode="sum",
            per_sample_weights=edge_weight.to(x.dtype),
        )

    def degree(self, edge_weight: Float[Tensor, "E"]) -> Float[Tensor, "U"]:
        """Sum of the edge weights of each row."""
        return edge_weight.new_zeros(len(self.target)).index_add(0, self.row, edge_weight)

    def normalize(self, edge_weight: Float[Tensor, "E"]) -> Float[Tensor, "E"]:
        """Symmetric normalization: weights over the square roots of both entities' degrees.

        Degrees along relations and along inverse relations are counted separately.
        """
        direction = self.is_inverse[self.row].long() * self.num_entities
        return (
            edge_weight
            * self._inverse_sqrt_degree(direction + self.neighbor, edge_weight)
            * self._inverse_sqrt_degree(direction + self.target[self.row], edge_weight)
        )

    def _inverse_sqrt_degree(
        self, node: Int[Tensor, "E"], edge_weight: Float[Tensor, "E"]
    ) -> Float[Tensor, "E"]:
        """1 / sqrt(degree) of one end of each edge."""
        degree = edge_weight.new_zeros(2 * self.num_entities).index_add(0, node, edge_weight)
        return degree.clamp(min=1).rsqrt()[node]
