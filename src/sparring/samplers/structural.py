"""Rows of entities of any length, and samplers that draw uniformly from one row per query.

Wrong answers of the right kind.

Wrong answers that have something else to do with the anchor.

Wrong answers from around the entity that a query keeps (Ahrabian et al., 2020)."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, ungroup
from sparring.data.graph import TrainGraph
from sparring.data.index import PairIndex, Ragged
from sparring.registry import register
from sparring.samplers.base import NO_DENSITY, NegativeSampler


class ListSampler(NegativeSampler, ABC):
    """Entities of the query's own list, with equal probability; all entities if it is empty.

    Args:
        floor: share of draws that come from all entities alike, in [0, 1].

    Raises:
        ValueError: if the floor is no share.
    """

    schedulable = (("floor", 0.0, 1.0),)

    def __init__(self, graph: TrainGraph, lists: Ragged, *, k: int, floor: float):
        super().__init__(k)
        self.floor = checked_floor(floor)
        self.num_entities, self.lists = graph.num_entities, lists

    @abstractmethod
    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """Which list each query draws from."""

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        row = self.row(queries)
        coin = torch.rand(shape, generator=rng, device=device) if self.floor else None
        lot = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        listed, anyone = self.lists.sample_at(row, lot), lot.mul_(self.num_entities).long()
        if coin is None:  # what is drawn from a list is listed, without a look
            ids = torch.where(self.lists.sizes(row).unsqueeze(1) > 0, listed, anyone)
            log_q = self._if_listed(row)
            return Negatives.from_ids(queries, ids, log_q.unsqueeze(1).expand(shape), log_q)
        free = coin < self._floor(row)
        ids = torch.where(free, anyone, listed)
        log_q = self._log_share(row, self.lists.contains(row, ids))
        return Negatives.from_ids(queries, ids, log_q, self.answer_log_prob(queries))

    def log_prob(self, queries, ids):
        row = self.row(queries)
        return self._log_share(row, self.lists.contains(row, ungroup(ids, len(queries))))

    def answer_log_prob(self, queries):
        """An answer that is never drawn counts as listed."""
        if not self.floor:
            return self._if_listed(self.row(queries))
        return self.log_prob(queries, queries.answer.unsqueeze(1)).squeeze(1)

    def _if_listed(self, row: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        return self._log_share(row, row.new_ones(len(row), 1, dtype=torch.bool)).squeeze(1)

    def _floor(self, row: Int[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        return (self.lists.sizes(row) == 0).float().clamp(min=self.floor).unsqueeze(1)

    def _log_share(
        self, row: Int[Tensor, "B"], listed: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B K"]:
        floor = self._floor(row)
        size = self.lists.sizes(row).clamp(min=1).unsqueeze(1)
        return (floor / self.num_entities + (1 - floor) * listed / size).log()


def checked_floor(floor: float) -> float:
    """The floor, if it is a share."""
    if not 0 <= floor <= 1:
        raise ValueError(f"the floor is the share of uniform draws, from 0 to 1; got {floor}")
    return floor


KINDS = ("answer", "relation", "slot")


@register("type-constrained", example={"k": 5}, aliases=["typed"])
class TypeConstrained(ListSampler):
    """Entities of the kind that is asked for, mixed with a share of entities of any kind.

    Restricted to one kind, a sampler never pushes the others down, although evaluation ranks
    them: keep the floor. Wrap in `ResampleKnown`: such candidates are often known answers.

    Args:
        kind: "slot": seen in that position of the relation (Krompass et al., 2015).
            "relation": of a given type that is seen in that position. "answer": of the
            answer's rarest given type (Kotnis & Nastase, 2018).
        floor: share of draws that come from all entities alike.

    Raises:
        ValueError: for another kind, or if the graph gives no types where they are needed.
    """

    answer_type: Int[Tensor, "N"]

    def __init__(self, graph: TrainGraph, *, k: int, kind: str = "slot", floor: float = 0.5):
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
        make = {"slot": seen_in_slot, "relation": _of_types_in_slot, "answer": _of_type}[kind]
        super().__init__(graph, make(graph), k=k, floor=floor)
        self.kind = kind
        if kind == "answer":
            self.register_buffer("answer_type", _rarest_type(graph), persistent=False)

    def row(self, queries):
        return self.answer_type[queries.answer] if self.kind == "answer" else queries.relation


@register("positional", example={"k": 5})
class Positional(ListSampler):
    """Entities seen in that position of the relation: "corrupt" in Kotnis & Nastase, 2018.

    A relation without training triples draws from all entities.
    """

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(graph, seen_in_slot(graph), k=k, floor=0.0)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return queries.relation


def seen_in_slot(graph: TrainGraph) -> Ragged:
    """For each relation id in [0, 2R), the entities that answer it in training."""
    head, relation, tail = graph.triples.unbind(1)
    slot = torch.cat([relation, relation + graph.num_relations])
    return Ragged.from_pairs(slot, torch.cat([tail, head]), 2 * graph.num_relations)


def _of_types_in_slot(graph: TrainGraph) -> Ragged:
    """For each relation id, the entities of any type that is seen among its answers."""
    entity, kind = _given(graph)
    seen = seen_in_slot(graph)
    rows = []
    for slot in torch.arange(len(seen), device=kind.device).split(1):
        answer = torch.zeros(graph.num_entities, dtype=torch.bool, device=kind.device)
        answer[seen.gather_rows(slot)[1]] = True
        wanted = torch.zeros(int(kind.max()) + 1, dtype=torch.bool, device=kind.device)
        wanted[kind[answer[entity]]] = True
        rows.append(entity[wanted[kind]].unique())
    size = torch.tensor([len(row) for row in rows], device=kind.device)
    return Ragged(torch.cat(rows), size)


def _of_type(graph: TrainGraph) -> Ragged:
    """The entities of each type, and a last, empty row for entities without one."""
    entity, kind = _given(graph)
    return Ragged.from_pairs(kind, entity, int(kind.max()) + 2)


def _rarest_type(graph: TrainGraph) -> Int[Tensor, "N"]:
    """The type of each entity that fewest entities have; one beyond the last where none is given.

    Among equally rare types it is the first.
    """
    entity, kind = _given(graph)
    types = int(kind.max()) + 1
    rarity = torch.bincount(kind, minlength=types)[kind] * types + kind
    untyped = (graph.num_entities + 1) * types
    best = torch.full((graph.num_entities,), untyped, device=kind.device)
    best = best.scatter_reduce(0, entity, rarity, "amin")
    return torch.where(best == untyped, types, best % types)


def _given(graph: TrainGraph) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Entities and their given types, each pair once."""
    pairs = graph.entity_type
    if pairs is None or not len(pairs):
        raise ValueError('the graph gives no entity types; only kind = "slot" does without')
    entity, kind = pairs.unique(dim=0).unbind(1)
    return entity, kind


@register("relational", example={"k": 5})
class Relational(NegativeSampler):
    """Entities linked to the anchor, but not by the query's own relation and direction.

    "Relational" in Kotnis & Nastase, 2018. Entities count once for each such link. An anchor
    without any draws from all entities. Takes 16 bytes per training triple.

    Args:
        floor: share of draws that come from all entities alike.
    """

    schedulable = (("floor", 0.0, 1.0),)

    def __init__(self, graph: TrainGraph, *, k: int, floor: float = 0.0):
        super().__init__(k)
        self.floor = checked_floor(floor)
        self.known = graph.known
        self.num_entities = graph.num_entities
        self.links = PairIndex(*graph.known.facts(), graph.num_entities)

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        coin = torch.rand(shape, generator=rng, device=device)
        lot = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        linked = self._linked(queries, lot)
        anyone = (lot * self.num_entities).long()
        return self.to_negatives(queries, torch.where(coin < self._floor(queries), anyone, linked))

    def log_prob(self, queries, ids):
        links = self.links.count(queries.anchor.unsqueeze(1), ungroup(ids, len(queries)))
        return self._log_share(queries, links - self.known.contains(queries, ids).long())

    def answer_log_prob(self, queries):
        """An answer that is never drawn counts as linked once more."""
        stated = self.log_prob(queries, queries.answer.unsqueeze(1))
        once = self._log_share(queries, torch.ones_like(queries.answer).unsqueeze(1))
        return torch.where(stated == -torch.inf, once, stated).squeeze(1)

    def _log_share(self, queries: Queries, links: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        floor, total = self._floor(queries), self._total(queries).clamp(min=1).unsqueeze(1)
        return (floor / self.num_entities + (1 - floor) * links / total).log()

    def _floor(self, queries: Queries) -> Float[Tensor, "B 1"]:
        alone = self._total(queries) == 0
        return alone.to(queries.weight.dtype).clamp(min=self.floor).unsqueeze(1)

    def _total(self, queries: Queries) -> Int[Tensor, "B"]:
        """Links of the anchor, those of the query itself left out."""
        start, stop = self.known.anchor_bounds(queries.anchor)
        return stop - start - self.known.count(queries)

    def _linked(self, queries: Queries, lot: Float[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The entity of the link at the share `lot`, in [0, 1), of those that count."""
        start, _ = self.known.anchor_bounds(queries.anchor)
        place = start.unsqueeze(1) + (lot * self._total(queries).unsqueeze(1)).long()
        own, beyond = self.known.bounds(queries)
        skip = (place >= own.unsqueeze(1)) * (beyond - own).unsqueeze(1)
        return self.known.entities.values[place + skip].long()


AT_ONCE = 2**23  # steps held while building


@register("k-hop", example={"k": 5, "hops": 1})
class KHop(ListSampler):
    """Entities within `hops` steps of the anchor, whatever relation or direction a step takes.

    An anchor without neighbours draws from all entities. The balls take 4 bytes per entity in
    them: on FB15k-237 two hops reach 41 % of all entities, 345 MB; on WN18RR .2 %, 13 MB.

    Args:
        floor: share of draws that come from all entities alike.
        max_ids: entities that all balls together may hold.

    Raises:
        ValueError: for less than one hop, or if the balls hold more than `max_ids`.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        hops: int = 2,
        floor: float = 0.0,
        max_ids: int = 2**28,
    ):
        super().__init__(graph, balls(neighbours(graph), hops, max_ids), k=k, floor=floor)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return queries.anchor


@register("random-walk", example={"k": 5})
class RandomWalk(NegativeSampler):
    """Ends of walks of `hops` steps from the anchor, each to a neighbour chosen at random.

    Every walk starts at the anchor. An anchor without neighbours draws from all entities. Takes
    4 bytes per neighbour, and no density is stated.
    """

    capabilities = NO_DENSITY

    def __init__(self, graph: TrainGraph, *, k: int, hops: int = 2):
        super().__init__(k)
        self.hops, self.num_entities = _checked_hops(hops), graph.num_entities
        self.neighbours = neighbours(graph)

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        place = queries.anchor.unsqueeze(1).expand(shape)
        for _ in range(self.hops):
            place = step(self.neighbours, place, rng)
        anyone = torch.randint(self.num_entities, shape, generator=rng, device=device)
        alone = self.neighbours.sizes(queries.anchor).unsqueeze(1) == 0
        return self.to_negatives(queries, torch.where(alone, anyone, place))


@register("sans", example={"k": 5, "walks": 20}, aliases=["walk-ends"])
class SANS(ListSampler):
    """Distinct ends of a fixed number of random walks from the anchor, equally often.

    The walks are made once, before training. Takes up to 4 bytes per walk and entity.

    Args:
        walks: walks from each entity.
        seed: of the walks.
        compat: behave as the authors' program does: a walk starts where the last one ended, so
            that only the first starts at the anchor, and an entity without neighbours has
            `walks` random ends.

    Raises:
        ValueError: for less than one hop or walk.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        hops: int = 2,
        walks: int = 1000,
        floor: float = 0.0,
        seed: int = 0,
        compat: bool = False,
    ):
        if walks < 1:
            raise ValueError(f"there must be at least one walk per entity; got walks={walks}")
        rng = torch.Generator(graph.triples.device).manual_seed(seed)
        lists = _walk_ends(graph, _checked_hops(hops), walks, rng, compat)
        super().__init__(graph, lists, k=k, floor=floor)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return queries.anchor


def neighbours(graph: TrainGraph) -> Ragged:
    """The entities that share a triple with each entity."""
    head, _, tail = graph.triples.unbind(1)
    return Ragged.from_pairs(torch.cat([head, tail]), torch.cat([tail, head]), graph.num_entities)


def balls(near: Ragged, hops: int, max_ids: int) -> Ragged:
    """What is within `hops` steps of each row, itself included; none if it has no neighbours.

    Args:
        near: the neighbours of each row, as other rows.

    Raises:
        ValueError: for less than one hop, or if they are more than `max_ids`.
    """
    _checked_hops(hops)
    count, parts, total = len(near), [], 0
    for some in _portions(near, hops):
        ball = _ball(near, some, hops)
        parts.append(((ball % count).int(), torch.bincount(ball // count, minlength=len(some))))
        total += len(ball)
        if total > max_ids:
            raise ValueError(
                f"the first {int(some[-1]) + 1} of {count} balls of {hops} hops hold {total} "
                f"entities, above max_ids={max_ids}; take fewer hops, or RandomWalk, which "
                "stores none"
            )
    entity, size = (torch.cat(column) for column in zip(*parts))
    return Ragged(entity, size)


def _portions(near: Ragged, hops: int) -> tuple[Int[Tensor, "_"], ...]:
    """All entities, in runs that take about `AT_ONCE` steps to surround."""
    everyone = torch.arange(len(near), device=near.offsets.device)
    turn, entity = near.gather_rows(everyone)
    load = near.sizes(everyone)
    for _ in range(hops - 1):
        # a hop takes each edge at most once
        load = torch.zeros_like(load).index_add(0, turn, load[entity]).clamp(max=len(turn))
    return everyone.split(torch.bincount(load.cumsum(0) // AT_ONCE).tolist())


def _ball(near: Ragged, centre: Int[Tensor, "C"], hops: int) -> Int[Tensor, "P"]:
    """Who is within `hops` steps, as ascending (position in `centre`) * N + entity."""
    count = len(near)
    place = torch.arange(len(centre), device=centre.device) * count + centre
    edge = ball = place[near.sizes(centre) > 0]
    for _ in range(hops):
        turn, entity = near.gather_rows(edge % count)
        edge = (edge[turn] - edge[turn] % count + entity).unique()
        ball = torch.cat([ball, edge]).unique()
    return ball


def step(near: Ragged, place: Int[Tensor, "B K"], rng: torch.Generator) -> Int[Tensor, "B K"]:
    """A random neighbour of each entity; anything where there is none."""
    lot = torch.rand(place.shape, generator=rng, device=place.device, dtype=torch.double)
    return near.sample_at(place.flatten(), lot.view(-1, 1)).view(place.shape)


def _walk_ends(
    graph: TrainGraph, hops: int, walks: int, rng: torch.Generator, compat: bool
) -> Ragged:
    near, count = neighbours(graph), graph.num_entities
    everyone = torch.arange(count, device=graph.triples.device)
    parts = []
    for some in everyone.split(max(1, AT_ONCE // walks)):
        start = some.unsqueeze(1)
        ends = torch.empty(len(some), walks, dtype=torch.long, device=some.device)
        for walk in range(walks):
            place = start
            for _ in range(hops):
                place = step(near, place, rng)
            ends[:, walk] = place.squeeze(1)
            start = place if compat else start
        alone = near.sizes(some) == 0
        anyone = torch.randint(count, ends.shape, generator=rng, device=some.device)
        ends = torch.where(alone.unsqueeze(1), anyone, ends).sort(1).values
        first = torch.ones_like(ends, dtype=torch.bool)
        first[:, 1:] = ends[:, 1:] != ends[:, :-1]
        first &= ~alone.unsqueeze(1) | compat
        parts.append((ends[first].int(), first.sum(1)))
    entity, size = (torch.cat(column) for column in zip(*parts))
    return Ragged(entity, size)


def _checked_hops(hops: int) -> int:
    if hops < 1:
        raise ValueError(f"a neighbourhood reaches at least one hop; got hops={hops}")
    return hops
