"""Samplers whose density does not depend on what the main model thinks."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler


class Uniform(NegativeSampler):
    """Every entity with equal probability (Bordes et al., 2013).

    Args:
        groups: candidate lists per batch, each shared by an equal part of its queries; None
            gives each query a list of its own.
    """

    def __init__(self, graph: TrainGraph, *, k: int, groups: int | None = None):
        super().__init__(k)
        self.num_entities, self.groups = graph.num_entities, at_least_one(groups)

    def sample(self, queries, score, rng):
        shape = (self.groups or len(queries), self.k)
        ids = torch.randint(self.num_entities, shape, generator=rng, device=queries.anchor.device)
        return self.offer(queries, ids)

    def log_prob(self, queries, ids):
        log_q = queries.weight.new_full((), -math.log(self.num_entities))
        return log_q.expand(len(queries), ids.shape[1])


class UniformUnknown(NegativeSampler):
    """Every entity that is no known answer of the query, with equal probability.

    Exact and without rounds: the rank among unknown entities is drawn. A query whose answers are
    all entities gets no candidate that counts.
    """

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(k)
        self.known = graph.known
        self.num_entities = graph.num_entities

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        free, answer = self._free(queries)
        lot = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        # lot * free, in doubles, is below any number of entities
        rank = lot.mul_(free.clamp(min=1).unsqueeze(1)).long()
        ids = self.known.unknown(queries, rank).clamp_(max=self.num_entities - 1)
        full = (free == 0).unsqueeze(1)
        log_q = answer.unsqueeze(1).masked_fill(full, -torch.inf).expand(shape)
        drawn = Negatives.offer(queries, ids, log_q, answer)
        return replace(drawn, mask=drawn.mask & ~full)

    def _free(self, queries: Queries) -> tuple[Int[Tensor, "B"], Float[Tensor, "B"]]:
        """How many entities are unknown, and the log-probability of each."""
        free = self.num_entities - self.known.count(queries)
        return free, -free.clamp(min=1).to(queries.weight.dtype).log()

    def log_prob(self, queries, ids):
        log_q = self.answer_log_prob(queries).unsqueeze(1).expand(-1, ids.shape[1])
        return log_q.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries):
        return self._free(queries)[1]


class Popular(NegativeSampler):
    """Entities in proportion to (training) degree ** power (Mikolov et al., 2013).

    An answer without training triples, which is never drawn, counts as of degree 1.

    Args:
        groups: candidate lists per batch; None gives each query its own.
    """

    log_share: Float[Tensor, "N"]
    log_once: Float[Tensor, ""]
    upto: Float[Tensor, "N"]

    def __init__(
        self, graph: TrainGraph, *, k: int, power: float = 0.75, groups: int | None = None
    ):
        super().__init__(k)
        self.groups = at_least_one(groups)
        mass = graph.degree.double() ** power
        share = mass / mass.sum()
        self.register_buffer("log_share", share.log().float(), persistent=False)
        self.register_buffer("log_once", -mass.sum().log().float(), persistent=False)
        self.register_buffer("upto", share.cumsum(0), persistent=False)

    def sample(self, queries, score, rng):
        shape = (self.groups or len(queries), self.k)
        lot = torch.rand(shape, generator=rng, device=queries.anchor.device, dtype=torch.double)
        ids = torch.searchsorted(self.upto, lot * self.upto[-1], right=True)
        return self.offer(queries, ids.clamp_(max=len(self.upto) - 1))

    def log_prob(self, queries, ids):
        return by_popularity(self.log_share, len(queries), ids)

    def answer_log_prob(self, queries):
        return at_answer(self.log_share, self.log_once, queries)


class InBatch(NegativeSampler):
    """Answers of other queries of the batch, drawn without replacement and shared by all.

    The stated density is that of answers in the training graph, on both sides together; an
    answer without training triples counts as of degree 1.
    """

    log_share: Float[Tensor, "N"]
    log_once: Float[Tensor, ""]

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(k)
        total = graph.degree.double().sum()
        self.register_buffer("log_share", (graph.degree / total).log().float(), persistent=False)
        self.register_buffer("log_once", -total.log().float(), persistent=False)

    def sample(self, queries, score, rng):
        if len(queries) < self.k:
            raise ValueError(
                f"in-batch negatives need a batch of at least k={self.k} queries; "
                f"got {len(queries)}"
            )
        order = torch.randperm(len(queries), generator=rng, device=queries.answer.device)
        return self.offer(queries, queries.answer[order[: self.k]].unsqueeze(0))

    def log_prob(self, queries, ids):
        return by_popularity(self.log_share, len(queries), ids)

    def answer_log_prob(self, queries):
        return at_answer(self.log_share, self.log_once, queries)


class AllEntities(NegativeSampler):
    """Every entity once: full softmax or 1vsAll (Lacroix et al., 2018)."""

    everyone: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph):
        super().__init__(k=graph.num_entities)
        everyone = torch.arange(graph.num_entities).unsqueeze(0)
        self.register_buffer("everyone", everyone, persistent=False)

    def sample(self, queries, score, rng):
        return self.offer(queries, self.everyone)

    def log_prob(self, queries, ids):
        log_q = queries.weight.new_full((), -math.log(self.k))
        return log_q.expand(len(queries), ids.shape[1])


class KvsAll(AllEntities):
    """Every entity that is no known answer; a query's negatives count once per epoch.

    A query with A known answers comes by A times per epoch, so each time its negatives weigh
    1 / A, and the epoch's sum is that of Dettmers et al., 2018.
    """

    states_density = closed_density = False

    def __init__(self, graph: TrainGraph):
        super().__init__(graph)
        self.known = graph.known

    def sample(self, queries, score, rng):
        drawn = Negatives.offer(queries, self.everyone)
        row, entity = self.known.answers(queries)
        mask = drawn.mask.index_put((row, entity), drawn.mask.new_zeros(()))
        answers = self.known.count(queries).clamp(min=1).unsqueeze(1)
        return replace(drawn, mask=mask, weight=drawn.weight / answers)

    def log_prob(self, queries, ids):
        return None


def at_least_one(groups: int | None) -> int | None:
    """The number of candidate lists, if it is one.

    Raises:
        ValueError: if it is below 1.
    """
    if groups is not None and groups < 1:
        raise ValueError(f"a batch needs at least one candidate list; got groups={groups}")
    return groups


def by_popularity(
    log_share: Float[Tensor, "N"], batch: int, ids: Int[Tensor, "G K"]
) -> Float[Tensor, "B K"]:
    """Each candidate's share, looked up once per list."""
    rows = log_share[ids]
    if len(ids) == batch:
        return rows
    return rows.unsqueeze(1).expand(-1, batch // len(ids), -1).reshape(batch, ids.shape[1])


def at_answer(
    log_share: Float[Tensor, "N"], log_once: Float[Tensor, ""], queries: Queries
) -> Float[Tensor, "B"]:
    """The answer's share; that of a degree of 1 where it has none."""
    stated = log_share[queries.answer]
    return torch.where(stated == -torch.inf, log_once, stated)
