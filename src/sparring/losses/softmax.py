"""Losses that ask which of the answer and its negatives is right."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.losses.base import Loss, average, counted, log_total, stated, wide

CORRECTIONS = ("none", "negatives", "both", "refined")


class Softmax(Loss):
    """Cross-entropy of the answer among its negatives: InfoNCE (van den Oord et al., 2018).

    Args:
        temperature: scores are divided by it.
        learn_temperature: train it; it stays positive.
        correction: "none" adds up the candidates as they are. "negatives" lowers each negative
            by log(K q), so that the candidates stand in for all entities (Bengio & Senecal,
            2008): right as K grows. "both" lowers answer and negatives by log q, which has the
            log-probability of the answer as its optimum for any K (Ma & Collins, 2018), up to the
            probability of drawing the answer itself, which never counts as a negative.
            "refined" weighs the corrected log-ratio of negatives to answer by the estimated
            probability of a mistake (Correcting the LogQ Correction, RecSys 2025); where the
            answer never counts as a negative, as here, that is the gradient of "negatives".

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
        self.needs_answer_density = correction == "both"

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        cold = (-self.log_temperature).exp()
        positive = positive * cold - self.lift(negatives)
        everyone = log_total(self.bias(negatives), negative, cold)
        return average(F.softplus(everyone - positive), weight)

    def bias(self, negatives: Negatives) -> Float[Tensor, "B K"]:
        """What to add to the scores of negatives: log of how much they count, less log q."""
        share = counted(negatives)
        if self.correction == "none":
            return share.log()  # log of a share of 0 is -inf: it adds nothing to a sum
        drawn = 0.0 if self.correction == "both" else math.log(share.shape[1])
        return lowered(share, density(negatives) + drawn)

    def lift(self, negatives: Negatives) -> Tensor | float:
        """What to take off the scores of answers."""
        return density_at_answer(negatives) if self.correction == "both" else 0.0


def lowered(share: Float[Tensor, "B K"], log_q: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Log of share / q; -inf where nothing counts, whatever the density there."""
    return share.log() - log_q.clamp(min=torch.finfo(log_q.dtype).min)


def density(negatives: Negatives) -> Float[Tensor, "B K"]:
    """Log-density of the candidates."""
    return stated(
        negatives.log_q,
        "a correction needs log_q",
        'use a sampler that does, or a loss without (softmax with correction = "none")',
    )


def density_at_answer(negatives: Negatives) -> Float[Tensor, "B"]:
    """Log-density of the answers."""
    return stated(
        negatives.answer_log_q,
        "correcting the answer needs its log_q",
        "use a sampler that does, or correct only the negatives (softmax with correction = "
        '"negatives")',
    )
