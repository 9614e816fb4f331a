"""Steps along relations, for many entities at once."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sparring.graph.facts import spelled
from sparring.graph.knowledge_graph import TrainGraph


class Walks(nn.Module):
    """Where a step from an entity along a relation leads; relation 2R stays where it is.

    Each fact, seen from both ends, and each entity for staying, is one integer in a sorted
    tensor, so a step is a search for where its entities start and stop.
    """

    places: Int[Tensor, "P"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.num_entities, self.stay = graph.num_entities, 2 * graph.num_relations
        facts = graph.known.facts
        query, entity = facts // graph.num_entities, facts % graph.num_entities
        anchor, relation = query // self.stay, query % self.stay
        everyone = torch.arange(graph.num_entities, device=facts.device)
        places = [
            self._place(anchor, relation) + entity,
            self._place(everyone, everyone.new_full((), self.stay)) + everyone,
        ]
        self.register_buffer("places", torch.cat(places).sort().values, persistent=False)

    def _place(self, entity: Tensor, relation: Tensor) -> Tensor:
        return (entity * (self.stay + 1) + relation) * self.num_entities

    def along(
        self, entity: Int[Tensor, "A"], relation: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
        """All steps along the relations given, as (row, entity reached)."""
        low = self._place(entity, relation)
        row, spot = self._between(low, low + self.num_entities)
        return row, self.places[spot] % self.num_entities

    def count(self, entity: Int[Tensor, "A"], relation: Int[Tensor, "A"]) -> Int[Tensor, "A"]:
        """The number of steps along the relations given."""
        low = self._place(entity, relation)
        return self._until(low + self.num_entities) - self._until(low)

    def anywhere(
        self, entity: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Int[Tensor, "P"]]:
        """All steps along all relations, as (row, relation, entity reached)."""
        first = torch.zeros_like(entity)
        row, spot = self._between(self._place(entity, first), self._place(entity + 1, first))
        place = self.places[spot]
        relation = place // self.num_entities % (self.stay + 1)
        return row, relation, place % self.num_entities

    def degree(self, entity: Int[Tensor, "A"]) -> Int[Tensor, "A"]:
        """The number of steps from each entity along all relations."""
        first = torch.zeros_like(entity)
        low, high = self._place(entity, first), self._place(entity + 1, first)
        return self._until(high) - self._until(low)

    def _between(
        self, low: Int[Tensor, "A"], high: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
        start = self._until(low)
        return spelled(start, self._until(high) - start)

    def _until(self, place: Int[Tensor, "A"]) -> Int[Tensor, "A"]:
        return torch.searchsorted(self.places, place)


class Pairs(nn.Module):
    """Which relations lead from one entity to another; relation 2R leads to oneself."""

    pair: Int[Tensor, "P"]
    relation: Int[Tensor, "P"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.num_entities, slots = graph.num_entities, 2 * graph.num_relations
        facts = graph.known.facts
        query, entity = facts // self.num_entities, facts % self.num_entities
        everyone = torch.arange(self.num_entities, device=facts.device)
        start = torch.cat([query // slots, everyone])
        pair, order = (start * self.num_entities + torch.cat([entity, everyone])).sort()
        relation = torch.cat([query % slots, everyone.new_full(everyone.shape, slots)])
        self.register_buffer("pair", pair, persistent=False)
        self.register_buffer("relation", relation[order], persistent=False)

    def between(
        self, entity: Int[Tensor, "A"], target: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
        """Every relation from each entity to its target, as (row, relation)."""
        pair = entity * self.num_entities + target
        start = torch.searchsorted(self.pair, pair)
        row, spot = spelled(start, torch.searchsorted(self.pair, pair, right=True) - start)
        return row, self.relation[spot]


def portions(size: Int[Tensor, "A"], most: int) -> Iterator[slice]:
    """Consecutive rows of about `most` in all, and at least one."""
    whole = (size.cumsum(0) - size) // most
    stops = whole.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
    return (slice(start, stop) for start, stop in zip([0, *stops], stops))
