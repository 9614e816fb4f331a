"""The adapter between one of our samplers and the training loop of another library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import get_worker_info

from sparring.batch import Feedback, Negatives, Queries, Scorer
from sparring.corruption import CorruptEither, Corruption, to_triples
from sparring.data.graph import TrainGraph
from sparring.losses import Loss
from sparring.models import KGEModel
from sparring.samplers.base import NegativeSampler
from sparring.training.checkpoint import FORMAT
from sparring.training.conversion import convert_modules

CHUNK = 2**17  # triples that the model of the host library scores in one call
ScoreTriples = Callable[[Tensor, Tensor], Tensor]


class Adapter:
    """Draws corrupted triples for a host library, and lets the sampler learn from their scores.

    The host draws negatives for a batch, passes their scores to `record_scores` (in parts, if it
    splits the batch), and runs its own backward pass. The sampler learns when the next batch is
    drawn, or on `flush`.

    Args:
        make_sampler: builds the sampler for the training graph, with the ids of the host.
        corruption: builds what chooses the end of each triple to replace.
        loss: replaces the loss of the host, which knows no densities; None keeps that loss.
        seed: of the initial parameters of the sampler, and of all draws.

    Attributes:
        score_triples: scores of triples [M, 3] by the model of the host, without gradients. Its
            second argument [M] is True where the head was asked for, which most models ignore.
            None if the host has no scores to give.
        sampler: the sampler; None before `bind`.
        metrics: what the sampler reported when it last learned.
        last_draw: queries and negatives of the batch drawn last.
    """

    def __init__(
        self,
        make_sampler: Callable[[TrainGraph], NegativeSampler],
        *,
        corruption: Callable[[TrainGraph], Corruption] = CorruptEither,
        loss: Loss | None = None,
        seed: int = 0,
    ) -> None:
        self.make_sampler, self.make_corruption = make_sampler, corruption
        self.loss, self.seed = loss, seed
        self.score_triples: ScoreTriples | None = None
        self.metrics: dict[str, Tensor] = {}
        self.reset()

    def __repr__(self) -> str:  # hosts write it into their records
        sampler = self.sampler
        name = "no sampler yet" if sampler is None else f"{type(sampler).__name__}, k={sampler.k}"
        return f"Adapter({name}, seed={self.seed})"

    def reset(self) -> None:
        """Forget sampler and graph; the next `bind` starts from the seed."""
        self.sampler: NegativeSampler | None = None
        self.bound_hash: str | None = None
        self.pending_state: dict[str, Any] | None = None
        self.last_draw: tuple[Queries, Negatives] | None = None
        self.recorded: list[tuple[Tensor, Tensor]] = []

    def bind(self, graph: TrainGraph) -> NegativeSampler:
        """Build the sampler for this training graph, or return it if the graph is the same.

        Raises:
            ValueError: if `loss` needs a density that the sampler does not know.
        """
        if self.sampler is not None and self.bound_hash == graph.content_hash:
            return self.sampler
        device = graph.triples.device
        with torch.random.fork_rng(devices=[]):  # the host's own random numbers stay the same
            torch.manual_seed(self.seed)
            sampler = self.make_sampler(graph).to(device)
            corruption = self.make_corruption(graph).to(device)
        if self.loss is not None:
            self.loss.check(sampler)
        self.sampler, self.corruption = sampler, corruption
        self.bound_hash = graph.content_hash
        self.rng = torch.Generator(device).manual_seed(self.seed)
        self.last_draw, self.recorded = None, []
        if self.pending_state is not None:
            state, self.pending_state = self.pending_state, None
            self.load_state_dict(state)
        return sampler

    def draw(self, triples: Int[Tensor, "B 3"]) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
        """Corrupt one end of each triple.

        Returns:
            corrupted triples, and True where they count.

        Raises:
            ValueError: if `corruption` makes more than one query of a triple.
            RuntimeError: as `draw_queries` does.
        """
        corrupted, mask = self.draw_queries(triples)
        if len(corrupted) != len(triples):
            raise ValueError(
                f"{type(self.corruption).__name__} replaces both ends of a triple, and this "
                "library takes negatives of one end; use CorruptEither or Bernoulli"
            )
        return corrupted, mask

    def draw_queries(
        self, triples: Int[Tensor, "B 3"]
    ) -> tuple[Int[Tensor, "Q K 3"], Bool[Tensor, "Q K"]]:
        """Corrupt the triples for each of their Q queries: B or 2 B, depending on `corruption`.

        Returns:
            corrupted triples, and True where they count.

        Raises:
            RuntimeError: before `bind`, in a worker process, or if the sampler needs scores that
                the host does not give.
        """
        if self.sampler is None:
            raise RuntimeError("the adapter has no training graph; call bind before draw")
        if get_worker_info() is not None:
            raise RuntimeError(
                "negatives are drawn in a worker process, whose copy of the sampler never learns "
                "and repeats the draws of the other workers; set num_workers=0"
            )
        self.flush()
        queries = self.corruption(triples.to(self.rng.device), self.rng)
        drawn = self.sampler.sample(queries, self.scorer(queries), self.rng)
        self.last_draw = queries, drawn[:]
        corrupted = to_triples(queries, drawn.ids, self.corruption.num_relations)
        return corrupted.to(triples.device), drawn.mask.to(triples.device)

    def record_scores(self, positive: Float[Tensor, "b"], negative: Float[Tensor, "b K"]) -> None:
        """Keep the scores of the next b queries of the batch, and their gradients once computed."""
        if negative.requires_grad:
            negative.retain_grad()
        self.recorded.append((positive, negative))

    def compute_loss(
        self, positive: Float[Tensor, "b"], negative: Float[Tensor, "b K"], first: int = 0
    ) -> Float[Tensor, ""]:
        """`loss` of b queries of the last draw, from number `first` on."""
        assert self.loss is not None and self.last_draw is not None
        queries, drawn = self.last_draw
        rows = slice(first, first + len(positive))
        weight = queries.weight[rows].to(positive.device)
        return self.loss(positive, negative, drawn[rows].to(positive.device), weight)

    def flush(self) -> dict[str, Tensor]:
        """Let the sampler learn from the recorded scores.

        Returns:
            scalars to log, which also stay in `metrics`.

        Raises:
            RuntimeError: if the scores are of another number of queries than was drawn.
        """
        recorded, self.recorded = self.recorded, []
        if not recorded or self.last_draw is None or self.sampler is None:
            return {}
        queries, drawn = self.last_draw
        positive, negative, gradient = (
            torch.cat(parts).to(self.rng.device)
            for parts in zip(*((p.detach(), n.detach(), _gradient(n)) for p, n in recorded))
        )
        if len(positive) != len(queries):
            raise RuntimeError(
                f"{len(queries)} triples were drawn, but scores of {len(positive)} came back; "
                "a batch must be scored before the next one is drawn"
            )
        self.last_draw = None
        self.metrics = self.sampler.observe(Feedback(queries, drawn, positive, negative, gradient))
        return self.metrics

    def predicts_head(self, queries: Queries) -> Bool[Tensor, "B"]:
        """Which queries ask for the head."""
        return queries.relation >= self.corruption.num_relations

    def scorer(self, queries: Queries) -> Scorer:
        """Scores of candidates by the model of the host."""
        return ExternalScorer(self, queries)

    def state_dict(self) -> dict[str, Any]:
        """State of the sampler and of its random stream, after a `flush`."""
        if self.sampler is None:
            return self.pending_state or {}
        self.flush()
        return {
            "format": FORMAT,
            "sampler": self.sampler.state_dict(),
            "rng": self.rng.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state, at once or as soon as a graph is bound."""
        if self.sampler is None:
            self.pending_state = state
        elif state:
            current = "format" in state  # states of format 1 did not say so
            sampler = state["sampler"] if current else convert_modules(state["sampler"])
            self.sampler.load_state_dict(sampler)
            self.rng.set_state(state["rng"])


@dataclass(frozen=True, eq=False)
class ExternalScorer:
    """Scores by the model of a host library, without gradients, one triple per candidate.

    Raises:
        RuntimeError: when called, if the adapter has no `score_triples`.
    """

    adapter: Adapter
    queries: Queries

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        score_triples = self.adapter.score_triples
        if score_triples is None:
            raise RuntimeError(
                "this sampler needs the scores of the model, which it cannot have here; use the "
                "training loop of sparring.integrations for this library, or a sampler that "
                "ignores scores"
            )
        triples = to_triples(self.queries, ids, self.adapter.corruption.num_relations)
        head = self.adapter.predicts_head(self.queries).unsqueeze(1).expand(triples.shape[:2])
        chunks = zip(triples.flatten(0, 1).split(CHUNK), head.flatten().split(CHUNK))
        scores = [score_triples(*chunk) for chunk in chunks]
        return torch.cat(scores).view(triples.shape[:2]).to(ids.device)

    def __getitem__(self, rows: slice) -> "ExternalScorer":
        """The scorer of some of the queries."""
        return ExternalScorer(self.adapter, self.queries[rows])


class ExternalModel(KGEModel):
    """The model of a host library as a `KGEModel`, to evaluate it and to predict with it.

    Args:
        adapter: bound to a graph, with `score_triples` of the model.
    """

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, queries: Queries) -> Scorer:
        """Scores of candidates in evaluation mode, without gradients."""
        return self.adapter.scorer(queries)


def _gradient(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores) if scores.grad is None else scores.grad
