"""Wrong answers that a frozen model finds best (Kotnis & Nastase, 2018)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.samplers.seen import SeenQueries
from sparring.samplers.vectors import entity_vectors

AT_ONCE = 2**24  # scores or distances held while building


@dataclass(frozen=True, eq=False)
class NearMisses:
    """What a model ranks highest for each distinct query of the training graph.

    Attributes:
        entity: best first; known answers of the training graph are left out.
        filled: how many of them are no padding.
        above: for each fact of the index, how many of them score above its answer.
    """

    entity: Int[Tensor, "Q M"]
    filled: Int[Tensor, "Q"]
    above: Int[Tensor, "F"]


@torch.no_grad()
def near_misses(graph: TrainGraph, teacher: Callable[[Queries], Scorer], size: int) -> NearMisses:
    """Rank all entities for all queries of the training graph, once: Q * N scores.

    Args:
        teacher: a trained main model, or anything that turns queries into a scorer.
        size: entities to keep per query.
    """
    seen, known = SeenQueries(graph), graph.known
    size = min(size, graph.num_entities)
    everyone = torch.arange(graph.num_entities, device=graph.triples.device).unsqueeze(0)
    rows = torch.arange(len(seen), device=graph.triples.device)
    parts = []
    for some in rows.split(max(1, AT_ONCE // graph.num_entities)):
        queries = seen.queries(some)
        scores = teacher(queries)(everyone)
        row, answer = known.answers(queries)
        right = scores[row, answer]
        wrong = scores.index_put((row, answer), scores.new_full((), -torch.inf))
        best, entity = wrong.topk(size)
        above = (best[row] > right.unsqueeze(1)).sum(1)
        filled = (graph.num_entities - known.count(queries)).clamp(max=size)
        parts.append((entity.int(), filled, above))
    return NearMisses(*(torch.cat(column) for column in zip(*parts)))


class RankedLists(NegativeSampler, ABC):
    """k of the first entities of the query's ranked list: all of them, if they are no more.

    Chosen at random and without repetition. Where they are fewer, the rest does not count.

    Args:
        pool: how many of the first to choose from; None for k.

    Raises:
        ValueError: if the pool is smaller than k.
    """

    def __init__(self, graph: TrainGraph, *, k: int, pool: int | None):
        super().__init__(k)
        self.pool = k if pool is None else pool
        if self.pool < k:
            raise ValueError(f"a pool of {pool} holds no k={k} entities; enlarge it")
        self.num_entities = graph.num_entities

    @abstractmethod
    def ranked(
        self, queries: Queries
    ) -> tuple[Int[Tensor, "B M"], Int[Tensor, "B"], Bool[Tensor, "B"]]:
        """The lists, how many of the first to choose from, and who has no list at all."""

    def sample(self, queries, score, rng):
        entity, size, without = self.ranked(queries)
        shape, device = (len(queries), self.k), entity.device
        place = torch.arange(max(entity.shape[1], self.k), device=device)
        lot = torch.rand(len(queries), len(place), generator=rng, device=device)
        first = lot.masked_fill(place >= size.unsqueeze(1), -1.0).topk(self.k).indices
        listed = entity.gather(1, first.clamp(max=entity.shape[1] - 1)).long()
        anyone = torch.randint(self.num_entities, shape, generator=rng, device=device)
        without = without.unsqueeze(1)
        drawn = self.offer(queries, torch.where(without, anyone, listed))
        return replace(drawn, mask=drawn.mask & (without | (first < size.unsqueeze(1))))

    def log_prob(self, queries, ids):
        entity, size, without = self.ranked(queries)
        listed = _rank(entity, per_query(ids, len(queries))) < size.unsqueeze(1)
        share = self._log_share(queries, size, without).unsqueeze(1)
        return share.masked_fill(~listed & ~without.unsqueeze(1), -torch.inf)

    def answer_log_prob(self, queries):
        return self._log_share(queries, *self.ranked(queries)[1:])

    def _log_share(
        self, queries: Queries, size: Int[Tensor, "B"], without: Bool[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Of each entity that may be offered."""
        among = torch.where(without, self.num_entities, size.clamp(min=self.k))
        return -among.to(queries.weight.dtype).log()


class NearMiss(RankedLists):
    """Entities that a frozen model takes for answers, though the training graph does not.

    A query that the training graph lacks gets entities of any kind. Takes 4 * pool bytes per
    distinct query. The likeliest false negatives are among them: see `Discount`.

    Args:
        teacher: the trained model, whose scores are asked for once, or its `near_misses`. In an
            experiment, `{ name = "run", folder = "runs/my-helper" }` is that of a finished run.
        pool: how many of its best to choose from; None for k.
        strict: choose among those only that it ranks above the answer, or among the best k if
            these are fewer. An answer that is no training fact counts as ranked below all.
    """

    entity: Int[Tensor, "Q M"]
    filled: Int[Tensor, "Q"]
    above: Int[Tensor, "F"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        teacher: Callable[[Queries], Scorer] | NearMisses,
        pool: int | None = None,
        strict: bool = False,
    ):
        super().__init__(graph, k=k, pool=pool)
        if not isinstance(teacher, NearMisses):
            teacher = near_misses(graph, teacher, self.pool)
        self.register_buffer("entity", teacher.entity[:, : self.pool], persistent=False)
        self.register_buffer("filled", teacher.filled.clamp(max=self.pool), persistent=False)
        self.register_buffer("above", teacher.above.clamp(max=self.pool), persistent=False)
        self.seen, self.known, self.strict = SeenQueries(graph), graph.known, strict

    def ranked(self, queries):
        row = self.seen.row(queries)
        without = row == len(self.seen)
        row = row.clamp(max=len(self.seen) - 1)
        return self.entity[row], self._size(queries, row), without

    def _size(self, queries: Queries, row: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        if not self.strict:
            return self.filled[row]
        wanted = self.seen.key[row] * self.num_entities + queries.answer
        fact = torch.searchsorted(self.known.facts, wanted).clamp(max=len(self.above) - 1)
        above = self.above[fact].clamp(min=self.k)
        above = torch.where(self.known.facts[fact] == wanted, above, self.pool)
        return torch.minimum(above, self.filled[row])


class NearestNeighbour(RankedLists):
    """The entities nearest to the answer, by the vectors of a frozen model.

    Takes 4 * pool * N bytes. Wrap in `HideKnown` or `RedrawKnown`: neighbours may be answers.

    Args:
        vectors: one per entity, or a trained model with a table of them; in an experiment, as the
            teacher of `NearMiss`.
        pool: how many of the nearest to choose from; None for k.

    Raises:
        ValueError: if there is not one vector per entity.
    """

    entity: Int[Tensor, "N M"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        vectors: Float[Tensor, "N d"] | nn.Module,
        pool: int | None = None,
    ):
        super().__init__(graph, k=k, pool=pool)
        table = vectors if isinstance(vectors, Tensor) else entity_vectors(vectors)
        if len(table) != graph.num_entities:
            raise ValueError(
                f"{len(table)} vectors for {graph.num_entities} entities; they belong to another "
                "graph"
            )
        self.register_buffer("entity", _nearest(table, self.pool), persistent=False)

    def ranked(self, queries):
        entity = self.entity[queries.answer]
        size = torch.full_like(queries.answer, entity.shape[1])
        return entity, size, torch.zeros_like(size, dtype=torch.bool)


@torch.no_grad()
def _nearest(vectors: Float[Tensor, "N d"], size: int) -> Int[Tensor, "N M"]:
    """The rows nearest to each row, itself left out, nearest first."""
    size = max(1, min(size, len(vectors) - 1))
    parts = []
    for rows in torch.arange(len(vectors), device=vectors.device).split(
        max(1, AT_ONCE // len(vectors))
    ):
        distance = torch.cdist(vectors[rows], vectors)
        distance[torch.arange(len(rows)), rows] = torch.inf
        parts.append(distance.topk(size, largest=False).indices.int())
    return torch.cat(parts)


def _rank(entity: Int[Tensor, "B M"], ids: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
    """Place of each id in its row's list; M where it is not in it."""
    ascending, place = entity.long().sort(1)
    spot = torch.searchsorted(ascending, ids.contiguous()).clamp(max=entity.shape[1] - 1)
    return torch.where(ascending.gather(1, spot) == ids, place.gather(1, spot), entity.shape[1])
