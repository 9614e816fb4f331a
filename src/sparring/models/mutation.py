"""Hard negatives made in embedding space: vectors of candidates are mixed with other vectors.

A mixed vector is no entity, so it has no probability of being drawn and is neither a fact nor a
false negative. Random numbers come from PyTorch's global generator, as for dropout. `Mutated` is
the model that trains on such vectors.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import EmbeddingScorer, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup
from sparring.models.base import KGEModel
from sparring.registry import Registry, register

VectorScores = Callable[[Tensor], Tensor]  # from vectors [B, K, d] to scores [B, K], no gradients

MUTATORS = Registry("mutator")


class EmbeddingMutator(nn.Module, ABC):
    """Changes candidate vectors. A candidate that is the answer must stay as it is."""

    registry = MUTATORS

    @abstractmethod
    def forward(
        self,
        answer: Float[Tensor, "B 1 d"],
        candidate: Float[Tensor, "B K d"],
        score: VectorScores,
    ) -> Float[Tensor, "B K d"]:
        """The vectors to score in place of the candidates'.

        Args:
            answer: the vector of each query's answer.
            candidate: the vectors of its candidates.
            score: scores of vectors under the model, without gradients.
        """


@register("coordinate-mask")
class CoordinateMask(EmbeddingMutator):
    """Each coordinate is the candidate's with probability `rate`, else the answer's.

    The mutation of Takamoto et al., 2025, "Optimal Embedding Guided Negative Sample Generation for
    Knowledge Graph Link Prediction"; use it with the loss `emu`.

    Args:
        rate: probability of keeping a coordinate of the candidate.

    Raises:
        ValueError: if the rate is not a probability.
    """

    def __init__(self, *, rate: float = 0.5):
        super().__init__()
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be a probability; got {rate}")
        self.rate = rate

    def forward(
        self,
        answer: Float[Tensor, "B 1 d"],
        candidate: Float[Tensor, "B K d"],
        score: VectorScores,
    ) -> Float[Tensor, "B K d"]:
        return torch.where(torch.rand_like(candidate) < self.rate, candidate, answer)


@register("positive-mixup", aliases=["mix-with-answer"])
class PositiveMixup(EmbeddingMutator):
    """Interpolates each candidate with the answer, by a weight from Beta(alpha, beta).

    The positive mixing of Huang et al., 2021, "MixGCF: An Improved Training Method for Graph Neural
    Network-based Recommender Systems", with a Beta instead of a uniform distribution.

    Args:
        alpha, beta: parameters of the distribution of the candidate's weight.

    Raises:
        ValueError: if a parameter is not positive.
    """

    def __init__(self, *, alpha: float = 2.0, beta: float = 1.0):
        super().__init__()
        self.alpha, self.beta = require_positive(alpha), require_positive(beta)

    def forward(
        self,
        answer: Float[Tensor, "B 1 d"],
        candidate: Float[Tensor, "B K d"],
        score: VectorScores,
    ) -> Float[Tensor, "B K d"]:
        return torch.lerp(answer, candidate, beta_weights(candidate, self.alpha, self.beta))


@register("adaptive-mixup", aliases=["mix-by-doubt"])
class AdaptiveMixup(EmbeddingMutator):
    """Mixes likely false negatives with the answer, and other candidates with one another.

    A candidate that scores almost like the answer may be a fact, and mixing it with the answer
    makes it less harmful. The others become harder. Chen et al., 2023, "Negative Sampling with
    Adaptive Denoising Mixup for Knowledge Graph Embedding" (DeMix). Weights come from
    Beta(alpha, alpha).

    Args:
        margin: a candidate whose score is above the answer's less this much is a likely false
            negative.
        alpha: parameter of the distribution of weights.

    Raises:
        ValueError: if alpha is not positive.
    """

    def __init__(self, *, margin: float = 1.0, alpha: float = 1.0):
        super().__init__()
        self.margin, self.alpha = margin, require_positive(alpha)

    def forward(
        self,
        answer: Float[Tensor, "B 1 d"],
        candidate: Float[Tensor, "B K d"],
        score: VectorScores,
    ) -> Float[Tensor, "B K d"]:
        suspect = score(candidate) > score(answer) - self.margin
        shuffled = torch.rand(candidate.shape[:2], device=candidate.device).argsort(1)
        partner = torch.where(suspect.unsqueeze(2), answer, gather_vectors(candidate, shuffled))
        return torch.lerp(partner, candidate, beta_weights(candidate, self.alpha, self.alpha))


@register("hard-mixup", aliases=["mix-hard"])
class HardMixup(EmbeddingMutator):
    """Mixes each candidate with one of the highest-scored candidates of its list.

    Che et al., 2022, "MixKG: Mixing for Harder Negative Samples in Knowledge Graph".

    Args:
        hardest: fraction of the list that partners are drawn from, the highest-scored ones.
        alpha: weights come from Beta(alpha, alpha).

    Raises:
        ValueError: if `hardest` is outside (0, 1], or alpha is not positive.
    """

    def __init__(self, *, hardest: float = 0.25, alpha: float = 1.0):
        super().__init__()
        if not 0 < hardest <= 1:
            raise ValueError(f"hardest must be a fraction in (0, 1]; got {hardest}")
        self.hardest, self.alpha = hardest, require_positive(alpha)

    def forward(
        self,
        answer: Float[Tensor, "B 1 d"],
        candidate: Float[Tensor, "B K d"],
        score: VectorScores,
    ) -> Float[Tensor, "B K d"]:
        size = max(round(self.hardest * candidate.shape[1]), 1)
        best = score(candidate).topk(size, dim=1).indices
        choice = torch.randint(best.shape[1], candidate.shape[:2], device=candidate.device)
        partner = gather_vectors(candidate, best.gather(1, choice))
        return torch.lerp(partner, candidate, beta_weights(candidate, self.alpha, self.alpha))


def beta_weights(like: Float[Tensor, "B K d"], alpha: float, beta: float) -> Float[Tensor, "B K 1"]:
    """One weight from Beta(alpha, beta) for each vector."""
    one = torch.ones_like(like[:, :, :1])
    distribution = torch.distributions.Beta(alpha * one, beta * one, validate_args=False)
    return distribution.sample()


def gather_vectors(
    vectors: Float[Tensor, "B K d"], index: Int[Tensor, "B J"]
) -> Float[Tensor, "B J d"]:
    """The vectors of each list at these positions."""
    return vectors.gather(1, index.unsqueeze(2).expand(-1, -1, vectors.shape[2]))


def require_positive(value: float) -> float:
    """A valid parameter of the Beta distribution.

    Raises:
        ValueError: if it is not positive.
    """
    if value <= 0:
        raise ValueError(f"parameters of the Beta distribution must be positive; got {value}")
    return value


@dataclass(frozen=True, eq=False)
class MutatedScorer:
    """Scores mutated candidate vectors. Mutation leaves the answer as it is.

    Each query has its own mutants, so memory grows with B * K * d, for shared lists too.

    Attributes:
        scorer: the scorer of the inner model.
        answer: the answer of each query.
        mutator: changes the vectors.
    """

    scorer: EmbeddingScorer
    answer: Int[Tensor, "B"]
    mutator: EmbeddingMutator

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores of the mutated vectors of candidates."""
        candidate = self.embeddings(ungroup(ids, len(self.answer)))
        answer = self.embeddings(self.answer.unsqueeze(1))
        score = torch.no_grad()(self.scorer.score_embeddings)
        return self.score_embeddings(self.mutator(answer, candidate, score))

    def __getitem__(self, rows: slice) -> "MutatedScorer":
        """The scorer of the selected queries."""
        return replace(self, scorer=self.scorer[rows], answer=self.answer[rows])

    def embeddings(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates, before mutation."""
        return self.scorer.embeddings(ids)

    def score_embeddings(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors as they are, without mutation."""
        return self.scorer.score_embeddings(vectors)


@register(
    "mutated",
    example={
        "inner": {"name": "complex", "dim": 8},
        "mutator": {"name": "coordinate-mask", "rate": 0.7},
    },
    renamed={"plain": "softmax_weight", "entities": "softmax_negatives"},
)
class Mutated(KGEModel):
    """A model whose candidates are mutated while it trains, and left alone in evaluation.

    Mutation is part of the scorer. So it works with every sampler, and with every loss that does
    not correct for the density of candidates, which mutants do not have. A sampler that asks for
    scores gets those of other mutants of the same candidates.

    Args:
        graph: the training graph.
        inner: the model; a candidate must be one vector to it.
        mutator: changes the candidates' vectors.
        softmax_weight: weight of an additional softmax loss against unmutated, uniformly drawn
            entities (Takamoto et al., 2025); the encoder of the inner model then runs twice.
        softmax_negatives: number of these entities, which the batch shares.

    Raises:
        ValueError: for a negative weight or fewer than one entity, and in training if a candidate
            of the inner model is more than one vector.
    """

    trains_on_entities = False

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: KGEModel,
        mutator: EmbeddingMutator,
        softmax_weight: float = 0.0,
        softmax_negatives: int = 256,
    ):
        super().__init__()
        if softmax_weight < 0 or softmax_negatives < 1:
            raise ValueError(
                "softmax_weight must not be negative, and softmax_negatives at least 1; got "
                f"softmax_weight={softmax_weight}, softmax_negatives={softmax_negatives}"
            )
        self.inner, self.mutator = inner, mutator
        self.softmax_weight, self.softmax_negatives = softmax_weight, softmax_negatives
        self.num_entities = graph.num_entities

    @property
    def entity(self) -> Tensor | nn.Module:
        """The inner model's table of entity vectors, if it has one."""
        return self.inner.entity

    def forward(self, queries: Queries) -> Scorer:
        score = self.inner(queries)
        if not self.training:
            return score
        if not isinstance(score, EmbeddingScorer):
            raise ValueError(
                f"a candidate of {type(self.inner).__name__} is more than one vector, so it cannot "
                "be mutated; use DistMult, ComplEx, RESCAL, TransE or RotatE"
            )
        return MutatedScorer(score, queries.answer, self.mutator)

    def regularization(self, queries: Queries) -> Float[Tensor, ""]:
        inner = self.inner.regularization(queries)
        if not self.softmax_weight:
            return inner
        score = self.inner(queries)
        shape, device = (1, self.softmax_negatives), queries.answer.device
        ids = torch.randint(self.num_entities, shape, device=device)
        negative = score(ids).masked_fill(ids == queries.answer.unsqueeze(1), -torch.inf)
        positive = score(queries.answer.unsqueeze(1))
        loss = torch.cat([positive, negative], 1).logsumexp(1) - positive.squeeze(1)
        return inner + self.softmax_weight * (loss * queries.weight).sum() / queries.weight.sum()

    def after_step(self) -> None:
        self.inner.after_step()
