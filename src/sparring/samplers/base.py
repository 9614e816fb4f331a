"""What every negative sampler is, and what several of them share.

`NegativeSampler` and `SamplerWrapper` are the classes to derive from; `SAMPLERS` knows each sampler
by name. The functions draw without replacement and deal with repeated candidates.
"""

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
        "estimator": "estimator",
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
        num_shared: how many of the k negatives are in lists that several queries share, which cost
            less than own ones.
        has_log_q: negatives come with `log_q`.
        has_answer_log_q: negatives come with `answer_log_q`.
        has_log_prob: `log_prob` is known for any candidates.
    """

    needs_scores: bool = False
    num_extra_scores: int = 0
    num_shared: int = 0
    has_log_q: bool = True
    has_answer_log_q: bool = True
    has_log_prob: bool = True


NO_DENSITY = Capabilities(has_log_q=False, has_answer_log_q=False, has_log_prob=False)


class NegativeSampler(nn.Module, ABC):
    """Draws negatives for queries.

    A new sampler is one class with a name. It implements `sample`, and `log_prob` if the
    probability of a candidate is known; all other methods have defaults::

        @register("log-uniform", example={"k": 5})
        class LogUniform(NegativeSampler):
            \"\"\"Small ids more often: the id plus 1 is log-uniform.\"\"\"

            def __init__(self, graph: TrainGraph, *, k: int):
                super().__init__(k)
                self.num_entities = graph.num_entities

            def sample(self, queries, score, rng):
                shape, device = (len(queries), self.k), queries.anchor.device
                u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
                ids = ((self.num_entities + 1) ** u).long() - 1
                return self.to_negatives(queries, ids)

            def log_prob(self, queries, ids):
                rank = ungroup(ids, len(queries)) + 1
                return (1 / rank).log1p().log() - math.log(math.log(self.num_entities + 1))

    - The constructor takes the training graph and keyword options. Their annotations and defaults
      are the schema of the sampler's table in a configuration; `example` holds the options of
      the small instance that contract tests run on.
    - A sampler without `log_prob`, or one that calls `score`, says so in `capabilities`.
    - Tensors that follow the sampler to a device are buffers. What must survive a checkpoint is
      a persistent buffer, a parameter or part of `get_extra_state`.
    - A sampler that learns implements `observe`, which runs after each step of the main model.
    - `sparring.testing.check_sampler` and `check_density` test the result.

    Args:
        k: negatives per query.

    Attributes:
        capabilities: needs and known densities; an instance may replace those of its class.
        schedulable: numeric attributes that `Curriculum` may change during training, with
            their bounds.

    Raises:
        ValueError: if k is below 1.
    """

    registry = SAMPLERS

    capabilities = Capabilities()
    schedulable: tuple[tuple[str, float, float], ...] = ()

    def __init__(self, k: int):
        super().__init__()
        if k < 1:
            raise ValueError(f"a sampler must offer at least one candidate per query; got k={k}")
        self.k = k

    def arrange(self, queries: Queries) -> Queries:
        """The queries of a training step in the order that suits `sample`; as they are by default.

        For samplers whose queries share a list with their neighbors in the batch.
        """
        return queries

    @abstractmethod
    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        """Draw k candidates per query.

        Args:
            score: scores of the main model for any candidates of these queries, without
                gradients. Most samplers ignore it.
            rng: the only source of randomness, on the device of the queries.
        """

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        """Log-probability that a draw is a candidate and counts; None if it is unknown.

        For draws that depend on each other: log of (expected number of times that the candidate
        counts in a list / k).
        """
        return None

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        """`log_prob` of each query's answer; None if it is unknown.

        It is always finite, because a loss may correct the answer's score by it. Where the answer
        is never drawn, this is the log-probability that it would have as a candidate.
        """
        log_prob = self.log_prob(queries, queries.answer.unsqueeze(1))
        return None if log_prob is None else log_prob.squeeze(1)

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        """Learn from one step of the main model.

        Returns:
            Scalars to log, on the device and without gradients.
        """
        return {}

    def bind_model(self, model: nn.Module) -> None:
        """Receive the main model, once, before training; most samplers do not need it."""

    def to_negatives(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Negatives:
        """`ids` as negatives of the queries, with the densities of `log_prob`."""
        log_q = self.log_prob(queries, ids)
        answer = self.answer_log_prob(queries)
        return Negatives.from_ids(
            queries,
            ids,
            None if log_q is None else log_q.detach(),
            None if answer is None else answer.detach(),
        )


class SamplerWrapper(NegativeSampler, ABC):
    """A sampler that changes the draws of another one. Densities and feedback pass through.

    Args:
        inner: the other sampler.
        k: negatives per query; None for as many as `inner` draws.
    """

    def __init__(self, inner: NegativeSampler, k: int | None = None):
        super().__init__(inner.k if k is None else k)
        self.inner = inner
        self.capabilities = inner.capabilities

    def arrange(self, queries: Queries) -> Queries:
        return self.inner.arrange(queries)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        return self.inner.log_prob(queries, ids)

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        return self.inner.answer_log_prob(queries)

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        return self.inner.observe(feedback)

    def bind_model(self, model: nn.Module) -> None:
        self.inner.bind_model(model)


def gumbel_like(logits: Float[Tensor, "B C"], rng: torch.Generator) -> Float[Tensor, "B C"]:
    """Gumbel noise: sorting `logits` plus noise draws columns without replacement."""
    exponential = torch.empty_like(logits).exponential_(generator=rng)
    return -exponential.clamp(min=torch.finfo(logits.dtype).tiny).log()


def is_repeated(ids: Int[Tensor, "B C"]) -> Bool[Tensor, "B C"]:
    """True where the same id occurs further left in the row."""
    ascending, order = ids.sort(stable=True)
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ascending[:, 1:] == ascending[:, :-1]
    return torch.zeros_like(again).scatter(1, order, again)


def count_occurrences(ids: Int[Tensor, "B C"], mask: Bool[Tensor, "B C"]) -> Int[Tensor, "B C"]:
    """How often each id occurs in its row where the mask is True."""
    ascending, order = ids.sort(stable=True)
    run = torch.zeros_like(ids)
    run[:, 1:] = (ascending[:, 1:] != ascending[:, :-1]).cumsum(1)
    run = torch.zeros_like(ids).scatter(1, order, run)
    return torch.zeros_like(ids).scatter_add(1, run, mask.long()).gather(1, run)


def entity_vectors(model: nn.Module) -> Float[Tensor, "N d"]:
    """The present rows of the model's embedding table `entity`, without gradients.

    Raises:
        ValueError: if the model has no such table.
    """
    table = getattr(model, "entity", None)
    if not isinstance(table, nn.Embedding):
        raise ValueError(
            f"{type(model).__name__} has no embedding table `entity`, whose rows show which "
            "entities are similar; use another model, or a sampler that uses scores"
        )
    return table.weight.detach()
