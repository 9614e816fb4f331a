"""A negative sampler offers wrong answers to queries, and may learn from how they fared."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Feedback, Negatives, Queries, Scorer


class NegativeSampler(nn.Module, ABC):
    """Draws candidates for queries. Subclasses implement `sample`; the rest has defaults.

    Args:
        k: candidates offered to each query.

    Raises:
        ValueError: if k is below 1.
    """

    needs_scores = False  # True where `sample` calls `score`
    states_density = True  # False where `log_q` is None
    states_answer_density = True  # False where only `answer_log_q` is None
    closed_density = True  # False where `log_prob` is None
    extra_scores = 0  # scores per query asked of the main model beyond the k offered
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

    def watch(self, model: nn.Module) -> None:
        """Meet the main model, once, before training. Its scores are enough for most samplers."""

    def offer(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Negatives:
        """`ids` as negatives, with the density that `log_prob` states."""
        log_q = self.log_prob(queries, ids)
        answer = self.answer_log_prob(queries)
        return Negatives.offer(
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
        self.needs_scores, self.states_density = inner.needs_scores, inner.states_density
        self.states_answer_density = inner.states_answer_density
        self.closed_density = inner.closed_density
        self.extra_scores = inner.extra_scores

    def log_prob(self, queries, ids):
        return self.inner.log_prob(queries, ids)

    def answer_log_prob(self, queries):
        return self.inner.answer_log_prob(queries)

    def observe(self, feedback):
        return self.inner.observe(feedback)

    def watch(self, model):
        self.inner.watch(model)
