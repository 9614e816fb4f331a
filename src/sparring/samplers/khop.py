"""Wrong answers from around the entity that a query keeps (Ahrabian et al., 2020)."""

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.samplers.lists import Lists, ListSampler

AT_ONCE = 2**23  # steps held while building


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


class RandomWalk(NegativeSampler):
    """Ends of walks of `hops` steps from the anchor, each to a neighbour chosen at random.

    Every walk starts at the anchor. An anchor without neighbours draws from all entities. Takes
    4 bytes per neighbour, and no density is stated.
    """

    states_density = closed_density = False

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
        alone = self.neighbours.size[queries.anchor].unsqueeze(1) == 0
        return self.offer(queries, torch.where(alone, anyone, place))


class WalkEnds(ListSampler):
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


def neighbours(graph: TrainGraph) -> Lists:
    """The entities that share a triple with each entity."""
    head, _, tail = graph.triples.unbind(1)
    return Lists.of_pairs(torch.cat([head, tail]), torch.cat([tail, head]), graph.num_entities)


def balls(near: Lists, hops: int, max_ids: int) -> Lists:
    """What is within `hops` steps of each row, itself included; none if it has no neighbours.

    Args:
        near: the neighbours of each row, as other rows.

    Raises:
        ValueError: for less than one hop, or if they are more than `max_ids`.
    """
    _checked_hops(hops)
    count, parts, total = len(near.size), [], 0
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
    return Lists(entity, size)


def _portions(near: Lists, hops: int) -> tuple[Int[Tensor, "_"], ...]:
    """All entities, in runs that take about `AT_ONCE` steps to surround."""
    everyone = torch.arange(len(near.size), device=near.size.device)
    turn, entity = near.spread(everyone)
    load = near.size
    for _ in range(hops - 1):
        # a hop takes each edge at most once
        load = torch.zeros_like(load).index_add(0, turn, load[entity]).clamp(max=len(turn))
    return everyone.split(torch.bincount(load.cumsum(0) // AT_ONCE).tolist())


def _ball(near: Lists, centre: Int[Tensor, "C"], hops: int) -> Int[Tensor, "P"]:
    """Who is within `hops` steps, as ascending (position in `centre`) * N + entity."""
    count = len(near.size)
    place = torch.arange(len(centre), device=centre.device) * count + centre
    edge = ball = place[near.size[centre] > 0]
    for _ in range(hops):
        turn, entity = near.spread(edge % count)
        edge = (edge[turn] - edge[turn] % count + entity).unique()
        ball = torch.cat([ball, edge]).unique()
    return ball


def step(near: Lists, place: Int[Tensor, "B K"], rng: torch.Generator) -> Int[Tensor, "B K"]:
    """A random neighbour of each entity; anything where there is none."""
    lot = torch.rand(place.shape, generator=rng, device=place.device, dtype=torch.double)
    return near.pick(place.flatten(), lot.view(-1, 1)).view(place.shape)


def _walk_ends(
    graph: TrainGraph, hops: int, walks: int, rng: torch.Generator, compat: bool
) -> Lists:
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
        alone = near.size[some] == 0
        anyone = torch.randint(count, ends.shape, generator=rng, device=some.device)
        ends = torch.where(alone.unsqueeze(1), anyone, ends).sort(1).values
        first = torch.ones_like(ends, dtype=torch.bool)
        first[:, 1:] = ends[:, 1:] != ends[:, :-1]
        first &= ~alone.unsqueeze(1) | compat
        parts.append((ends[first].int(), first.sum(1)))
    entity, size = (torch.cat(column) for column in zip(*parts))
    return Lists(entity, size)


def _checked_hops(hops: int) -> int:
    if hops < 1:
        raise ValueError(f"a neighbourhood reaches at least one hop; got hops={hops}")
    return hops
