"""Samplers made of other samplers."""

from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from sparring.batch import PER_CANDIDATE, Negatives, Queries, Scorer, per_query
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

    No density is stated where `inner` has none in closed form.

    Args:
        rounds: how often to redraw.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, rounds: int = 3):
        super().__init__(inner)
        self.states_density = self.states_answer_density = inner.closed_density
        self.known, self.rounds = graph.known, rounds

    def sample(self, queries, score, rng):
        kept = self._draw(queries, score, rng)
        for _ in range(self.rounds):
            fresh = self._draw(queries, score, rng)
            kept = {name: torch.where(kept["mask"], kept[name], fresh[name]) for name in kept}
        answer = None
        if self.states_density:
            lift = self._lift(queries).detach()
            kept["log_q"] = kept["log_q"] + lift.unsqueeze(1)
            stated: Tensor = self.inner.answer_log_prob(queries)  # pyright: ignore
            answer = stated.detach() + lift
        return Negatives(**kept, answer_log_q=answer, query_weight=queries.negative_weight)

    def _draw(
        self, queries: Queries, score: Scorer, rng: torch.Generator
    ) -> dict[str, Shaped[Tensor, "B K"]]:
        """Own lists of the inner sampler, in which known facts neither count nor are drawn."""
        drawn = self.inner.sample(queries, score, rng)
        fields = {name: getattr(drawn, name) for name in PER_CANDIDATE}
        fields["ids"] = per_query(drawn.ids, len(queries))
        known = self.known.contains(queries, drawn.ids)
        fields["mask"] = drawn.mask & ~known
        if self.states_density:  # only then does every draw state its own
            log_q: Tensor = drawn.log_q  # pyright: ignore
            fields["log_q"] = log_q.masked_fill(known, -torch.inf)
        return fields

    def log_prob(self, queries, ids):
        inner = self.inner.log_prob(queries, ids)
        if inner is None:
            return None
        lifted = inner + self._lift(queries).unsqueeze(1)
        return lifted.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries):
        inner = self.inner.answer_log_prob(queries)
        return None if inner is None else inner + self._lift(queries)

    def _lift(self, queries: Queries) -> Float[Tensor, "B"]:
        """How much more often redrawing offers an unknown entity, as a logarithm."""
        taken = self._mass_of_known(queries)
        return torch.log1p(-(taken ** (self.rounds + 1))) - torch.log1p(-taken)

    def _mass_of_known(self, queries: Queries) -> Float[Tensor, "B"]:
        """Probability that one draw of the inner sampler is a known answer."""
        row, entity = self.known.answers(queries)
        # only asked for where the inner sampler states a density
        log_mass: Tensor = self.inner.log_prob(queries[row], entity.unsqueeze(1))  # pyright: ignore
        share = log_mass.squeeze(1).exp()
        total = share.new_zeros(len(queries)).index_add(0, row, share)
        return total.clamp(max=1 - torch.finfo(share.dtype).eps)
