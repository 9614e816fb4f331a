"""Wrong answers that a frozen model finds best (Kotnis & Nastase, 2018).

Wrong answers close to the right one in the main model's own space (EANS: Je, 2022)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer, ungroup
from sparring.data.graph import TrainGraph
from sparring.registry import register
from sparring.samplers.base import NegativeSampler, entity_vectors

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
    known = graph.known
    size = min(size, graph.num_entities)
    everyone = torch.arange(graph.num_entities, device=graph.triples.device).unsqueeze(0)
    rows = torch.arange(known.num_queries, device=graph.triples.device)
    parts = []
    for some in rows.split(max(1, AT_ONCE // graph.num_entities)):
        queries = known.queries(some)
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
        drawn = self.to_negatives(queries, torch.where(without, anyone, listed))
        return replace(drawn, mask=drawn.mask & (without | (first < size.unsqueeze(1))))

    def log_prob(self, queries, ids):
        entity, size, without = self.ranked(queries)
        listed = _rank(entity, ungroup(ids, len(queries))) < size.unsqueeze(1)
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


@register("teacher-negatives", example={"k": 5}, aliases=["near-miss"])
class TeacherNegatives(RankedLists):
    """Entities that a frozen model takes for answers, though the training graph does not.

    A query that the training graph lacks gets entities of any kind. Takes 4 * pool bytes per
    distinct query. The likeliest false negatives are among them: see `FalseNegativeWeighting`.

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
        self.known, self.strict = graph.known, strict

    def ranked(self, queries):
        row = self.known.rows(queries)
        without = row == self.known.num_queries
        row = row.clamp(max=self.known.num_queries - 1)
        return self.entity[row], self._size(queries, row), without

    def _size(self, queries: Queries, row: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        if not self.strict:
            return self.filled[row]
        fact = self.known.find(queries, queries.answer.unsqueeze(1)).squeeze(1)
        above = torch.where(fact < 0, self.pool, self.above[fact].clamp(min=self.k))
        return torch.minimum(above, self.filled[row])


@register("nearest-neighbor", example={"k": 3, "pool": 5}, aliases=["nearest-neighbour"])
class NearestNeighbour(RankedLists):
    """The entities nearest to the answer, by the vectors of a frozen model.

    Takes 4 * pool * N bytes. Wrap in `MaskKnown` or `ResampleKnown`: neighbours may be answers.

    Args:
        vectors: one per entity, or a trained model with a table of them; in an experiment, as the
            teacher of `TeacherNegatives`.
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


DISTANCES_AT_ONCE = 2**24  # distances held while clustering


@register(
    "eans", example={"k": 5, "width": 4.0, "clusters": 3, "every": 2}, aliases=["neighbourhood"]
)
class EANS(NegativeSampler):
    """Entities about as many places from the answer as a normal number says, in a line-up.

    The main model's entity vectors are clustered; each cluster in the line-up is followed by
    the nearest one left, and the last entity by the first. The authors' second part, a relation
    learned for replaceable entities, belongs to a model and is not here.

    Args:
        width: standard deviation, in places; 290 for FB15k-237 and 800 for WN18RR.
        clusters: groups of similar entities.
        every: training steps between line-ups.
        rounds: steps of k-means per line-up.

    Raises:
        ValueError: if a number is not positive, or the main model has no entity vectors.
        RuntimeError: if it is asked for candidates before it has met the main model.
    """

    schedulable = (("width", 1e-6, math.inf),)

    entity: Int[Tensor, "N"]
    place: Int[Tensor, "N"]
    log_share: Float[Tensor, "N"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        width: float = 290.0,
        clusters: int = 100,
        every: int = 1000,
        rounds: int = 20,
    ):
        super().__init__(k)
        for name, value in (("clusters", clusters), ("every", every), ("rounds", rounds)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        self.num_entities, self.every, self.rounds = graph.num_entities, every, rounds
        self.clusters = min(clusters, graph.num_entities)
        everyone = torch.arange(graph.num_entities, device=graph.triples.device)
        self.register_buffer("entity", everyone)
        self.register_buffer("place", everyone.clone())
        self.register_buffer("log_share", torch.zeros(len(everyone)), persistent=False)
        self.calls = 0
        self.watched: tuple[nn.Module, ...] = ()
        self.width = width

    @property
    def width(self) -> float:
        """Standard deviation, in places."""
        return self._width

    @width.setter
    def width(self, value: float) -> None:
        if value <= 0:
            raise ValueError(f"width is a standard deviation above 0; got {value}")
        if value != getattr(self, "_width", None):
            self._width = value
            share = log_share_on_ring(self.num_entities, value)
            self.log_share = share.to(self.entity.device)

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state

    def bind_model(self, model):
        entity_vectors(model)  # refuses a model without
        self.watched = (model,)  # not a submodule: its state is saved elsewhere

    def sample(self, queries, score, rng):
        if self.calls % self.every == 0:
            self._line_up(rng)
        self.calls += self.training
        shape, device = (len(queries), self.k), queries.answer.device
        step = torch.randn(shape, generator=rng, device=device, dtype=torch.double)
        step = (step * self.width).round().long()
        return self.to_negatives(queries, self.entity[self._place(queries.answer, step)])

    def log_prob(self, queries, ids):
        step = self.place[ungroup(ids, len(queries))] - self.place[queries.answer].unsqueeze(1)
        return self.log_share[step % self.num_entities]

    def _place(self, answer: Int[Tensor, "B"], step: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        return (self.place[answer].unsqueeze(1) + step) % self.num_entities

    @torch.no_grad()
    def _line_up(self, rng: torch.Generator) -> None:
        if not self.watched:
            raise RuntimeError(
                "EANS goes by the main model's entity vectors: call bind_model(model) first, "
                "as TrainingStep does"
            )
        vectors = entity_vectors(self.watched[0]).float()
        centre, cluster = k_means(vectors, self.clusters, self.rounds, rng)
        turn = chained(centre).argsort()
        self.entity.copy_(turn[cluster].argsort(stable=True))
        self.place.copy_(self.entity.argsort())


def log_share_on_ring(places: int, width: float) -> Float[Tensor, "N"]:
    """Log-probability that a rounded normal number is 0, 1, ... modulo the number of places."""
    if width > 2 * places:  # equal to the last digit: the error is exp(-2 (pi width / places)**2)
        return torch.full((places,), -math.log(places))
    step = torch.arange(places, dtype=torch.double).unsqueeze(1)
    turns = int(10 * width / places) + 1
    step = (step + places * torch.arange(-turns, turns + 1)).abs()
    # on the side where the distribution function is small, its differences are exact
    share = torch.special.ndtr((0.5 - step) / width) - torch.special.ndtr((-0.5 - step) / width)
    return share.sum(1).log().float()


def k_means(
    vectors: Float[Tensor, "N d"], clusters: int, rounds: int, rng: torch.Generator
) -> tuple[Float[Tensor, "C d"], Int[Tensor, "N"]]:
    """Lloyd's algorithm from random members: the centres, and the nearest one of each vector.

    A centre that loses all its members stays where it is.
    """
    start = torch.randperm(len(vectors), generator=rng, device=vectors.device)[:clusters]
    centre = vectors[start]
    for _ in range(rounds):
        total, size = torch.zeros_like(centre), centre.new_zeros(clusters, 1)
        for some in vectors.split(max(1, DISTANCES_AT_ONCE // clusters)):
            # as a matrix product, because adding by index is not repeatable on a GPU
            member = nn.functional.one_hot(_nearest_center(some, centre), clusters).to(centre.dtype)
            total, size = total + member.mT @ some, size + member.sum(0).unsqueeze(1)
        centre = torch.where(size > 0, total / size.clamp(min=1), centre)
    parts = vectors.split(max(1, DISTANCES_AT_ONCE // clusters))
    return centre, torch.cat([_nearest_center(some, centre) for some in parts])


def chained(centre: Float[Tensor, "C d"]) -> Int[Tensor, "C"]:
    """Positions of the centres, each followed by the nearest one that is left."""
    distance = torch.cdist(centre, centre)
    chain = [torch.zeros(1, dtype=torch.long, device=centre.device)]
    for _ in range(len(centre) - 1):
        distance.index_fill_(1, chain[-1], torch.inf)
        chain.append(distance[chain[-1]].argmin(1))
    return torch.cat(chain)


def _nearest_center(
    vectors: Float[Tensor, "n d"], centre: Float[Tensor, "C d"]
) -> Int[Tensor, "n"]:
    return torch.cdist(vectors, centre).argmin(1)
