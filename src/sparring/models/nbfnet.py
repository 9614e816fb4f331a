"""NBFNet: a model that scores all entities by the paths that lead to them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.models.adjacency import MOST_LAYERS, RelationalAdjacency
from sparring.models.base import KGEModel
from sparring.models.scorers import PrecomputedScorer
from sparring.registry import register

MAX_MESSAGE_ELEMENTS = 2**26  # largest message tensor; larger batches go in chunks


@register("nbfnet", example={"dim": 6, "layers": 2})
class NBFNet(KGEModel):
    """Scores all entities by the paths from the anchor to them, in one pass per query.

    Zhu et al., 2021, "Neural Bellman-Ford Networks", with DistMult messages and sum aggregation.
    Entities have no vectors of their own, so the model knows them by their position in the graph
    only. While training, the facts that the batch asks about are removed from the graph, in both
    directions. A forward pass costs layers * (edges + 2 rows of `RelationalAdjacency`) * dim
    multiplications per query, however few candidates are scored: it is for small graphs.

    Args:
        graph: the training graph.
        dim: numbers per entity and query.
        layers: length of the longest paths.

    Raises:
        ValueError: for fewer than one layer or dimension.
    """

    def __init__(self, graph: TrainGraph, *, dim: int = 32, layers: int = 4):
        super().__init__()
        if dim < 1 or not 1 <= layers <= MOST_LAYERS:
            raise ValueError(
                f"NBFNet needs at least one dimension, and 1 to {MOST_LAYERS} layers; "
                f"got dim={dim}, layers={layers}"
            )
        self.dim = dim
        self.adjacency = RelationalAdjacency(graph)
        self.query = nn.Embedding(2 * graph.num_relations, dim)
        self.layers = nn.ModuleList(
            BellmanFordLayer(dim, graph.num_relations) for _ in range(layers)
        )
        self.readout = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 1, bias=False)
        )

    def forward(self, queries: Queries) -> Scorer:
        adjacency = self.adjacency
        edge_weight = adjacency.edges_without(queries) if self.training else adjacency.all_edges()
        size = max(1, MAX_MESSAGE_ELEMENTS // (self.dim * max(1, len(adjacency.target))))
        scores = [
            self.score_all(anchor, relation, edge_weight)
            for anchor, relation in zip(queries.anchor.split(size), queries.relation.split(size))
        ]
        return PrecomputedScorer(torch.cat(scores))

    def score_all(
        self, anchor: Int[Tensor, "B"], relation: Int[Tensor, "B"], edge_weight: Float[Tensor, "E"]
    ) -> Float[Tensor, "B N"]:
        """Scores of all entities, given the weight of each edge."""
        query = self.query(relation)
        zeros = query.new_zeros(self.adjacency.num_entities, *query.shape)
        boundary = zeros.index_put((anchor, torch.arange(len(anchor), device=anchor.device)), query)
        state = boundary
        for layer in self.layers:
            state = layer(state, boundary, query, self.adjacency, edge_weight)
        both = torch.cat([state, query.expand_as(state)], 2)
        return self.readout(both).squeeze(2).T


class BellmanFordLayer(nn.Module):
    """One generalized Bellman-Ford iteration: every path grows by one edge.

    The message of a neighbor is its state times a vector of the relation, which is a linear
    function of the query's vector. Messages are summed, and the anchor of each query gets the
    query's vector once more, as the boundary condition.

    Args:
        dim: numbers per entity and query.
        num_relations: R.
    """

    def __init__(self, dim: int, num_relations: int):
        super().__init__()
        self.relation = nn.Linear(dim, 2 * num_relations * dim)
        self.update = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        state: Float[Tensor, "N B d"],
        boundary: Float[Tensor, "N B d"],
        query: Float[Tensor, "B d"],
        adjacency: RelationalAdjacency,
        edge_weight: Float[Tensor, "E"],
    ) -> Float[Tensor, "N B d"]:
        """The state of all entities after one more iteration."""
        relation = self.relation(query).view(len(query), -1, query.shape[1]).transpose(0, 1)
        neighbors = adjacency.sum_neighbors(state.flatten(1), edge_weight).view(-1, *query.shape)
        messages = neighbors * relation[adjacency.relation]
        aggregated = boundary.index_add(0, adjacency.target, messages)
        new = self.norm(self.update(torch.cat([state, aggregated], 2))).relu()
        return state + new
