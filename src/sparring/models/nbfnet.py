"""A main model that follows all paths from the anchor at once."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.data.graph import TrainGraph
from sparring.models.base import KGEModel
from sparring.models.convolutions import MessageGraph
from sparring.models.scorers import TableScorer
from sparring.registry import register

AT_ONCE = 2**26  # numbers that messages may hold at once


class PathLayer(nn.Module):
    """One more step of all paths: what neighbours know, times what the query makes of relations.

    A neighbour's message is its vector times one for the relation that leads from it, which is a
    linear function of the query's; messages are added up, and each entity that a query starts
    from hears the query once more (DistMult messages, sum aggregation).
    """

    def __init__(self, dim: int, num_relations: int):
        super().__init__()
        self.relation = nn.Linear(dim, 2 * num_relations * dim)
        self.update = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        known: Float[Tensor, "N B d"],
        start: Float[Tensor, "N B d"],
        query: Float[Tensor, "B d"],
        graph: MessageGraph,
        weight: Float[Tensor, "F"],
    ) -> Float[Tensor, "N B d"]:
        """What all entities know after the step."""
        dim = query.shape[1]
        relation = self.relation(query).view(len(query), -1, dim).transpose(0, 1)
        said = graph.gathered(known.flatten(1), weight).view(-1, *query.shape)
        heard = start.index_add(0, graph.anchor, said * relation[graph.relation])
        new = self.norm(self.update(torch.cat([known, heard], 2))).relu()
        return known + new


@register("nbfnet", example={"dim": 6, "layers": 2})
class NBFNet(KGEModel):
    """Scores all entities by the paths that lead to them, in one pass for each query.

    After Zhu et al., 2021, "Neural Bellman-Ford Networks". It knows entities by their places in
    the graph alone, so it has no vector for any of them. While training, what the queries of the
    batch ask about is hidden, from both ends. A pass costs layers * (facts + 2 rows of the
    `MessageGraph`) * dim, forwards, whatever is asked for; that is for small graphs or for
    patient people.

    Args:
        dim: numbers that each entity knows about each query.
        layers: steps of the longest paths.

    Raises:
        ValueError: for fewer layers or numbers than one.
    """

    def __init__(self, graph: TrainGraph, *, dim: int = 32, layers: int = 4):
        super().__init__()
        if dim < 1 or layers < 1:
            raise ValueError(f"paths need dim and layers; got dim={dim}, layers={layers}")
        self.dim = dim
        self.messages = MessageGraph(graph)
        self.query = nn.Embedding(2 * graph.num_relations, dim)
        self.layers = nn.ModuleList(PathLayer(dim, graph.num_relations) for _ in range(layers))
        self.judge = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 1, bias=False)
        )

    def forward(self, queries):
        seen = self.messages.without(queries) if self.training else self.messages.everything()
        few = max(1, AT_ONCE // (self.dim * max(1, len(self.messages.anchor))))
        parts = [
            self.scores(anchor, relation, seen)
            for anchor, relation in zip(queries.anchor.split(few), queries.relation.split(few))
        ]
        return TableScorer(torch.cat(parts))

    def scores(
        self, anchor: Int[Tensor, "B"], relation: Int[Tensor, "B"], weight: Float[Tensor, "F"]
    ) -> Float[Tensor, "B N"]:
        """Scores of all entities, where facts speak as loud as they weigh."""
        query = self.query(relation)
        nothing = query.new_zeros(self.messages.num_entities, *query.shape)
        start = nothing.index_put((anchor, torch.arange(len(anchor), device=anchor.device)), query)
        known = start
        for layer in self.layers:
            known = layer(known, start, query, self.messages, weight)
        both = torch.cat([known, query.expand_as(known)], 2)
        return self.judge(both).squeeze(2).T
