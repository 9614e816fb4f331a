"""Wrong answers chosen from a pool by what the main model thinks of them now."""

import math
from abc import ABC
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper


class Choice(SamplerWrapper, ABC):
    """A choice by score among the candidates of another sampler, which has no stated density.

    Args:
        inner: draws the pool, `inner.k` candidates per query. Wrap it in `HideKnown`.
        k: how many to choose.
        asked: scores asked for beyond those of the pool.
    """

    def __init__(self, inner: NegativeSampler, k: int, asked: int = 0):
        super().__init__(inner, k)
        self.needs_scores = True
        self.states_density = self.closed_density = False
        self.extra_scores = inner.extra_scores + inner.k + asked

    def log_prob(self, queries, ids):
        return None

    def answer_log_prob(self, queries):
        return None


class HardestOf(Choice):
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
        return pool.choose(scores.topk(last).indices[:, -self.k :])


class UntilWrong(Choice):
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
        chosen = pool.choose(start + before)
        weight = chosen.weight
        if self.by_rank:
            weight = weight * self.harmonic[(len(self.harmonic) - 1) // (before + 1)]
        return replace(chosen, mask=chosen.mask & wrong.any(2), weight=weight)
