"""Losses that ask which of the answer and its negatives is right.

The softmax over true negatives: corrected for what was drawn and for what may be a fact."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.losses.base import (
    Loss,
    average,
    below_one,
    counted,
    density,
    density_at_answer,
    known_facts,
    log_mean,
    log_minus,
    log_or_lowest,
    log_total,
    lowered,
    share_of_one,
    tilted,
    wide,
)
from sparring.registry import register

CORRECTIONS = ("none", "negatives", "both", "refined")


@register("softmax")
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
        self.needs_log_q = correction != "none"
        self.needs_answer_log_q = correction == "both"

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


@register("smoothed-softmax")
class SmoothedSoftmax(Loss):
    """Cross-entropy with smoothed labels, the divergence from them up to a constant.

    With `all-entities` it is 1vsAll; with queries that weigh 1 / answers as well (sides with
    `subsampling = 1, kind = "uniq"`), the KvsAll whose labels sum to one.

    Args:
        compat: labels as in LibKGE, (1 - smoothing) y + 1 / K, scaled to sum to one.
    """

    def __init__(self, *, smoothing: float = 0.1, compat: bool = False):
        super().__init__()
        self.smoothing, self.compat = share_of_one(smoothing), compat

    def forward(self, positive, negative, negatives, weight):
        label = (1.0 if self.compat else self.smoothing) / negative.shape[1]
        right = 1 - self.smoothing + label
        return soft_cross_entropy(positive, negative, counted(negatives), right, label, weight)


@register("emu")
class Emu(Loss):
    """Cross-entropy whose target gives the answer 1 and every negative `beta`, scaled to sum 1.

    For negatives that share coordinates with the answer, as `mutated` models make them: the
    answer may win by a factor of 1 / beta and no more (Takamoto et al., 2025).
    """

    def __init__(self, *, beta: float = 0.5):
        super().__init__()
        if beta < 0:
            raise ValueError(f"the target of a negative must not be below 0; got beta={beta}")
        self.beta = beta

    def forward(self, positive, negative, negatives, weight):
        return soft_cross_entropy(positive, negative, counted(negatives), 1.0, self.beta, weight)


def soft_cross_entropy(
    positive: Float[Tensor, "B"],
    negative: Float[Tensor, "B K"],
    share: Float[Tensor, "B K"],
    right: float,
    wrong: float,
    weight: Float[Tensor, "B"],
) -> Float[Tensor, ""]:
    """Softmax cross-entropy with targets in proportion to `right` and wrong * share."""
    positive, negative = wide(positive), wide(negative)
    target = wrong * share
    target = target / (right + target.sum(1, keepdim=True))
    gap = log_total(share.log(), negative, negative.new_ones(())) - positive
    lead = negative - positive.unsqueeze(1)
    return average(F.softplus(gap) - (target * lead).sum(1), weight)


@register("hard-debiased")
class HardDebiased(Loss):
    """Softmax loss on hard negatives, less the share of true facts expected among them.

    With u = mean of exp(score) over negatives and p = exp(score) of the answer, true negatives
    are estimated as (u - prior * p) / (1 - prior), and count K times (Robinson et al., 2021).

    Args:
        prior: share of candidates that are in truth facts. Hard samplers draw more of these
            than uniform ones, so it belongs to the sampler as much as to the graph.
        hardness: negatives weigh in by softmax of hardness * score / temperature, without
            gradient.
        temperature: scores are divided by it.
        lowest: least score that the model can give, -1 for cosines; the estimate does not fall
            below it. None for models without such a limit.
    """

    def __init__(
        self,
        *,
        prior: float = 1e-3,
        hardness: float = 1.0,
        temperature: float = 1.0,
        lowest: float | None = None,
    ):
        super().__init__()
        self.prior, self.hardness = below_one(prior), hardness
        self.temperature, self.lowest = temperature, lowest

    def forward(self, positive, negative, negatives, weight):
        positive = wide(positive) / self.temperature
        negative = wide(negative) / self.temperature
        share = counted(negatives)
        drawn = log_mean(tilted(share, negative, self.hardness), negative)
        wrong = log_minus(drawn, positive + log_or_lowest(self.prior)) - math.log1p(-self.prior)
        if self.lowest is not None:
            wrong = wrong.clamp(min=self.lowest / self.temperature)
        return average(F.softplus(share.sum(1).log() + wrong - positive), weight)


@register("debiased")
class Debiased(HardDebiased):
    """`HardDebiased` with all negatives alike (Chuang et al., 2020)."""

    def __init__(
        self, *, prior: float = 1e-3, temperature: float = 1.0, lowest: float | None = None
    ):
        super().__init__(prior=prior, hardness=0.0, temperature=temperature, lowest=lowest)


@register("hasa")
class HaSa(Loss):
    """Softmax loss on hard negatives, less the candidates suspected to be facts.

    With u = mean of exp(score) over negatives and f over the suspects, both by softmax weights,
    true negatives are estimated as (u - prior * f) / (1 - prior), or 0, and count `count` times.
    Suspects are candidates with a `p_false_negative` above 0, in proportion to it (Zhang et al.,
    2024, "Learning Hard and Structure-aware ...").

    Args:
        prior: share of candidates that are in truth facts.
        hardness: weights are the softmax of hardness * score, without gradient.
        margin: taken off the score of the answer.
        count: how often the mean negative counts; None for the number of negatives.
        compat: as in the reference code, weights are the softmax of scores scaled to length 1,
            which makes them almost equal, and `count` is 500, the width of its vectors.
    """

    def __init__(
        self,
        *,
        prior: float = 1e-4,
        hardness: float = 1.0,
        margin: float = 1.0,
        count: float | None = None,
        compat: bool = False,
    ):
        super().__init__()
        self.prior, self.hardness, self.margin = below_one(prior), hardness, margin
        self.count = 500.0 if compat and count is None else count
        self.compat = compat

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive) - self.margin, wide(negative)
        share = counted(negatives)
        suspect = negatives.weight * negatives.p_false_negative
        suspect = suspect * (negatives.mask | (negatives.p_false_negative == 1))
        judged = unit_rows(negative * (share + suspect > 0)) if self.compat else negative
        drawn = log_mean(tilted(share, judged, self.hardness), negative)
        facts = log_mean(tilted(suspect, judged, self.hardness), negative)
        wrong = log_minus(drawn, facts + log_or_lowest(self.prior)) - math.log1p(-self.prior)
        times = share.sum(1).log() if self.count is None else math.log(self.count)
        return average(F.softplus(times + wrong - positive), weight)


def unit_rows(scores: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Each row scaled to length 1, without gradient."""
    return F.normalize(scores.detach(), dim=1)


DOUBTS = ("each", "count")


@register("true-negative-softmax")
class TrueNegativeSoftmax(Loss):
    """Cross-entropy of the answer among true negatives, unbiased for any known density.

    Scores of answer and negatives are lowered by log q. Without doubt about any candidate the
    optimum is the log-probability of the answer, for any K and any sampler that reaches every
    entity.

    Args:
        temperature: scores are divided by it.
        doubt: "each" lets a candidate count by 1 - p_false_negative. "count" takes off, from the
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

    needs_log_q = True

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
        self.needs_answer_log_q = correct_answer

    def forward(self, positive, negative, negatives, weight):
        answer = wide(positive) / self.temperature
        candidate = wide(negative) / self.temperature
        wrong = self.true_negatives(answer, candidate, negatives)
        drawn = math.log(negative.shape[1])
        lift = density_at_answer(negatives) if self.needs_answer_log_q else -drawn
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
            share = share * (1 - negatives.p_false_negative)
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
