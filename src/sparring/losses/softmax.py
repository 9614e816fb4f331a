"""Losses that compare the answer with all its negatives at once: a softmax over candidates."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.losses.base import (
    Loss,
    effective_weight,
    known_fact_weight,
    log_importance_weights,
    log_mean_exp,
    log_prior,
    log_sub_exp,
    log_sum_exp,
    require_answer_log_q,
    require_log_q,
    softmax_weights,
    to_float32,
    validate_prior,
    validate_smoothing,
    weighted_mean,
)
from sparring.registry import Alias, register

CORRECTIONS = ("none", "negatives", "both", "refined")


@register(
    "sampled-softmax",
    aliases={
        "softmax": Alias(),
        "smoothed-softmax": Alias(
            implied={"label_smoothing": 0.1}, renamed={"smoothing": "label_smoothing"}
        ),
        "emu": Alias(implied={"negative_target": 0.5}, renamed={"beta": "negative_target"}),
    },
)
class SampledSoftmax(Loss):
    """Cross-entropy of the answer among its negatives: InfoNCE (van den Oord et al., 2018).

    With all entities as negatives it is the full softmax, 1vsAll. With `kvs-all` and queries that
    weigh 1 / answers (a corruption with `subsampling = 1` and `subsampling_method = "uniq"`) it
    is the KvsAll whose labels sum to one.

    Args:
        temperature: scores are divided by it.
        learn_temperature: train it; it stays positive.
        correction: "none" sums over the candidates as they are. "negatives" lowers each negative
            by log(K q), so that the candidates stand for all entities (Bengio & Senecal, 2008):
            right as K grows. "both" lowers answer and negatives by log q, which has the
            log-probability of the answer as its optimum for any K (Ma & Collins, 2018), up to the
            probability of drawing the answer itself, which never counts as a negative.
            "refined" weighs the corrected log-ratio of negatives to answer by the estimated
            probability of a mistake (Correcting the LogQ Correction, RecSys 2025). Since the
            answer never counts as a negative here, that has the gradient of "negatives".
        label_smoothing: the target is 1 - label_smoothing for the answer, and label_smoothing / K
            for each candidate and the answer, scaled to sum to one.
        compat: the target of each candidate is 1 / K, as in LibKGE (Ruffinelli et al., 2020).
        negative_target: added to the target of each negative, so that the answer may win by a
            factor of 1 / negative_target and no more. For negatives that share coordinates with
            the answer, as `mutated` models make them (Takamoto et al., 2025).

    Raises:
        ValueError: for an unknown correction, a temperature that is not positive, or targets that
            are out of range.
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        correction: str = "none",
        label_smoothing: float = 0.0,
        compat: bool = False,
        negative_target: float = 0.0,
    ):
        super().__init__()
        if correction not in CORRECTIONS:
            raise ValueError(f"correction is one of {', '.join(CORRECTIONS)}; got {correction!r}")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0; got {temperature}")
        if negative_target < 0:
            raise ValueError(f"negative_target must not be below 0; got {negative_target}")
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature)), requires_grad=learn_temperature
        )
        self.correction = correction
        self.needs_log_q = correction != "none"
        self.needs_answer_log_q = correction == "both"
        self.label_smoothing, self.compat = validate_smoothing(label_smoothing), compat
        self.negative_target = negative_target
        self.soft_labels = compat or label_smoothing > 0 or negative_target > 0

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        # "emu" and "smoothed-softmax" had no temperature before they became options of this class
        state_dict.setdefault(f"{prefix}log_temperature", self.log_temperature.detach())
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        scale = (-self.log_temperature).exp()
        positive, negative = to_float32(positive) * scale, to_float32(negative)
        share = effective_weight(negatives)
        others = log_sum_exp(self.bias(share, negatives), negative, scale)
        rows = F.softplus(others - (positive - self.answer_shift(negatives)))
        if self.soft_labels:
            target = self.negative_targets(share)
            rows = rows - (target * (negative * scale - positive.unsqueeze(1))).sum(1)
        return weighted_mean(rows, weight)

    def bias(self, share: Float[Tensor, "B K"], negatives: Negatives) -> Float[Tensor, "B K"]:
        """What to add to the scores of negatives: log of how much they count, less log q."""
        if self.correction == "none":
            return share.log()  # log of a share of 0 is -inf, which adds nothing to a sum
        log_k = 0.0 if self.correction == "both" else math.log(share.shape[1])
        return log_importance_weights(share, require_log_q(negatives) + log_k)

    def answer_shift(self, negatives: Negatives) -> Tensor | float:
        """What to subtract from the scores of answers."""
        return require_answer_log_q(negatives) if self.correction == "both" else 0.0

    def negative_targets(self, share: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """The target probability of each negative; that of the answer is the rest of 1."""
        label = (1.0 if self.compat else self.label_smoothing) / share.shape[1]
        target = (label + self.negative_target) * share
        return target / (1 - self.label_smoothing + label + target.sum(1, keepdim=True))


@register(
    "hard-debiased",
    aliases={"debiased": Alias(implied={"hardness": 0.0})},
    renamed={"lowest": "min_score"},
)
class HardDebiased(Loss):
    """Softmax over hard negatives, less the facts expected among them (Robinson et al., 2021).

    With u the mean of exp(score) over negatives and p = exp(score) of the answer, true negatives
    are estimated as (u - prior * p) / (1 - prior), and count K times. With a hardness of 0 it is
    the debiased loss of Chuang et al., 2020.

    Args:
        prior: share of candidates that are facts. Hard samplers draw more of these than uniform
            ones, so it depends on the sampler as much as on the graph.
        hardness: negatives are weighted by softmax of hardness * score / temperature, without
            gradient.
        temperature: scores are divided by it.
        min_score: least score that the model can give, -1 for cosines; the estimate does not fall
            below it. None for models without such a limit.

    Raises:
        ValueError: if the prior is not at least 0 and below 1.
    """

    def __init__(
        self,
        *,
        prior: float = 1e-3,
        hardness: float = 1.0,
        temperature: float = 1.0,
        min_score: float | None = None,
    ):
        super().__init__()
        self.prior, self.hardness = validate_prior(prior), hardness
        self.temperature, self.min_score = temperature, min_score

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive = to_float32(positive) / self.temperature
        negative = to_float32(negative) / self.temperature
        share = effective_weight(negatives)
        drawn = log_mean_exp(softmax_weights(share, negative, self.hardness), negative)
        wrong = log_sub_exp(drawn, positive + log_prior(self.prior)) - math.log1p(-self.prior)
        if self.min_score is not None:
            wrong = wrong.clamp(min=self.min_score / self.temperature)
        return weighted_mean(F.softplus(share.sum(1).log() + wrong - positive), weight)


@register("hasa")
class HaSa(Loss):
    """Softmax over hard negatives, less the candidates that may be facts (Zhang et al., 2024).

    With u the mean of exp(score) over negatives and f over possible false negatives, both by
    softmax weights, true negatives are estimated as (u - prior * f) / (1 - prior), or 0, and count
    `count` times. Possible false negatives are candidates with a `p_false_negative` above 0, in
    proportion to it.

    Args:
        prior: share of candidates that are facts.
        hardness: weights are the softmax of hardness * score, without gradient.
        margin: subtracted from the score of the answer.
        count: how often the mean negative counts; None for the number of negatives.
        compat: as in the reference code, weights are the softmax of scores scaled to length 1,
            which makes them almost equal, and `count` is 500, the width of its vectors.

    Raises:
        ValueError: if the prior is not at least 0 and below 1.
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
        self.prior, self.hardness, self.margin = validate_prior(prior), hardness, margin
        self.count = 500.0 if compat and count is None else count
        self.compat = compat

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive) - self.margin, to_float32(negative)
        share = effective_weight(negatives)
        suspect = negatives.weight * negatives.p_false_negative
        suspect = suspect * (negatives.mask | (negatives.p_false_negative == 1))
        logit = unit_rows(negative * (share + suspect > 0)) if self.compat else negative
        drawn = log_mean_exp(softmax_weights(share, logit, self.hardness), negative)
        facts = log_mean_exp(softmax_weights(suspect, logit, self.hardness), negative)
        wrong = log_sub_exp(drawn, facts + log_prior(self.prior)) - math.log1p(-self.prior)
        times = share.sum(1).log() if self.count is None else math.log(self.count)
        return weighted_mean(F.softplus(times + wrong - positive), weight)


def unit_rows(scores: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Each row scaled to length 1, without gradient."""
    return F.normalize(scores.detach(), dim=1)


REMOVALS = ("each", "count")


@register(
    "true-negative-softmax",
    renamed={"doubt": "false_negatives", "missing": "missing_rate", "floor": "min_share"},
)
class TrueNegativeSoftmax(Loss):
    """Cross-entropy of the answer among true negatives, unbiased for any known density.

    Scores of answer and negatives are lowered by log q. Where no candidate may be a false negative
    the optimum is the log-probability of the answer, for any K and any sampler that reaches every
    entity.

    Args:
        temperature: scores are divided by it.
        false_negatives: how they are taken out. "each" lets a candidate count by
            1 - p_false_negative. "count" subtracts, from the sum over candidates, what the missing
            answers of the query are expected to add: their number times the mean of exp(score)
            over its known answers. These are the ones that the sampler lists (`with-positives`),
            or the query's own answer alone.
        missing_rate: with "count", the share of a query's answers that the graph does not know.
        min_share: with "count", the share of the sum that always remains.
        correct_answer: if False, only negatives are lowered, by log(K q), which needs no density
            at the answer and is right as K grows: `SampledSoftmax` with correction "refined".

    Raises:
        ValueError: for an unknown value of `false_negatives`, or shares that are out of range.
    """

    needs_log_q = True

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        false_negatives: str = "each",
        missing_rate: float = 0.1,
        min_share: float = 0.05,
        correct_answer: bool = True,
    ):
        super().__init__()
        if false_negatives not in REMOVALS:
            raise ValueError(
                f"false_negatives is one of {', '.join(REMOVALS)}; got {false_negatives!r}"
            )
        if not (0 <= missing_rate < 1 and 0 < min_share <= 1):
            raise ValueError(
                "missing_rate must be at least 0 and below 1, and min_share above 0 and at most 1; "
                f"got missing_rate={missing_rate} and min_share={min_share}"
            )
        self.temperature, self.false_negatives = temperature, false_negatives
        self.missing_rate, self.min_share = missing_rate, min_share
        self.needs_answer_log_q = correct_answer

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        answer = to_float32(positive) / self.temperature
        candidate = to_float32(negative) / self.temperature
        wrong = self.log_true_negatives(answer, candidate, negatives)
        log_k = math.log(negative.shape[1])
        shift = require_answer_log_q(negatives) if self.needs_answer_log_q else -log_k
        return weighted_mean(F.softplus(wrong + shift - answer), weight)

    def log_true_negatives(
        self,
        answer: Float[Tensor, "B"],
        candidate: Float[Tensor, "B K"],
        negatives: Negatives,
    ) -> Float[Tensor, "B"]:
        """Log of K times the sum of exp(score) over true negatives."""
        share = effective_weight(negatives)
        if self.false_negatives == "each":
            share = share * (1 - negatives.p_false_negative)
        one = candidate.new_ones(())
        total = log_sum_exp(log_importance_weights(share, require_log_q(negatives)), candidate, one)
        if self.false_negatives == "each" or not self.missing_rate:
            return total
        known = known_fact_weight(negatives)
        listed = (known > 0).any(1)
        fact = torch.where(listed, log_mean_exp(known, candidate), answer)
        count = torch.where(listed, known.sum(1), 1.0) * self.missing_rate / (1 - self.missing_rate)
        expected = fact + count.log() + math.log(candidate.shape[1])
        rest = -torch.expm1((expected - total).clamp(max=0.0))
        return total + rest.clamp(min=self.min_share).log()
