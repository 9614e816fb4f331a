"""Wrong answers that have something else to do with the anchor."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.samplers.lists import checked_floor


class Relational(NegativeSampler):
    """Entities linked to the anchor, but not by the query's own relation and direction.

    "Relational" in Kotnis & Nastase, 2018. Entities count once for each such link. An anchor
    without any draws from all entities. Takes 16 bytes per training triple.

    Args:
        floor: share of draws that come from all entities alike.
    """

    schedulable = (("floor", 0.0, 1.0),)

    pairs: Int[Tensor, "F"]

    def __init__(self, graph: TrainGraph, *, k: int, floor: float = 0.0):
        super().__init__(k)
        self.floor = checked_floor(floor)
        self.known = graph.known
        self.num_entities = graph.num_entities
        self.per_anchor = 2 * graph.num_relations * graph.num_entities
        facts = graph.known.facts
        pairs = facts // self.per_anchor * graph.num_entities + facts % graph.num_entities
        self.register_buffer("pairs", pairs.sort().values, persistent=False)

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        coin = torch.rand(shape, generator=rng, device=device)
        lot = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        linked = self._linked(queries, lot)
        anyone = (lot * self.num_entities).long()
        return self.offer(queries, torch.where(coin < self._floor(queries), anyone, linked))

    def log_prob(self, queries, ids):
        every = queries.anchor.unsqueeze(1) * self.num_entities + per_query(ids, len(queries))
        links = torch.searchsorted(self.pairs, every, right=True)
        links = links - torch.searchsorted(self.pairs, every)
        return self._log_share(queries, links - self.known.contains(queries, ids).long())

    def answer_log_prob(self, queries):
        """An answer that is never drawn counts as linked once more."""
        stated = self.log_prob(queries, queries.answer.unsqueeze(1))
        once = self._log_share(queries, torch.ones_like(queries.answer).unsqueeze(1))
        return torch.where(stated == -torch.inf, once, stated).squeeze(1)

    def _log_share(self, queries: Queries, links: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        floor, total = self._floor(queries), self._total(queries).clamp(min=1).unsqueeze(1)
        return (floor / self.num_entities + (1 - floor) * links / total).log()

    def _floor(self, queries: Queries) -> Float[Tensor, "B 1"]:
        alone = self._total(queries) == 0
        return alone.to(queries.weight.dtype).clamp(min=self.floor).unsqueeze(1)

    def _total(self, queries: Queries) -> Int[Tensor, "B"]:
        """Links of the anchor, those of the query itself left out."""
        facts, anchor = self.known.facts, queries.anchor * self.per_anchor
        start = torch.searchsorted(facts, anchor)
        stop = torch.searchsorted(facts, anchor + self.per_anchor)
        return stop - start - self.known.count(queries)

    def _linked(self, queries: Queries, lot: Float[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The entity of the link at the share `lot`, in [0, 1), of those that count."""
        facts, anchor = self.known.facts, queries.anchor * self.per_anchor
        start = torch.searchsorted(facts, anchor)
        place = start.unsqueeze(1) + (lot * self._total(queries).unsqueeze(1)).long()
        own = torch.searchsorted(facts, anchor + queries.relation * self.num_entities)
        skip = (place >= own.unsqueeze(1)) * self.known.count(queries).unsqueeze(1)
        return facts[(place + skip).clamp(max=len(facts) - 1)] % self.num_entities
