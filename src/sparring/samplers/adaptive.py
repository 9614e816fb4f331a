"""Samplers that use the scores of the main model.

`DynamicNegatives` and `WARP` choose from a pool, `NSCaching` remembers hard negatives from step to
step, and `MCNS` runs Markov chains.
"""

import math
from abc import ABC
from dataclasses import replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sparring.batch import PER_CANDIDATE, Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup
from sparring.registry import register
from sparring.samplers.base import (
    NO_DENSITY,
    NegativeSampler,
    SamplerWrapper,
    gumbel_like,
    is_repeated,
)

MOST_STEPS = 1000  # of a chain


class ScoreSelected(SamplerWrapper, ABC):
    """A choice by score among the candidates of another sampler; its density is unknown.

    Args:
        inner: draws the pool, `inner.k` candidates per query. Wrap it in `MaskKnown`.
        k: how many to choose.
        extra_scores: scores asked for in addition to those of the pool.
    """

    def __init__(self, inner: NegativeSampler, k: int, extra_scores: int = 0):
        super().__init__(inner, k)
        extra = inner.capabilities.num_extra_scores + inner.k + extra_scores
        self.capabilities = replace(NO_DENSITY, needs_scores=True, num_extra_scores=extra)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> None:
        return None

    def answer_log_prob(self, queries: Queries) -> None:
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
        inner: draws the pool.
        k: how many to choose.
        rank: the first rank of the pool to choose; 1 is the hardest. The hardest candidates are
            the most likely false negatives, and a higher rank leaves them out.

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
                f"ranks {rank} to {rank + k - 1} are beyond a pool of {inner.k} candidates; "
                "give `inner` a larger k"
            )

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        pool = self.inner.sample(queries, score, rng)
        scores = pool.per_candidate(score).masked_fill(~pool.mask, -torch.inf)
        last = min(self.rank + self.k - 1, self.inner.k)
        return pool.gather(scores.topk(last).indices[:, -self.k :])


@register("warp", example={"inner": {"name": "uniform", "k": 8}, "k": 2}, aliases=["until-wrong"])
class WARP(ScoreSelected):
    """Draws until a candidate violates the margin (WSABIE: Weston et al., 2011).

    The pool is divided among the k negatives. Each of them is the first candidate of its part
    that scores above the answer's score minus `margin`; it does not count if there is none.

    Args:
        inner: draws the pool: `inner.k` / k tries per negative.
        k: negatives per query.
        margin: how far the answer should score above a candidate.
        by_rank: weigh a negative found at try n by 1 + 1/2 + ... + 1/r, where r = (N - 1) / n,
            rounded down, estimates the answer's rank.

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
        super().__init__(inner, k, extra_scores=1)
        if inner.k % k:
            raise ValueError(
                f"a pool of {inner.k} candidates cannot be shared evenly by k={k} searches"
            )
        if margin < 0:
            raise ValueError(f"a margin is a distance, not below 0; got {margin}")
        self.margin, self.by_rank = margin, by_rank
        terms = torch.arange(graph.num_entities, device=graph.triples.device).float().reciprocal()
        terms[0] = 0.0
        self.register_buffer("harmonic", terms.cumsum(0), persistent=False)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        pool = self.inner.sample(queries, score, rng)
        threshold = score(queries.answer.unsqueeze(1)) - self.margin
        violates = (pool.mask & (pool.per_candidate(score) > threshold)).unflatten(1, (self.k, -1))
        failed_tries = violates.byte().argmax(2)  # the first maximum
        start = torch.arange(self.k, device=failed_tries.device) * violates.shape[2]
        chosen = pool.gather(start + failed_tries)
        weight = chosen.weight
        if self.by_rank:
            weight = weight * self.harmonic[(len(self.harmonic) - 1) // (failed_tries + 1)]
        return replace(chosen, mask=chosen.mask & violates.any(2), weight=weight)


DRAWS = ("importance", "top", "uniform")
KEEPS = ("importance", "top")


@register("nscaching", example={"k": 3, "size": 4, "fresh": 3}, aliases=["cached"])
class NSCaching(NegativeSampler):
    """Candidates from a cache of hard negatives for each query (Zhang et al., 2019).

    A step draws from the cache as it is and then updates it: of the cached entities and some
    fresh ones, it keeps `size`, by their scores. Caches start at random and take 4 * size bytes
    each. They may fill with false negatives, which score high and stay. The density is unknown.

    Args:
        size: entities per cache.
        fresh: entities drawn uniformly to update it with.
        draw: which cached entities become negatives: "uniform" any, "importance" in proportion
            to exp(score / temperature), "top" the k highest.
        keep: which entities are kept: "importance" at random without repetition, in proportion
            to exp(score / temperature); "top" the highest.
        rows: number of caches, which queries share by a hash; None for one per distinct query
            of the training graph, and one for all other queries together.
        drop_known: keep no facts of the training graph.
        compat: behave as the authors' program does: an entity that is cached and drawn afresh
            has twice the chance to stay, and can stay twice.

    Raises:
        ValueError: for an unknown `draw` or `keep`, an empty cache, a temperature that is not above
            0, or more top entities than the cache holds.
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

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        row = self.row(queries)
        cached, size = self.cache[row].long(), self.cache.shape[1]
        shape, device = (len(queries), self.fresh), row.device
        fresh = torch.randint(self.num_entities, shape, generator=rng, device=device)
        candidate = torch.cat([cached, fresh], 1)
        logit = score(candidate) / self.temperature
        drawn = self.to_negatives(queries, cached.gather(1, self._draw(logit[:, :size], rng)))
        kept = self._keep(queries, candidate, logit, rng)
        write_first(self.cache, row, candidate.gather(1, kept).int())
        return drawn

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """Which cache each query uses."""
        if self.rows is None:
            return self.known.rows(queries)
        return (
            (self.known.key(queries) * 0x9E3779B97F4A7C1) >> 20
        ) % self.rows  # Fibonacci hashing

    def _draw(self, logit: Float[Tensor, "B S"], rng: torch.Generator) -> Int[Tensor, "B K"]:
        """Which cached entities become negatives."""
        if self.draw == "top":
            return logit.topk(self.k).indices
        logit = torch.zeros_like(logit) if self.draw == "uniform" else logit
        return torch.multinomial(logit.softmax(1), self.k, replacement=True, generator=rng)

    def _keep(
        self,
        queries: Queries,
        candidate: Int[Tensor, "B C"],
        logit: Float[Tensor, "B C"],
        rng: torch.Generator,
    ) -> Int[Tensor, "B S"]:
        """Which candidates make up the next cache."""
        if self.keep == "importance":
            logit = logit + gumbel_like(logit, rng)
        if self.drop_known:
            logit = logit.masked_fill(self.known.contains(queries, candidate), -torch.inf)
        if not self.compat:
            logit = logit.masked_fill(is_repeated(candidate), -torch.inf)
        return logit.topk(self.cache.shape[1]).indices


def write_first(
    table: Int[Tensor, "rows S"], row: Int[Tensor, "B"], value: Int[Tensor, "B S"]
) -> None:
    """Write values to rows of the table; if a row repeats, its first value.

    Every repetition writes that first value too, so that the order of writing cannot matter.
    """
    ascending, order = row.sort(stable=True)
    index = torch.arange(len(row), device=row.device)
    begins = torch.ones_like(row, dtype=torch.bool)
    begins[1:] = ascending[1:] != ascending[:-1]
    first = torch.where(begins, index, 0).cummax(0).values
    table[ascending] = value[order[first]]


@register(
    "mcns",
    example={"inner": {"name": "k-hop", "k": 5, "uniform_mix": 0.5}, "steps": 3},
    aliases=["metropolis-hastings"],
)
class MCNS(SamplerWrapper):
    """The ends of short Markov chains toward exp(alpha * score) (MCNS: Yang et al., 2020).

    Each negative is the end of a chain of its own. The chain starts at a draw of another sampler,
    and every further draw replaces it with the Metropolis-Hastings probability, so that enough
    steps forget the start. A chain never moves to a candidate that does not count. The density of
    a chain that is cut short is unknown.

    Yang et al. run one chain from query to query. Chains that end with the batch need no order of
    queries and can run in parallel.

    Args:
        inner: proposes candidates; half of them uniform and half close to the anchor in the
            paper, which is `KHop` with a `uniform_mix` of 0.5.
        steps: proposals per chain.
        alpha: 0 for uniform over all that `inner` reaches, 1 for the model's own softmax.
        compat: as in the authors' program, one random number per step decides for all chains
            of the batch, which then move together.

    Raises:
        ValueError: for no or too many steps, for a negative alpha, or if `inner` has no `log_prob`.
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
                f"a chain divides by the density of its proposals, and {type(inner).__name__} "
                "has no `log_prob`; propose by another sampler"
            )
        if not 1 <= steps <= MOST_STEPS:
            raise ValueError(f"a chain takes 1 to {MOST_STEPS} steps; got steps={steps}")
        if alpha < 0:
            raise ValueError(f"below 0, alpha would prefer low scores; got alpha={alpha}")
        self.steps, self.alpha, self.compat = steps, alpha, compat
        extra = (steps + 1) * (inner.capabilities.num_extra_scores + inner.k)
        self.capabilities = replace(NO_DENSITY, needs_scores=True, num_extra_scores=extra)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        state = self._propose(queries, score, rng)
        for _ in range(self.steps):
            proposal = self._propose(queries, score, rng)
            shape = () if self.compat else state["log_ratio"].shape
            u = torch.rand(shape, generator=rng, device=state["log_ratio"].device)
            accepted = u.log() < proposal["log_ratio"] - state["log_ratio"]
            # a candidate that counts always replaces one that does not
            accepted = proposal["mask"] & (accepted | ~state["mask"])
            state = {name: torch.where(accepted, proposal[name], state[name]) for name in state}
        fields = {name: state[name] for name in PER_CANDIDATE}
        return Negatives((state["ids"],), **fields, negative_query_weight=queries.negative_weight)

    def _propose(
        self, queries: Queries, score: Scorer, rng: torch.Generator
    ) -> dict[str, Shaped[Tensor, "B K"]]:
        """Draws of the inner sampler, and the log-ratio of target to proposal density."""
        drawn = self.inner.sample(queries, score, rng)
        fields = {name: getattr(drawn, name) for name in PER_CANDIDATE}
        fields["ids"] = ungroup(drawn.ids, len(queries))
        log_q: Tensor = drawn.log_q  # pyright: ignore - the constructor asks for a density
        fields["log_ratio"] = self.alpha * drawn.per_candidate(score) - log_q
        return fields

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> None:
        return None

    def answer_log_prob(self, queries: Queries) -> None:
        return None
