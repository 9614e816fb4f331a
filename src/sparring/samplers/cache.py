"""Hard wrong answers remembered from step to step (NSCaching: Zhang et al., 2019)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.samplers.draws import gumbel, repeated
from sparring.samplers.seen import SeenQueries

DRAWS = ("importance", "top", "uniform")
KEEPS = ("importance", "top")


class Cached(NegativeSampler):
    """Candidates from a cache of each query, which the model's scores keep hard.

    A step draws from the cache as it is, and then renews it: of the cached entities and some
    fresh ones, it keeps `size`. Caches start at random, take 4 * size bytes each, and may fill
    with false negatives: these score high and stay. No density is stated.

    Args:
        size: entities per cache.
        fresh: entities drawn from all alike to renew it with.
        draw: which cached entities are offered: "uniform" all alike, "importance" in proportion
            to exp(score / temperature), "top" the k highest.
        keep: which entities are kept: "importance" at random without repetition, in proportion
            to exp(score / temperature); "top" the highest.
        rows: number of caches, which queries share by a hash; None for one per distinct query
            of the training graph, and one for all other queries together.
        drop_known: keep no facts of the training graph.
        compat: behave as the authors' program does: an entity that is cached and drawn afresh
            has twice the chance to stay, and can stay twice.

    Raises:
        ValueError: for an unknown draw or keep, an empty cache, or a top beyond the cache.
    """

    needs_scores = True
    states_density = closed_density = False
    schedulable = (("temperature", 1e-6, math.inf),)

    cache: Int[Tensor, "rows size"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int = 1,
        size: int = 50,
        fresh: int = 50,
        draw: str = "uniform",
        keep: str = "importance",
        temperature: float = 1.0,
        rows: int | None = None,
        drop_known: bool = False,
        compat: bool = False,
    ):
        super().__init__(k)
        if draw not in DRAWS:
            raise ValueError(f"draw is one of {', '.join(DRAWS)}; got {draw!r}")
        if keep not in KEEPS:
            raise ValueError(f"keep is one of {', '.join(KEEPS)}; got {keep!r}")
        for name, value in (("size", size), ("fresh", fresh), ("rows", rows)):
            if value is not None and value < 1:
                raise ValueError(f"a cache needs {name} of at least 1; got {value}")
        if draw == "top" and k > size:
            raise ValueError(f"a cache of size={size} has no top k={k}")
        if temperature <= 0:
            raise ValueError(f"the temperature of a cache is above 0; got {temperature}")
        self.extra_scores = size + fresh
        self.fresh, self.draw, self.keep, self.temperature = fresh, draw, keep, temperature
        self.drop_known, self.compat, self.rows = drop_known, compat, rows
        self.num_entities, self.known = graph.num_entities, graph.known
        self.seen = SeenQueries(graph)
        shape = (len(self.seen) + 1 if rows is None else rows, size)
        start = torch.randint(graph.num_entities, shape, dtype=torch.int32)
        self.register_buffer("cache", start.to(graph.triples.device))

    def sample(self, queries, score, rng):
        row = self.row(queries)
        cached, size = self.cache[row].long(), self.cache.shape[1]
        shape, device = (len(queries), self.fresh), row.device
        fresh = torch.randint(self.num_entities, shape, generator=rng, device=device)
        candidate = torch.cat([cached, fresh], 1)
        logit = score(candidate) / self.temperature
        drawn = self.offer(queries, cached.gather(1, self._drawn(logit[:, :size], rng)))
        kept = self._kept(queries, candidate, logit, rng)
        write_once(self.cache, row, candidate.gather(1, kept).int())
        return drawn

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """Which cache each query uses."""
        if self.rows is None:
            return self.seen.row(queries)
        key = queries.anchor * self.seen.slots + queries.relation
        return ((key * 0x9E3779B97F4A7C1) >> 20) % self.rows  # Fibonacci hashing

    def _drawn(self, logit: Float[Tensor, "B S"], rng: torch.Generator) -> Int[Tensor, "B K"]:
        """Which cached entities are offered."""
        if self.draw == "top":
            return logit.topk(self.k).indices
        share = torch.zeros_like(logit) if self.draw == "uniform" else logit
        return torch.multinomial(share.softmax(1), self.k, replacement=True, generator=rng)

    def _kept(
        self,
        queries: Queries,
        candidate: Int[Tensor, "B C"],
        logit: Float[Tensor, "B C"],
        rng: torch.Generator,
    ) -> Int[Tensor, "B S"]:
        """Which candidates make up the next cache."""
        if self.keep == "importance":
            logit = logit + gumbel(logit, rng)
        if self.drop_known:
            logit = logit.masked_fill(self.known.contains(queries, candidate), -torch.inf)
        if not self.compat:
            logit = logit.masked_fill(repeated(candidate), -torch.inf)
        return logit.topk(self.cache.shape[1]).indices


def write_once(table: Int[Tensor, "rows S"], row: Int[Tensor, "B"], value: Int[Tensor, "B S"]):
    """Write values to rows of the table; where rows repeat, the first value holds.

    All writers of a row write that one value, so that their order cannot matter.
    """
    ascending, order = row.sort(stable=True)
    place = torch.arange(len(row), device=row.device)
    begins = torch.ones_like(row, dtype=torch.bool)
    begins[1:] = ascending[1:] != ascending[:-1]
    first = torch.where(begins, place, 0).cummax(0).values
    table[ascending] = value[order[first]]
