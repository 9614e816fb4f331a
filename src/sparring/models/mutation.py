"""Ways to change the vectors of wrong answers, so that they are harder to tell from right ones.

What comes out is no entity: nobody can say how likely it was drawn, or whether it is a fact.
Randomness is that of the global stream, as with dropout.

A main model that is trained against mutants of wrong answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import EmbeddingScorer, ungroup
from sparring.data.graph import TrainGraph
from sparring.models.base import KGEModel
from sparring.registry import Registry, register

Judge = Callable[[Tensor], Tensor]


MUTATORS = Registry("mutator")


class EmbeddingMutator(nn.Module, ABC):
    """Changes candidate vectors. A candidate that is the answer stays as it is."""

    registry = MUTATORS

    @abstractmethod
    def forward(
        self,
        answer: Float[Tensor, "B 1 d"],
        candidate: Float[Tensor, "B K d"],
        judge: Judge,
    ) -> Float[Tensor, "B K d"]:
        """The vectors to score in place of the candidates'.

        Args:
            judge: scores of vectors [B, K, d], without gradients.
        """


@register("coordinate-mask")
class CoordinateMask(EmbeddingMutator):
    """Each coordinate is the candidate's with probability `rate`, else the answer's.

    The mutation of Takamoto et al., 2025, "Optimal Embedding Guided Negative Sample Generation";
    for the loss `emu`.

    Raises:
        ValueError: if the rate is no probability.
    """

    def __init__(self, *, rate: float = 0.5):
        super().__init__()
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate of kept coordinates is a probability; got {rate}")
        self.rate = rate

    def forward(self, answer, candidate, judge):
        return torch.where(torch.rand_like(candidate) < self.rate, candidate, answer)


@register("mix-with-answer")
class MixWithAnswer(EmbeddingMutator):
    """share * candidate + (1 - share) * answer, with a share from Beta(alpha, beta) for each."""

    def __init__(self, *, alpha: float = 2.0, beta: float = 1.0):
        super().__init__()
        self.alpha, self.beta = above_zero(alpha), above_zero(beta)

    def forward(self, answer, candidate, judge):
        return torch.lerp(answer, candidate, shares(candidate, self.alpha, self.beta))


@register("mix-by-doubt")
class MixByDoubt(EmbeddingMutator):
    """Candidates that score almost like the answer are mixed with it, others with one another.

    The first may be facts, and a mixture with the answer does them less harm; the second become
    harder (DeMix, Chen et al., 2023). Shares come from Beta(alpha, alpha).

    Args:
        margin: a candidate that scores above the answer less this much may be a fact.
    """

    def __init__(self, *, margin: float = 1.0, alpha: float = 1.0):
        super().__init__()
        self.margin, self.alpha = margin, above_zero(alpha)

    def forward(self, answer, candidate, judge):
        doubtful = judge(candidate) > judge(answer) - self.margin
        turn = torch.rand(candidate.shape[:2], device=candidate.device).argsort(1)
        partner = torch.where(doubtful.unsqueeze(2), answer, picked(candidate, turn))
        return torch.lerp(partner, candidate, shares(candidate, self.alpha, self.alpha))


@register("mix-hard")
class MixHard(EmbeddingMutator):
    """Each candidate is mixed with one of the best-scored of its list (MixKG, Che et al., 2022).

    Args:
        hardest: share of the list to choose partners from.
        alpha: shares of the mixture come from Beta(alpha, alpha).

    Raises:
        ValueError: if the share of the hardest is none.
    """

    def __init__(self, *, hardest: float = 0.25, alpha: float = 1.0):
        super().__init__()
        if not 0 < hardest <= 1:
            raise ValueError(f"the hardest are a share above 0 of the list; got {hardest}")
        self.hardest, self.alpha = hardest, above_zero(alpha)

    def forward(self, answer, candidate, judge):
        size = candidate.shape[1]
        best = judge(candidate).topk(max(round(self.hardest * size), 1), dim=1).indices
        lot = torch.randint(best.shape[1], candidate.shape[:2], device=candidate.device)
        partner = picked(candidate, best.gather(1, lot))
        return torch.lerp(partner, candidate, shares(candidate, self.alpha, self.alpha))


def shares(like: Float[Tensor, "B K d"], alpha: float, beta: float) -> Float[Tensor, "B K 1"]:
    """A share from Beta(alpha, beta) for each vector."""
    one = torch.ones_like(like[:, :, :1])
    beta_law = torch.distributions.Beta(alpha * one, beta * one, validate_args=False)
    return beta_law.sample()


def picked(rows: Float[Tensor, "B K d"], place: Tensor) -> Float[Tensor, "B K d"]:
    """Vectors of each list in the order of their places."""
    return rows.gather(1, place.unsqueeze(2).expand(-1, -1, rows.shape[2]))


def above_zero(value: float) -> float:
    """A parameter of the Beta distribution, if it can be one."""
    if value <= 0:
        raise ValueError(f"parameters of the Beta distribution are above 0; got {value}")
    return value


@dataclass(frozen=True, eq=False)
class MutatedScorer:
    """Scores mutants of the candidates; an answer has no mutants but itself.

    Memory grows with B * K * d, since each query has mutants of its own.
    """

    scorer: EmbeddingScorer
    answer: Int[Tensor, "B"]
    mutator: EmbeddingMutator

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        candidate = self.vectors(ungroup(ids, len(self.answer)))
        answer = self.vectors(self.answer.unsqueeze(1))
        judge = torch.no_grad()(self.scorer.at)
        return self.scorer.at(self.mutator(answer, candidate, judge))

    def __getitem__(self, rows: slice) -> "MutatedScorer":
        """The scorer of the chosen queries."""
        return replace(self, scorer=self.scorer[rows], answer=self.answer[rows])

    def vectors(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates, before any mutation."""
        return self.scorer.vectors(ids)

    def at(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors as they are."""
        return self.scorer.at(vectors)


@register(
    "mutated",
    example={
        "inner": {"name": "complex", "dim": 8},
        "mutator": {"name": "coordinate-mask", "rate": 0.7},
    },
)
class Mutated(KGEModel):
    """A model whose candidates are mutated while it trains, and left alone when it is judged.

    Mutation is part of the scorer, so that any sampler and any loss will do, but those losses
    that correct for a density, which mutants do not have. Samplers that ask for scores are told
    those of other mutants of the same candidates.

    Args:
        inner: the model; its candidates must be vectors, and nothing else.
        mutator: how candidates are changed.
        plain: weight of a cross-entropy against real entities, uniformly drawn, in addition to
            the loss (Takamoto et al., 2025); the encoder then runs twice.
        entities: how many of these the batch shares.

    Raises:
        ValueError: if a candidate of the inner model is more than one vector.
    """

    trains_on_entities = False

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: KGEModel,
        mutator: EmbeddingMutator,
        plain: float = 0.0,
        entities: int = 256,
    ):
        super().__init__()
        if plain < 0 or entities < 1:
            raise ValueError(
                "real entities are at least one, and their weight is not below 0; "
                f"got entities={entities}, plain={plain}"
            )
        self.inner, self.mutator = inner, mutator
        self.plain, self.entities = plain, entities
        self.num_entities = graph.num_entities

    @property
    def entity(self) -> Tensor | nn.Module:
        """The inner model's table of entity vectors, if it has one."""
        return self.inner.entity

    def forward(self, queries):
        score = self.inner(queries)
        if not self.training:
            return score
        if not isinstance(score, EmbeddingScorer):
            raise ValueError(
                f"{type(self.inner).__name__} knows more of a candidate than one vector, so "
                "there is nothing to mutate; use DistMult, ComplEx, RESCAL, TransE or RotatE"
            )
        return MutatedScorer(score, queries.answer, self.mutator)

    def regularization(self, queries):
        inner = self.inner.regularization(queries)
        if not self.plain:
            return inner
        score = self.inner(queries)
        shape, device = (1, self.entities), queries.answer.device
        ids = torch.randint(self.num_entities, shape, device=device)
        wrong = score(ids).masked_fill(ids == queries.answer.unsqueeze(1), -torch.inf)
        right = score(queries.answer.unsqueeze(1))
        surprise = torch.cat([right, wrong], 1).logsumexp(1) - right.squeeze(1)
        return inner + self.plain * (surprise * queries.weight).sum() / queries.weight.sum()

    def after_step(self):
        self.inner.after_step()
