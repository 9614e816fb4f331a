"""A negative sampler offers wrong answers to queries, and may learn from how they fared.

Drawing without replacement, and what to make of draws that repeat themselves.

Where to find a model's vector of each entity.

The distinct queries of the training graph, as rows of a table."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Feedback, Negatives, Queries, Scorer
from sparring.registry import Registry

SAMPLERS = Registry(
    "sampler",
    nested={
        "model": "model",
        "teacher": "pretrained",
        "vectors": "pretrained",
        "doubt": "estimator",
    },
    renamed={"floor": "uniform_mix"},
)


@dataclass(frozen=True)
class Capabilities:
    """What a sampler needs and which densities it knows, before it draws.

    Attributes:
        needs_scores: `sample` calls `score`.
        num_extra_scores: scores per query that `sample` asks of the main model, in addition to
            those of the k negatives.
        has_log_q: negatives come with `log_q`.
        has_answer_log_q: negatives come with `answer_log_q`.
        has_log_prob: `log_prob` is known for any candidates.
    """

    needs_scores: bool = False
    num_extra_scores: int = 0
    has_log_q: bool = True
    has_answer_log_q: bool = True
    has_log_prob: bool = True


NO_DENSITY = Capabilities(has_log_q=False, has_answer_log_q=False, has_log_prob=False)


class NegativeSampler(nn.Module, ABC):
    """Draws candidates for queries. Subclasses implement `sample`; the rest has defaults.

    Args:
        k: candidates offered to each query.

    Raises:
        ValueError: if k is below 1.
    """

    registry = SAMPLERS

    capabilities = Capabilities()
    # numeric attributes that may change while training, with their bounds
    schedulable: tuple[tuple[str, float, float], ...] = ()

    def __init__(self, k: int):
        super().__init__()
        if k < 1:
            raise ValueError(f"a sampler must offer at least one candidate per query; got k={k}")
        self.k = k

    @abstractmethod
    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        """Draw k candidates per query.

        Args:
            score: the main model's opinion, without gradients. Most samplers ignore it.
            rng: the only source of randomness, on the device of the queries.
        """

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        """Log of (expected counted appearances of each id in the list / k); None if unknown."""
        return None

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        """`log_prob` of each query's answer; where it is barred, as if it alone were not.

        Always finite, since a loss that corrects the answer's score by it would else be blind.
        """
        stated = self.log_prob(queries, queries.answer.unsqueeze(1))
        return None if stated is None else stated.squeeze(1)

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        """Learn from one step of the main model; return scalars worth logging."""
        return {}

    def bind_model(self, model: nn.Module) -> None:
        """Meet the main model, once, before training. Its scores are enough for most samplers."""

    def to_negatives(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Negatives:
        """`ids` as negatives, with the density that `log_prob` states."""
        log_q = self.log_prob(queries, ids)
        answer = self.answer_log_prob(queries)
        return Negatives.from_ids(
            queries,
            ids,
            None if log_q is None else log_q.detach(),
            None if answer is None else answer.detach(),
        )


class SamplerWrapper(NegativeSampler, ABC):
    """A sampler that changes what another one drew. Density and feedback pass through."""

    def __init__(self, inner: NegativeSampler, k: int | None = None):
        super().__init__(inner.k if k is None else k)
        self.inner = inner
        self.capabilities = inner.capabilities

    def log_prob(self, queries, ids):
        return self.inner.log_prob(queries, ids)

    def answer_log_prob(self, queries):
        return self.inner.answer_log_prob(queries)

    def observe(self, feedback):
        return self.inner.observe(feedback)

    def bind_model(self, model):
        self.inner.bind_model(model)


def gumbel(like: Float[Tensor, "B C"], rng: torch.Generator) -> Float[Tensor, "B C"]:
    """Noise whose addition to log-weights makes the order one of drawing without replacement."""
    lot = torch.empty_like(like).exponential_(generator=rng)
    return -lot.clamp(min=torch.finfo(like.dtype).tiny).log()


def repeated(ids: Int[Tensor, "B C"]) -> Bool[Tensor, "B C"]:
    """True where an id stands further left in its row already."""
    ascending, order = ids.sort(stable=True)
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ascending[:, 1:] == ascending[:, :-1]
    return torch.zeros_like(again).scatter(1, order, again)


def times(ids: Int[Tensor, "B C"], mask: Bool[Tensor, "B C"]) -> Int[Tensor, "B C"]:
    """How often each id is masked True in its row."""
    ascending, order = ids.sort(stable=True)
    run = torch.zeros_like(ids)
    run[:, 1:] = (ascending[:, 1:] != ascending[:, :-1]).cumsum(1)
    run = torch.zeros_like(ids).scatter(1, order, run)
    return torch.zeros_like(ids).scatter_add(1, run, mask.long()).gather(1, run)


def entity_vectors(model: nn.Module) -> Float[Tensor, "N d"]:
    """The rows of the model's table `entity`, as they are now and without gradients.

    Raises:
        ValueError: if the model has no such table.
    """
    table = getattr(model, "entity", None)
    if not isinstance(table, nn.Embedding):
        raise ValueError(
            f"{type(model).__name__} has no embedding table `entity`, whose rows tell which "
            "entities are alike; use another model, or a sampler that goes by scores"
        )
    return table.weight.detach()
