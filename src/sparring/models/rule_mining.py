"""Steps along relations, for many entities at once.

Rules of one and two steps, found in the training graph by counting."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.data.graph import TrainGraph
from sparring.data.index import ragged_arange


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
        return ragged_arange(start, self._until(high) - start)

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
        row, spot = ragged_arange(start, torch.searchsorted(self.pair, pair, right=True) - start)
        return row, self.relation[spot]


def portions(size: Int[Tensor, "A"], most: int) -> Iterator[slice]:
    """Consecutive rows of about `most` in all, and at least one."""
    whole = (size.cumsum(0) - size) // most
    stops = whole.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
    return (slice(start, stop) for start, stop in zip([0, *stops], stops))


AT_ONCE = 2**22  # walks held at once


@dataclass(frozen=True, eq=False)
class Rules:
    """head(X, Y) <- first(X, Z), second(Z, Y), by head, the most confident first.

    Relations run over [0, 2R), and a second step along 2R stays: head(X, Y) <- first(X, Y).

    Attributes:
        support: pairs (X, Y) of the body for which the head is a fact.
        body: pairs (X, Y) of the body, in the sample that was counted.
        confidence: support / (body + pessimism).
    """

    head: Int[Tensor, "M"]
    first: Int[Tensor, "M"]
    second: Int[Tensor, "M"]
    support: Int[Tensor, "M"]
    body: Int[Tensor, "M"]
    confidence: Float[Tensor, "M"]

    def __len__(self) -> int:
        return len(self.head)


def mined(
    graph: TrainGraph,
    *,
    anchors: int = 100,
    support: int = 2,
    confidence: float = 0.01,
    pessimism: float = 5.0,
    most: int = 200,
    seed: int = 0,
) -> Rules:
    """Rules as confident as asked for, with confidence as in AnyBURL (Meilicke et al., 2019).

    X, Y and Z of a rule are three entities, and no rule says that a relation implies itself.

    Args:
        anchors: entities X per first relation that bodies are counted from, drawn at random;
            all, where there are fewer.
        support: least number of facts that a rule explains, among what was counted.
        confidence: the least.
        pessimism: added to the number of cases, so that few cases are trusted less.
        most: rules kept per head, the most confident ones.
        seed: of the draw of X.

    Raises:
        ValueError: for numbers that are none.
    """
    if min(anchors, support, most) < 1 or pessimism < 0:
        raise ValueError(
            "anchors, support and most are at least 1, and pessimism is not negative; got "
            f"anchors={anchors}, support={support}, most={most}, pessimism={pessimism}"
        )
    walks = Walks(graph)
    start, relation = _sample(graph, anchors, seed)
    row, middle = walks.along(start, relation)
    size = torch.zeros_like(start).index_add(0, row, walks.degree(middle))
    pairs = Pairs(graph)
    bodies, heads = [], []
    for some in portions(size, AT_ONCE):
        body, head = _counted(walks, pairs, start[some], relation[some])
        bodies.append(body)
        heads.append(head)
    return _chosen(graph, _added(bodies), _added(heads), support, confidence, pessimism, most)


def _sample(
    graph: TrainGraph, anchors: int, seed: int
) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
    """Some entities that each relation leads from, as (entity, relation)."""
    slots = 2 * graph.num_relations
    query = (graph.known.facts // graph.num_entities).unique()
    lot = torch.randperm(len(query), generator=torch.Generator().manual_seed(seed))
    query = query[lot.to(query.device)]
    relation, order = (query % slots).sort(stable=True)
    rank = torch.arange(len(order), device=order.device) - torch.searchsorted(relation, relation)
    chosen = query[order[rank < anchors]]
    return chosen // slots, chosen % slots


Counts = tuple[Tensor, Tensor]  # distinct keys, and how often each occurs


def _counted(
    walks: Walks, pairs: Pairs, start: Int[Tensor, "A"], first: Int[Tensor, "A"]
) -> tuple[Counts, Counts]:
    """How many pairs each body has from these starts, and how many of them each head."""
    entities, slots = walks.num_entities, walks.stay + 1
    row, middle = walks.along(start, first)
    from_middle, second, end = walks.anywhere(middle)
    row, middle = row[from_middle], middle[from_middle]
    three = (
        (middle != start[row]) & (end != start[row]) & ((second == walks.stay) | (end != middle))
    )
    row, second, end = row[three], second[three], end[three]
    pair = ((row * slots + second) * entities + end).unique()
    row, second, end = pair // entities // slots, pair // entities % slots, pair % entities
    body = first[row] * slots + second
    known, head = pairs.between(start[row], end)
    itself = (second[known] == walks.stay) & (head == first[row[known]])
    implied = (body[known] * walks.stay + head)[~itself]
    return body.unique(return_counts=True), implied.unique(return_counts=True)


def _added(parts: list[Counts]) -> Counts:
    """Counts of the same keys, added up."""
    keys, place = torch.cat([key for key, _ in parts]).unique(return_inverse=True)
    counts = torch.cat([count for _, count in parts])
    return keys, torch.zeros_like(keys).index_add(0, place, counts)


def _chosen(
    graph: TrainGraph,
    bodies: Counts,
    heads: Counts,
    support: int,
    confidence: float,
    pessimism: float,
    most: int,
) -> Rules:
    slots = 2 * graph.num_relations
    rule, explained = heads
    body = bodies[1][torch.searchsorted(bodies[0], rule // slots)]
    trust = explained.double() / (body + pessimism)
    good = ((explained >= support) & (trust >= confidence)).nonzero().squeeze(1)
    good = good[trust[good].argsort(descending=True, stable=True)]
    head, order = (rule[good] % slots).sort(stable=True)
    good = good[order]
    rank = torch.arange(len(head), device=head.device) - torch.searchsorted(head, head)
    good = good[rank < most]
    path = rule[good] // slots
    return Rules(
        head=rule[good] % slots,
        first=path // (slots + 1),
        second=path % (slots + 1),
        support=explained[good],
        body=body[good],
        confidence=trust[good].float(),
    )
