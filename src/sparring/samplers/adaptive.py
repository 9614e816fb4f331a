"""Wrong answers chosen from a pool by what the main model thinks of them now.

Hard wrong answers remembered from step to step (NSCaching: Zhang et al., 2019).

Wrong answers from Markov chains that the model's scores steer (MCNS: Yang et al., 2020)."""

import math
from abc import ABC
from dataclasses import replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sparring.batch import PER_CANDIDATE, Negatives, Queries, Scorer, ungroup
from sparring.data.graph import TrainGraph
from sparring.registry import register
from sparring.samplers.base import NO_DENSITY, NegativeSampler, SamplerWrapper, gumbel, repeated


class ScoreSelected(SamplerWrapper, ABC):
    """A choice by score among the candidates of another sampler, which has no stated density.

    Args:
        inner: draws the pool, `inner.k` candidates per query. Wrap it in `MaskKnown`.
        k: how many to choose.
        asked: scores asked for beyond those of the pool.
    """

    def __init__(self, inner: NegativeSampler, k: int, asked: int = 0):
        super().__init__(inner, k)
        extra = inner.capabilities.num_extra_scores + inner.k + asked
        self.capabilities = replace(NO_DENSITY, needs_scores=True, num_extra_scores=extra)

    def log_prob(self, queries, ids):
        return None

    def answer_log_prob(self, queries):
        return None


@register(
    "dynamic-negatives",
    example={"inner": {"name": "uniform", "k": 8}, "k": 3},
    aliases=["hardest-of"],
)
class DynamicNegatives(ScoreSelected):
    """The highest-scored candidates of a pool: dynamic negative sampling (Zhang et al., 2013).

    Candidates that do not count are never preferred to those that do.

    Args:
        rank: which place of the pool to begin with; 1 is the hardest. The hardest are the
            likeliest false negatives, and a lower place leaves them out.

    Raises:
        ValueError: if the pool has fewer than rank + k - 1 candidates, or the rank is below 1.
    """

    schedulable = (("rank", 1, math.inf),)

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, k: int = 1, rank: int = 1):
        super().__init__(inner, k)
        self.rank = rank
        if rank < 1:
            raise ValueError(f"rank 1 is the hardest candidate; got rank={rank}")
        if rank + k - 1 > inner.k:
            raise ValueError(
                f"places {rank} to {rank + k - 1} lie beyond a pool of {inner.k} candidates; "
                "give `inner` a larger k"
            )

    def sample(self, queries, score, rng):
        pool = self.inner.sample(queries, score, rng)
        scores = score(pool.ids).masked_fill(~pool.mask, -torch.inf)
        last = min(self.rank + self.k - 1, self.inner.k)
        return pool.gather(scores.topk(last).indices[:, -self.k :])


@register("warp", example={"inner": {"name": "uniform", "k": 8}, "k": 2}, aliases=["until-wrong"])
class WARP(ScoreSelected):
    """Draws until a candidate scores too close to the answer, and offers that one.

    Each of the k candidates is the first in its share of the pool to score above the answer's
    score minus `margin`; it does not count if there is none.

    Args:
        inner: draws the pool: `inner.k` / k tries per candidate.
        margin: how far above a candidate the answer should score.
        by_rank: weigh a candidate found at try n by 1 + 1/2 + ... + 1/r, where r = (N - 1) / n,
            rounded down, estimates the answer's rank (WSABIE: Weston et al., 2011).

    Raises:
        ValueError: if k does not divide the pool, or the margin is negative.
    """

    schedulable = (("margin", 0.0, math.inf),)

    harmonic: Float[Tensor, "N"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        k: int = 1,
        margin: float = 0.0,
        by_rank: bool = False,
    ):
        super().__init__(inner, k, asked=1)
        if inner.k % k:
            raise ValueError(
                f"a pool of {inner.k} candidates cannot be shared evenly by k={k} searches"
            )
        if margin < 0:
            raise ValueError(f"a margin is a distance, not below 0; got {margin}")
        self.margin, self.by_rank = margin, by_rank
        share = torch.arange(graph.num_entities, device=graph.triples.device).float().reciprocal()
        share[0] = 0.0
        self.register_buffer("harmonic", share.cumsum(0), persistent=False)

    def sample(self, queries, score, rng):
        pool = self.inner.sample(queries, score, rng)
        bar = score(queries.answer.unsqueeze(1)) - self.margin
        wrong = (pool.mask & (score(pool.ids) > bar)).unflatten(1, (self.k, -1))
        before = wrong.byte().argmax(2)  # of equal values, the first
        start = torch.arange(self.k, device=before.device) * wrong.shape[2]
        chosen = pool.gather(start + before)
        weight = chosen.weight
        if self.by_rank:
            weight = weight * self.harmonic[(len(self.harmonic) - 1) // (before + 1)]
        return replace(chosen, mask=chosen.mask & wrong.any(2), weight=weight)


DRAWS = ("importance", "top", "uniform")
KEEPS = ("importance", "top")


@register("nscaching", example={"k": 3, "size": 4, "fresh": 3}, aliases=["cached"])
class NSCaching(NegativeSampler):
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
        self.capabilities = replace(NO_DENSITY, needs_scores=True, num_extra_scores=size + fresh)
        self.fresh, self.draw, self.keep, self.temperature = fresh, draw, keep, temperature
        self.drop_known, self.compat, self.rows = drop_known, compat, rows
        self.num_entities, self.known = graph.num_entities, graph.known
        shape = (self.known.num_queries + 1 if rows is None else rows, size)
        start = torch.randint(graph.num_entities, shape, dtype=torch.int32)
        self.register_buffer("cache", start.to(graph.triples.device))

    def sample(self, queries, score, rng):
        row = self.row(queries)
        cached, size = self.cache[row].long(), self.cache.shape[1]
        shape, device = (len(queries), self.fresh), row.device
        fresh = torch.randint(self.num_entities, shape, generator=rng, device=device)
        candidate = torch.cat([cached, fresh], 1)
        logit = score(candidate) / self.temperature
        drawn = self.to_negatives(queries, cached.gather(1, self._drawn(logit[:, :size], rng)))
        kept = self._kept(queries, candidate, logit, rng)
        write_once(self.cache, row, candidate.gather(1, kept).int())
        return drawn

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """Which cache each query uses."""
        if self.rows is None:
            return self.known.rows(queries)
        key = self.known.key(queries)
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


@register(
    "mcns",
    example={"inner": {"name": "k-hop", "k": 5, "floor": 0.5}, "steps": 3},
    aliases=["metropolis-hastings"],
)
class MCNS(SamplerWrapper):
    """Candidates in proportion to exp(alpha * score), as far as a few steps of a chain lead.

    Each candidate is the end of a chain of its own. It starts at a draw of another sampler, and
    every further draw replaces it with the Metropolis-Hastings probability, which is exact, so
    that enough steps forget the start. What does not count is never moved to. The law of a chain
    cut short is unknown, hence no density.

    Yang et al. let one chain run on from query to query; chains that end with the batch need
    no order of queries and can run side by side.

    Args:
        inner: proposes; half uniform and half close to the anchor in the paper, which is
            `KHop` with a floor of 0.5.
        steps: proposals per chain.
        alpha: 0 for uniform over all that `inner` reaches, 1 for the model's own softmax.
        compat: as in the authors' program, one random number per step decides for all chains
            of the batch, which then move together.

    Raises:
        ValueError: without steps, for a negative alpha, or if `inner` states no closed density.
    """

    schedulable = (("alpha", 0.0, math.inf),)

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        steps: int = 10,
        alpha: float = 0.75,
        compat: bool = False,
    ):
        super().__init__(inner)
        if not inner.capabilities.has_log_prob:
            raise ValueError(
                f"a chain weighs what is proposed against its density, and "
                f"{type(inner).__name__} states no closed one; propose by another sampler"
            )
        if steps < 1:
            raise ValueError(f"a chain takes at least one step; got steps={steps}")
        if alpha < 0:
            raise ValueError(f"below 0, alpha would prefer low scores; got alpha={alpha}")
        self.steps, self.alpha, self.compat = steps, alpha, compat
        extra = (steps + 1) * (inner.capabilities.num_extra_scores + inner.k)
        self.capabilities = replace(NO_DENSITY, needs_scores=True, num_extra_scores=extra)

    def sample(self, queries, score, rng):
        here = self._proposal(queries, score, rng)
        for _ in range(self.steps):
            there = self._proposal(queries, score, rng)
            shape = () if self.compat else here["lead"].shape
            lot = torch.rand(shape, generator=rng, device=here["lead"].device)
            moves = lot.log() < there["lead"] - here["lead"]
            # whatever counts is better than what does not
            moves = there["mask"] & (moves | ~here["mask"])
            here = {name: torch.where(moves, there[name], here[name]) for name in here}
        fields = {name: here[name] for name in PER_CANDIDATE}
        return Negatives(here["ids"], **fields, negative_query_weight=queries.negative_weight)

    def _proposal(
        self, queries: Queries, score: Scorer, rng: torch.Generator
    ) -> dict[str, Shaped[Tensor, "B K"]]:
        """Draws of the inner sampler, and the lead of target over density, in logarithms."""
        drawn = self.inner.sample(queries, score, rng)
        fields = {name: getattr(drawn, name) for name in PER_CANDIDATE}
        fields["ids"] = ungroup(drawn.ids, len(queries))
        log_q: Tensor = drawn.log_q  # pyright: ignore - the constructor asks for a density
        fields["lead"] = self.alpha * score(drawn.ids) - log_q
        return fields

    def log_prob(self, queries, ids):
        return None

    def answer_log_prob(self, queries):
        return None
