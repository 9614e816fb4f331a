"""Samplers made of other samplers."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.batch import Queries, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper


class HideKnown(SamplerWrapper):
    """Do not count candidates that are facts of the training graph."""

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler):
        super().__init__(inner)
        self.known = graph.known

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        return replace(drawn, mask=drawn.mask & ~self.known.contains(queries, drawn.ids))


class RedrawKnown(SamplerWrapper):
    """Replace candidates that are facts of the training graph by fresh draws, K staying full.

    What is still a fact after the last round does not count, so that a query whose answers
    crowd the sampler's range cannot hang. Shared lists become own lists.

    Args:
        rounds: how often to redraw.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, rounds: int = 3):
        super().__init__(inner)
        self.known, self.rounds = graph.known, rounds

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        ids, trace = per_query(drawn.ids, len(queries)), drawn.trace
        bad = ~drawn.mask | self.known.contains(queries, ids)
        for _ in range(self.rounds):
            fresh = self.inner.sample(queries, score, rng)
            again = per_query(fresh.ids, len(queries))
            ids, trace = torch.where(bad, again, ids), torch.where(bad, fresh.trace, trace)
            bad = bad & (~fresh.mask | self.known.contains(queries, again))
        offered = self.offer(queries, ids)
        return replace(offered, mask=offered.mask & ~bad, trace=trace)

    def log_prob(self, queries, ids):
        inner = self.inner.log_prob(queries, ids)
        if inner is None:
            return None
        taken = self._mass_of_known(queries)
        kept = torch.log1p(-(taken ** (self.rounds + 1))) - torch.log1p(-taken)
        known = self.known.contains(queries, ids)
        return (inner + kept.unsqueeze(1)).masked_fill(known, -torch.inf)

    def _mass_of_known(self, queries: Queries) -> Float[Tensor, "B"]:
        """Probability that one draw of the inner sampler is a known answer."""
        row, entity = self.known.answers(queries)
        mass = self.inner.log_prob(queries[row], entity.unsqueeze(1))
        share = mass.squeeze(1).exp()
        total = share.new_zeros(len(queries)).index_add(0, row, share)
        return total.clamp(max=1 - torch.finfo(share.dtype).eps)
