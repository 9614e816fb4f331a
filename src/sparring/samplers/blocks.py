"""Negatives in blocks: few hard ones per query, and many that the whole batch shares."""

import math
from dataclasses import replace
from functools import partial, reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.registry import register
from sparring.samplers.base import NegativeSampler
from sparring.samplers.wrappers import Mixture


@register(
    "blocks",
    example={"parts": [{"name": "popularity", "k": 2}, {"name": "uniform", "k": 3, "groups": 1}]},
)
class Blocks(Mixture):
    """Negatives of several samplers in one step, each scored in lists of its own kind.

    For example a few hard negatives per query and many uniform ones for the batch: own lists are
    scored row by row, a shared list by one matrix product, and no shared list is copied per query.
    One loss compares the answer with all of them. Known facts never count.

    Every candidate has the density of all draws together, whichever part drew it (the balance
    heuristic: Veach & Guibas, 1995). With K_j draws of density p_j from part j, and K draws in all,

        q(e) = (K_1 p_1(e) + ... + K_J p_J(e)) / K,

    so K q(e) is how often e is expected among all candidates, and a corrected loss is as unbiased
    as with one list. An entity that two parts draw counts twice, as the density says. If a part has
    no `log_prob`, candidates keep the density of their own part.

    Args:
        parts: the samplers; each gets the feedback on its own candidates.
    """

    def __init__(self, graph: TrainGraph, *, parts: list[NegativeSampler]):
        super().__init__(graph, parts=parts)
        self.known = graph.known
        num_shared = sum(part.capabilities.num_shared for part in parts)
        self.capabilities = replace(self.capabilities, num_shared=num_shared)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        drawn = super().sample(queries, score, rng)
        known = drawn.per_candidate(partial(self.known.contains, queries))
        log_q = None if drawn.log_q is None else drawn.log_q.masked_fill(known, -torch.inf)
        return replace(drawn, mask=drawn.mask & ~known, log_q=log_q)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        log_prob = self._log_density(queries, ids)
        if log_prob is None:
            return None
        return log_prob.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        return self._mean([part.answer_log_prob(queries) for part in self._parts])

    def _join(self, drawn: list, batch: int) -> Negatives:
        return Negatives.join(drawn)  # in blocks, where a mixture has one list per query

    def _mean(self, log_probs: list) -> Tensor | None:
        """As for a mixture, but with less work on long lists."""
        if any(log_prob is None for log_prob in log_probs):
            return None
        shape = log_probs[0].shape
        terms = [
            (log_prob[:1] if log_prob.stride(0) == 0 else log_prob) + math.log(part.k / self.k)
            for log_prob, part in zip(log_probs, self._parts)
        ]
        return reduce(torch.logaddexp, terms).expand(shape)
