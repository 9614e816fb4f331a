"""Ways to change the vectors of wrong answers, so that they are harder to tell from right ones.

What comes out is no entity: nobody can say how likely it was drawn, or whether it is a fact.
Randomness is that of the global stream, as with dropout.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Judge = Callable[[Tensor], Tensor]


class EmbeddingMutator(nn.Module, ABC):
    """Changes candidate vectors. A candidate that is the answer stays as it is."""

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


class MixWithAnswer(EmbeddingMutator):
    """share * candidate + (1 - share) * answer, with a share from Beta(alpha, beta) for each."""

    def __init__(self, *, alpha: float = 2.0, beta: float = 1.0):
        super().__init__()
        self.alpha, self.beta = above_zero(alpha), above_zero(beta)

    def forward(self, answer, candidate, judge):
        return torch.lerp(answer, candidate, shares(candidate, self.alpha, self.beta))


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


MUTATORS = {
    "coordinate-mask": CoordinateMask,
    "mix-by-doubt": MixByDoubt,
    "mix-hard": MixHard,
    "mix-with-answer": MixWithAnswer,
}


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
