"""Several samplers at once."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from sparring.batch import Negatives
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler


class Mix(NegativeSampler):
    """The lists of several samplers, side by side.

    Every candidate is given the density of the whole list, whichever part drew it (the balance
    heuristic: Veach & Guibas, 1995). Where a part states none in closed form, each part's
    columns keep their own, which is right if all parts reach the same candidates. Wrap the
    mixture in `HideKnown`, not its parts, so that they do.

    Args:
        parts: the samplers; each is told what became of its own columns.

    Raises:
        ValueError: if there are no parts.
    """

    def __init__(self, graph: TrainGraph, *, parts: list[NegativeSampler]):
        if not parts:
            raise ValueError("a mixture needs at least one part; got none")
        super().__init__(sum(part.k for part in parts))
        self.parts = nn.ModuleList(parts)
        self.needs_scores = any(part.needs_scores for part in parts)
        self.extra_scores = sum(part.extra_scores for part in parts)
        self.states_density = all(part.states_density for part in parts)
        self.closed_density = all(part.closed_density for part in parts)
        self.states_answer_density = self.closed_density

    @property
    def _members(self) -> list:
        return list(self.parts)

    def sample(self, queries, score, rng):
        drawn = [part.sample(queries, score, rng) for part in self._members]
        joined = Negatives.join(drawn, len(queries))
        if not self.states_density:
            return joined
        log_q = self.log_prob(queries, joined.ids)
        if log_q is None:
            stated = [part.log_q for part in drawn if part.log_q is not None]
            log_q = torch.cat(stated, 1)
        answer = self.answer_log_prob(queries)
        return replace(
            joined,
            log_q=log_q.detach(),
            answer_log_q=None if answer is None else answer.detach(),
        )

    def log_prob(self, queries, ids):
        return self._mixed([part.log_prob(queries, ids) for part in self._members])

    def answer_log_prob(self, queries):
        stated = self.log_prob(queries, queries.answer.unsqueeze(1))
        opened = self._mixed([part.answer_log_prob(queries) for part in self._members])
        if stated is None or opened is None:
            return None
        stated = stated.squeeze(1)
        return torch.where(stated == -torch.inf, opened, stated)

    def _mixed(self, log_share: list) -> Tensor | None:
        """The mean share, by the parts' number of candidates; None if one is unknown."""
        known = [
            share + math.log(part.k / self.k)
            for share, part in zip(log_share, self._members)
            if share is not None
        ]
        return torch.stack(known).logsumexp(0) if len(known) == len(self.parts) else None

    def observe(self, feedback):
        told, start = {}, 0
        for place, part in enumerate(self._members):
            stop = start + part.k
            for name, value in part.observe(feedback.columns(start, stop)).items():
                told[f"{place}.{name}"] = value
            start = stop
        return told

    def watch(self, model):
        for part in self._members:
            part.watch(model)
