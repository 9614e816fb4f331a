"""Samplers that draw from the neighborhood of the anchor (Ahrabian et al., 2020)."""

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.data.index import Ragged
from sparring.registry import register
from sparring.samplers.base import NO_DENSITY, NegativeSampler
from sparring.samplers.structural import ListSampler

STEPS_AT_ONCE = 2**23  # steps held in memory while neighborhoods are built
MOST_HOPS = 1000


@register("k-hop", example={"k": 5, "hops": 1})
class KHop(ListSampler):
    """Entities within `hops` steps of the anchor, whatever relation or direction a step takes.

    An anchor without neighbors draws from all entities. Takes 4 bytes per entity of each
    neighborhood: on FB15k-237 two hops reach 41 % of all entities, 345 MB; on WN18RR .2 %, 13 MB.

    Args:
        uniform_mix: share of draws that come from all entities alike.
        max_ids: entities that all neighborhoods together may hold.

    Raises:
        ValueError: for less than one hop, or if the neighborhoods hold more than `max_ids`.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        hops: int = 2,
        uniform_mix: float = 0.0,
        max_ids: int = 2**28,
    ):
        lists = neighborhoods(neighbors(graph), hops, max_ids)
        super().__init__(graph, lists, k=k, uniform_mix=uniform_mix)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return queries.anchor


@register("random-walk", example={"k": 5})
class RandomWalk(NegativeSampler):
    """Ends of random walks of `hops` steps from the anchor; the density is unknown.

    An anchor without neighbors draws from all entities. Takes 4 bytes per neighbor.

    Raises:
        ValueError: for less than one hop.
    """

    capabilities = NO_DENSITY

    def __init__(self, graph: TrainGraph, *, k: int, hops: int = 2):
        super().__init__(k)
        self.hops, self.num_entities = validate_hops(hops), graph.num_entities
        self.neighbors = neighbors(graph)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape, device = (len(queries), self.k), queries.anchor.device
        entity = queries.anchor.unsqueeze(1).expand(shape)
        for _ in range(self.hops):
            entity = random_step(self.neighbors, entity, rng)
        uniform = torch.randint(self.num_entities, shape, generator=rng, device=device)
        isolated = self.neighbors.sizes(queries.anchor).unsqueeze(1) == 0
        return self.to_negatives(queries, torch.where(isolated, uniform, entity))


@register("sans", example={"k": 5, "walks": 20}, aliases=["walk-ends"])
class SANS(ListSampler):
    """Distinct ends of a fixed number of random walks from the anchor, with equal probability.

    The random-walk variant of Ahrabian et al., 2020. The walks are made once, before training.
    Takes up to 4 bytes per walk and entity.

    Args:
        walks: walks from each entity.
        uniform_mix: share of draws that come from all entities alike.
        seed: of the walks.
        compat: behave as the authors' program does: a walk starts where the last one ended, so
            that only the first starts at the anchor, and an entity without neighbors has
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
        uniform_mix: float = 0.0,
        seed: int = 0,
        compat: bool = False,
    ):
        if walks < 1:
            raise ValueError(f"there must be at least one walk per entity; got walks={walks}")
        rng = torch.Generator(graph.triples.device).manual_seed(seed)
        lists = _walk_ends(graph, validate_hops(hops), walks, rng, compat)
        super().__init__(graph, lists, k=k, uniform_mix=uniform_mix)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return queries.anchor


def neighbors(graph: TrainGraph) -> Ragged:
    """The entities that share a triple with each entity."""
    head, _, tail = graph.triples.unbind(1)
    return Ragged.from_pairs(torch.cat([head, tail]), torch.cat([tail, head]), graph.num_entities)


def neighborhoods(adjacency: Ragged, hops: int, max_ids: int) -> Ragged:
    """What is within `hops` steps of each row, itself included; nothing without neighbors.

    Args:
        adjacency: the neighbors of each row, as other rows.

    Raises:
        ValueError: for less than one hop, or if they are more than `max_ids`.
    """
    validate_hops(hops)
    num_rows, parts, total = len(adjacency), [], 0
    for chunk in _chunks(adjacency, hops):
        reached = _neighborhood(adjacency, chunk, hops)
        size = torch.bincount(reached // num_rows, minlength=len(chunk))
        parts.append(((reached % num_rows).int(), size))
        total += len(reached)
        if total > max_ids:
            raise ValueError(
                f"the first {int(chunk[-1]) + 1} of {num_rows} neighborhoods of {hops} hops hold "
                f"{total} entities, above max_ids={max_ids}; take fewer hops, or RandomWalk, which "
                "stores none"
            )
    entity, size = (torch.cat(column) for column in zip(*parts))
    return Ragged(entity, size)


def _chunks(adjacency: Ragged, hops: int) -> tuple[Int[Tensor, "_"], ...]:
    """All rows, in chunks whose neighborhoods take about `STEPS_AT_ONCE` steps."""
    rows = torch.arange(len(adjacency), device=adjacency.offsets.device)
    row, neighbor = adjacency.gather_rows(rows)
    steps = adjacency.sizes(rows)
    for _ in range(hops - 1):
        # a hop takes each edge at most once
        more = torch.zeros_like(steps).index_add(0, row, steps[neighbor]).clamp(max=len(row))
        if torch.equal(more, steps):
            break
        steps = more
    return rows.split(torch.bincount(steps.cumsum(0) // STEPS_AT_ONCE).tolist())


def _neighborhood(adjacency: Ragged, center: Int[Tensor, "C"], hops: int) -> Int[Tensor, "P"]:
    """What is within `hops` steps, as ascending (index in `center`) * rows + row."""
    num_rows = len(adjacency)
    key = torch.arange(len(center), device=center.device) * num_rows + center
    frontier = reached = key[adjacency.sizes(center) > 0]
    for _ in range(hops):
        index, neighbor = adjacency.gather_rows(frontier % num_rows)
        frontier = (frontier[index] - frontier[index] % num_rows + neighbor).unique()
        before = len(reached)
        reached = torch.cat([reached, frontier]).unique()
        if len(reached) == before:  # all of the component: further hops find nothing new
            break
    return reached


def random_step(
    adjacency: Ragged, entity: Int[Tensor, "B K"], rng: torch.Generator
) -> Int[Tensor, "B K"]:
    """A random neighbor of each entity; an arbitrary entity where there is none."""
    u = torch.rand(entity.shape, generator=rng, device=entity.device, dtype=torch.double)
    return adjacency.sample_at(entity.flatten(), u.view(-1, 1)).view(entity.shape)


def _walk_ends(
    graph: TrainGraph, hops: int, walks: int, rng: torch.Generator, compat: bool
) -> Ragged:
    """The distinct ends of walks from each entity; none without neighbors, except for `compat`."""
    adjacency, num_entities = neighbors(graph), graph.num_entities
    entities = torch.arange(num_entities, device=graph.triples.device)
    parts = []
    for chunk in entities.split(max(1, STEPS_AT_ONCE // walks)):
        start = chunk.unsqueeze(1)
        ends = torch.empty(len(chunk), walks, dtype=torch.long, device=chunk.device)
        for walk in range(walks):
            entity = start
            for _ in range(hops):
                entity = random_step(adjacency, entity, rng)
            ends[:, walk] = entity.squeeze(1)
            start = entity if compat else start
        isolated = (adjacency.sizes(chunk) == 0).unsqueeze(1)
        uniform = torch.randint(num_entities, ends.shape, generator=rng, device=chunk.device)
        ends = torch.where(isolated, uniform, ends).sort(1).values
        first = torch.ones_like(ends, dtype=torch.bool)
        first[:, 1:] = ends[:, 1:] != ends[:, :-1]
        first &= ~isolated | compat
        parts.append((ends[first].int(), first.sum(1)))
    entity, size = (torch.cat(column) for column in zip(*parts))
    return Ragged(entity, size)


def validate_hops(hops: int) -> int:
    """The number of hops.

    Raises:
        ValueError: if it is below 1, or above `MOST_HOPS`.
    """
    if hops < 1:
        raise ValueError(f"a neighborhood reaches at least one hop; got hops={hops}")
    if hops > MOST_HOPS:
        raise ValueError(f"more than {MOST_HOPS} hops take for ever; got hops={hops}")
    return hops
