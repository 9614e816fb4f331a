"""The training facts as messages between entities, without a row of memory per fact."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.graph.facts import spelled
from sparring.graph.knowledge_graph import TrainGraph


class MessageGraph(nn.Module):
    """What neighbours tell an entity, gathered by the relation that leads from them to it.

    The known answers of a query (anchor, relation, ?) are the neighbours from which the inverse
    relation leads to the anchor. So facts in order of their queries are the rows of a sparse
    matrix, U of them, and one pass adds up what the neighbours of each row say. Only then does
    a network look at the relation, once per row: FB15k-237 has 3.6 facts a row.

    Attributes:
        neighbour: who speaks, by fact.
        row: which row a fact belongs to.
        anchor: who listens, by row.
        relation: the one that leads from the neighbours to the anchor, by row, in [0, 2R).
    """

    facts: Int[Tensor, "F"]
    start: Int[Tensor, "U"]
    neighbour: Int[Tensor, "F"]
    row: Int[Tensor, "F"]
    anchor: Int[Tensor, "U"]
    relation: Int[Tensor, "U"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        facts, slots = graph.known.facts, 2 * graph.num_relations
        key, first = graph.known.query[:-1], graph.known.first[:-1]
        asked = key % slots
        parts = {
            "facts": facts,
            "start": first[:-1],
            "neighbour": facts % graph.num_entities,
            "row": spelled(first[:-1], first.diff())[0],
            "anchor": key // slots,
            "relation": (asked + graph.num_relations) % slots,
        }
        for name, part in parts.items():
            self.register_buffer(name, part, persistent=False)

    @property
    def inverse(self) -> Bool[Tensor, "U"]:
        """Does an inverse relation lead to the anchor?"""
        return self.relation >= self.num_relations

    def without(self, queries: Queries) -> Float[Tensor, "F"]:
        """1 for every fact, but 0 for what the queries ask about, seen from either end."""
        slots = 2 * self.num_relations
        turned = (queries.relation + self.num_relations) % slots
        ends = (queries.anchor, queries.answer)
        there = (ends[0] * slots + queries.relation) * self.num_entities + ends[1]
        back = (ends[1] * slots + turned) * self.num_entities + ends[0]
        own = torch.cat([there, back])
        place = torch.searchsorted(self.facts, own)
        # one place more, for queries that are no facts of the graph
        known = F.pad(self.facts, (0, 1), value=-1)[place] == own
        keep = queries.weight.new_ones(len(self.facts) + 1)
        return keep.index_fill(0, place.where(known, len(self.facts)), 0.0)[:-1]

    def everything(self) -> Float[Tensor, "F"]:
        """1 for every fact."""
        return torch.ones(len(self.facts), device=self.facts.device)

    def gathered(
        self, said: Float[Tensor, "N d"], weight: Float[Tensor, "F"]
    ) -> Float[Tensor, "U d"]:
        """The weighted sum of what the neighbours of each row say."""
        return F.embedding_bag(
            self.neighbour,
            said,
            self.start,
            mode="sum",
            per_sample_weights=weight.to(said.dtype),
        )

    def total(self, weight: Float[Tensor, "F"]) -> Float[Tensor, "U"]:
        """The weight of each row."""
        return weight.new_zeros(len(self.anchor)).index_add(0, self.row, weight)

    def balanced(self, weight: Float[Tensor, "F"]) -> Float[Tensor, "F"]:
        """Weights over the root of what each neighbour says and each listener hears in all.

        Along relations and against them are counted apart.
        """
        side = self.inverse[self.row].long() * self.num_entities
        return (
            weight
            * self._rarity(side + self.neighbour, weight)
            * self._rarity(side + self.anchor[self.row], weight)
        )

    def _rarity(self, place: Int[Tensor, "F"], weight: Float[Tensor, "F"]) -> Float[Tensor, "F"]:
        """1 over the root of the weight of all facts at the same place."""
        degree = weight.new_zeros(2 * self.num_entities).index_add(0, place, weight)
        return degree.clamp(min=1).rsqrt()[place]
