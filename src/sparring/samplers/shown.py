"""Known answers beside the negatives, for losses that compare with them."""

import math
from dataclasses import replace

import torch

from sparring.batch import Negatives
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper


class ShowKnown(SamplerWrapper):
    """Show `answers` known answers of each query beside its negatives, uniformly drawn.

    They do not count as negatives: mask is False and `false_negative` 1. Their weights add up
    to the number of known answers. Shared lists become own lists.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, answers: int = 1):
        if answers < 1:
            raise ValueError(f"at least one known answer must be shown; got answers={answers}")
        super().__init__(inner, k=inner.k + answers)
        self.known, self.answers = graph.known, answers

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        count = self.known.count(queries).unsqueeze(1)
        lot = torch.rand(
            len(queries), self.answers, generator=rng, device=count.device, dtype=torch.double
        )
        rank = torch.minimum((lot * count).long(), (count - 1).clamp(min=0))
        shown = Negatives.offer(queries, self.known.answer(queries, rank))
        shown = replace(
            shown,
            mask=torch.zeros_like(shown.mask),
            weight=shown.weight * count / self.answers,
            false_negative=(count > 0).to(shown.weight.dtype).expand_as(shown.weight),
        )
        joint = Negatives.join([drawn, shown], len(queries))
        if drawn.log_q is None:
            return joint
        of_shown = self.inner.log_prob(queries, shown.ids)
        if of_shown is None:  # where nothing counts, any density will do
            of_shown = torch.zeros_like(shown.weight)
        log_q = torch.cat([drawn.log_q, of_shown.detach()], 1) + self._thinned()
        answer = drawn.answer_log_q
        return replace(
            joint, log_q=log_q, answer_log_q=None if answer is None else answer + self._thinned()
        )

    def log_prob(self, queries, ids):
        inner = self.inner.log_prob(queries, ids)
        return None if inner is None else inner + self._thinned()

    def answer_log_prob(self, queries):
        inner = self.inner.answer_log_prob(queries)
        return None if inner is None else inner + self._thinned()

    def observe(self, feedback):
        return self.inner.observe(feedback.columns(0, self.inner.k))

    def _thinned(self) -> float:
        """Log of the share of the list that is drawn."""
        return math.log(self.inner.k / self.k)
