"""How wrong answers should score against right ones."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Negatives


class Loss(nn.Module, ABC):
    """Compares the scores of right and wrong answers; sees no model, sampler or config.

    Candidates count in proportion to `negatives.weight * negatives.mask`; a query without any
    gets no gradient from its negatives. The result is the mean over queries, by their weight.
    """

    needs_density = False  # True where `negatives.log_q` must be stated

    @abstractmethod
    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """The loss of one batch."""


def attention(
    negative: Float[Tensor, "B K"], negatives: Negatives, temperature: float
) -> Float[Tensor, "B K"]:
    """Each row's share per negative: proportional to weight * exp(temperature * score).

    Shares sum to 1 per row, or to 0 where a row has no usable negative. They carry no gradient.
    """
    share = negatives.weight * negatives.mask
    if temperature:
        tilt = (temperature * negative.detach()).masked_fill(share == 0, -torch.inf)
        top = tilt.amax(1, keepdim=True).clamp(min=torch.finfo(tilt.dtype).min)
        share = share * (tilt - top).exp()
    return share / share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)


def wide(scores: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Scores in float32 or better, so that losses do not round as coarsely as a model may."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def average(rows: Float[Tensor, "B"], weight: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    """Mean by weight."""
    return (rows * weight).sum() / weight.sum()


class Logistic(Loss):
    """Log-sigmoid with margin; every query's negatives weigh as much as its answer.

    Args:
        margin: added to all scores, so that a distance of `margin` is on the fence.
        temperature: above 0, negatives weigh in by softmax of temperature * score, which is
            self-adversarial (Sun et al., 2019); 0 weighs them equally.
    """

    def __init__(self, *, margin: float = 0.0, temperature: float = 0.0):
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, self.temperature)
        right = F.softplus(-positive - self.margin)
        wrong = (share * F.softplus(negative + self.margin)).sum(1)
        return average((right + wrong) / 2, weight)


class SelfAdversarial(Logistic):
    """`Logistic` with the temperature of Sun et al., 2019, on by default."""

    def __init__(self, *, margin: float = 9.0, temperature: float = 1.0):
        super().__init__(margin=margin, temperature=temperature)


class SummedLogistic(Loss):
    """Binary cross-entropy where every negative counts in full, as with 1vsAll and KvsAll."""

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = negatives.weight * negatives.mask
        return average(F.softplus(-positive) + (share * F.softplus(negative)).sum(1), weight)


class MarginRanking(Loss):
    """Mean of max(0, margin + wrong - right) over negatives (Bordes et al., 2013).

    Args:
        temperature: as in `Logistic`.
    """

    def __init__(self, *, margin: float = 1.0, temperature: float = 0.0):
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, self.temperature)
        gap = F.relu(negative - positive.unsqueeze(1) + self.margin)
        return average((share * gap).sum(1), weight)


CORRECTIONS = ("none", "negatives", "both")


class Softmax(Loss):
    """Cross-entropy of the answer among its negatives: InfoNCE (van den Oord et al., 2018).

    Args:
        temperature: scores are divided by it.
        learn_temperature: train it; it stays positive.
        correction: "none" adds up the candidates as they are. "negatives" lowers each negative
            by log(K q), so that the candidates stand in for all entities (Bengio & Senecal,
            2008): right as K grows. "both" lowers answer and negatives by log q, which has the
            log-probability of the answer as its optimum for any K (Ma & Collins, 2018).

    Raises:
        ValueError: for a correction of another name, a temperature that is not positive, or
            negatives that do not state the density needed.
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        correction: str = "none",
    ):
        super().__init__()
        if correction not in CORRECTIONS:
            raise ValueError(
                f"softmax correction is one of {', '.join(CORRECTIONS)}; got {correction!r}"
            )
        if temperature <= 0:
            raise ValueError(f"softmax temperature must be above 0; got {temperature}")
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature)), requires_grad=learn_temperature
        )
        self.correction = correction
        self.needs_density = correction != "none"

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        cold = (-self.log_temperature).exp()
        positive = positive * cold - self.lift(negatives)
        # log of a share of 0 is -inf: what does not count adds nothing to the sum
        bias = (negatives.weight * negatives.mask).log() - self.shift(negatives)
        # a row of -inf only would give NaN gradients; the lowest number adds nothing either
        empty = bias.amax(1) == -torch.inf
        bias[:, 0] = torch.where(empty, torch.finfo(bias.dtype).min, bias[:, 0])
        everyone = torch.addcmul(bias, negative, cold).logsumexp(1)
        return average(F.softplus(everyone - positive), weight)

    def shift(self, negatives: Negatives) -> Tensor | float:
        """What to take off the scores of negatives."""
        if self.correction == "none":
            return 0.0
        if negatives.log_q is None:
            raise ValueError(
                "softmax correction needs log_q, but this sampler states no density; use "
                'correction = "none" or a sampler that does'
            )
        drawn = math.log(negatives.log_q.shape[1]) if self.correction == "negatives" else 0.0
        return negatives.log_q + drawn

    def lift(self, negatives: Negatives) -> Tensor | float:
        """What to take off the scores of answers."""
        if self.correction != "both":
            return 0.0
        if negatives.answer_log_q is None:
            raise ValueError(
                'softmax correction "both" needs the density at the answer, which this sampler '
                'does not state; use "negatives" or "none"'
            )
        return negatives.answer_log_q


LOSSES = {
    "logistic": Logistic,
    "margin": MarginRanking,
    "self-adversarial": SelfAdversarial,
    "softmax": Softmax,
    "summed-logistic": SummedLogistic,
}
