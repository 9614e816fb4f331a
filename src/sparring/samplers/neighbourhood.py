"""Wrong answers close to the right one in the main model's own space (EANS: Je, 2022)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.samplers.vectors import entity_vectors

AT_ONCE = 2**24  # distances held while clustering


class Neighbourhood(NegativeSampler):
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

    def watch(self, model):
        entity_vectors(model)  # refuses a model without
        self.watched = (model,)  # not a submodule: its state is saved elsewhere

    def sample(self, queries, score, rng):
        if self.calls % self.every == 0:
            self._line_up(rng)
        self.calls += self.training
        shape, device = (len(queries), self.k), queries.answer.device
        step = torch.randn(shape, generator=rng, device=device, dtype=torch.double)
        step = (step * self.width).round().long()
        return self.offer(queries, self.entity[self._place(queries.answer, step)])

    def log_prob(self, queries, ids):
        step = self.place[per_query(ids, len(queries))] - self.place[queries.answer].unsqueeze(1)
        return self.log_share[step % self.num_entities]

    def _place(self, answer: Int[Tensor, "B"], step: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        return (self.place[answer].unsqueeze(1) + step) % self.num_entities

    @torch.no_grad()
    def _line_up(self, rng: torch.Generator) -> None:
        if not self.watched:
            raise RuntimeError(
                "Neighbourhood goes by the main model's entity vectors: call watch(model) first, "
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
        for some in vectors.split(max(1, AT_ONCE // clusters)):
            # as a matrix product, because adding by index is not repeatable on a GPU
            member = nn.functional.one_hot(_nearest(some, centre), clusters).to(centre.dtype)
            total, size = total + member.mT @ some, size + member.sum(0).unsqueeze(1)
        centre = torch.where(size > 0, total / size.clamp(min=1), centre)
    parts = vectors.split(max(1, AT_ONCE // clusters))
    return centre, torch.cat([_nearest(some, centre) for some in parts])


def chained(centre: Float[Tensor, "C d"]) -> Int[Tensor, "C"]:
    """Positions of the centres, each followed by the nearest one that is left."""
    distance = torch.cdist(centre, centre)
    chain = [torch.zeros(1, dtype=torch.long, device=centre.device)]
    for _ in range(len(centre) - 1):
        distance.index_fill_(1, chain[-1], torch.inf)
        chain.append(distance[chain[-1]].argmin(1))
    return torch.cat(chain)


def _nearest(vectors: Float[Tensor, "n d"], centre: Float[Tensor, "C d"]) -> Int[Tensor, "n"]:
    return torch.cdist(vectors, centre).argmin(1)
