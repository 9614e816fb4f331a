"""The training graph as a sparse adjacency matrix that models pass messages over."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.data.index import ragged_arange


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

    facts: Int[Tensor, "E"]
    start: Int[Tensor, "U"]
    neighbor: Int[Tensor, "E"]
    row: Int[Tensor, "E"]
    target: Int[Tensor, "U"]
    relation: Int[Tensor, "U"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        facts, slots = graph.known.facts, 2 * graph.num_relations
        key, first = graph.known.query[:-1], graph.known.first[:-1]
        buffers = {
            "facts": facts,
            "start": first[:-1],
            "neighbor": facts % graph.num_entities,
            "row": ragged_arange(first[:-1], first.diff())[0],
            "target": key // slots,
            "relation": (key % slots + graph.num_relations) % slots,
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    @property
    def is_inverse(self) -> Bool[Tensor, "U"]:
        """Whether the relation of each row is an inverse one."""
        return self.relation >= self.num_relations

    def all_edges(self) -> Float[Tensor, "E"]:
        """Weight 1 for every edge."""
        return torch.ones(len(self.facts), device=self.facts.device)

    def edges_without(self, queries: Queries) -> Float[Tensor, "E"]:
        """Weight 1 for every edge, but 0 for the queries' own facts, in both directions."""
        slots = 2 * self.num_relations
        inverse = (queries.relation + self.num_relations) % slots
        forward = (queries.anchor * slots + queries.relation) * self.num_entities + queries.answer
        backward = (queries.answer * slots + inverse) * self.num_entities + queries.anchor
        own = torch.cat([forward, backward])
        index = torch.searchsorted(self.facts, own)
        # one index more, for queries that are not facts of the graph
        known = F.pad(self.facts, (0, 1), value=-1)[index] == own
        weight = queries.weight.new_ones(len(self.facts) + 1)
        return weight.index_fill(0, index.where(known, len(self.facts)), 0.0)[:-1]

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
