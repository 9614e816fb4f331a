"""The softmax over true negatives: corrected for what was drawn and for what may be a fact."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.losses.base import (
    Loss,
    average,
    counted,
    known_facts,
    log_mean,
    log_total,
    wide,
)
from sparring.losses.softmax import density, density_at_answer, lowered

DOUBTS = ("each", "count")


class TrueNegativeSoftmax(Loss):
    """Cross-entropy of the answer among true negatives, unbiased for any known density.

    Scores of answer and negatives are lowered by log q. Without doubt about any candidate the
    optimum is the log-probability of the answer, for any K and any sampler that reaches every
    entity.

    Args:
        temperature: scores are divided by it.
        doubt: "each" lets a candidate count by 1 - false_negative. "count" takes off, from the
            sum over candidates, what the missing answers of the query are expected to add: their
            number times the mean of exp(score) over its known answers, which are those the
            sampler shows (`show-known`), or the query's own answer alone.
        missing: with "count", the share of a query's answers that the graph does not know.
        floor: with "count", the share of the sum that always remains.
        correct_answer: without, only negatives are lowered, by log(K q), which needs no density
            at the answer and is right as K grows: the refined form of `Softmax`.

    Raises:
        ValueError: for a doubt of another name, or shares that are none.
    """

    needs_density = True

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        doubt: str = "each",
        missing: float = 0.1,
        floor: float = 0.05,
        correct_answer: bool = True,
    ):
        super().__init__()
        if doubt not in DOUBTS:
            raise ValueError(f"doubt is one of {', '.join(DOUBTS)}; got {doubt!r}")
        if not (0 <= missing < 1 and 0 < floor <= 1):
            raise ValueError(
                "missing is a share below 1 and floor a share above 0; "
                f"got missing={missing} and floor={floor}"
            )
        self.temperature, self.doubt = temperature, doubt
        self.missing, self.floor = missing, floor
        self.needs_answer_density = correct_answer

    def forward(self, positive, negative, negatives, weight):
        answer = wide(positive) / self.temperature
        candidate = wide(negative) / self.temperature
        wrong = self.true_negatives(answer, candidate, negatives)
        drawn = math.log(negative.shape[1])
        lift = density_at_answer(negatives) if self.needs_answer_density else -drawn
        return average(F.softplus(wrong + lift - answer), weight)

    def true_negatives(
        self,
        answer: Float[Tensor, "B"],
        candidate: Float[Tensor, "B K"],
        negatives: Negatives,
    ) -> Float[Tensor, "B"]:
        """Log of K times the sum of exp(score) over true negatives."""
        share = counted(negatives)
        if self.doubt == "each":
            share = share * (1 - negatives.false_negative)
        one = candidate.new_ones(())
        everyone = log_total(lowered(share, density(negatives)), candidate, one)
        if self.doubt == "each" or not self.missing:
            return everyone
        known = known_facts(negatives)
        shown = (known > 0).any(1)
        likeness = torch.where(shown, log_mean(known, candidate), answer)
        count = torch.where(shown, known.sum(1), 1.0) * self.missing / (1 - self.missing)
        expected = likeness + count.log() + math.log(candidate.shape[1])
        rest = -torch.expm1((expected - everyone).clamp(max=0.0))
        return everyone + rest.clamp(min=self.floor).log()
