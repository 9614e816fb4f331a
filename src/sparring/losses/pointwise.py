"""Losses that look at every score by itself: is this answer right or wrong?"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.losses.base import (
    Loss,
    adversarial_weights,
    combine_terms,
    effective_weight,
    known_fact_weight,
    log_sum_exp,
    require_answer_log_q,
    require_log_q,
    to_float32,
    validate_prior,
    validate_smoothing,
    weighted_mean,
)
from sparring.registry import Alias, register


@register(
    "nssa",
    example={"margin": 1.0, "adversarial_temperature": 0.5},
    aliases={
        "logistic": Alias(implied={"margin": 0.0, "adversarial_temperature": 0.0}),
        "self-adversarial": Alias(),
        "tans": Alias(implied={"query_power": -0.5}, renamed={"gamma": "query_power"}),
    },
    renamed={"temperature": "adversarial_temperature"},
)
class NSSALoss(Loss):
    """Negative sampling loss with self-adversarial weights (Sun et al., 2019).

    Half of -log sigmoid(positive + margin), plus half of the weighted mean of
    -log sigmoid(-negative - margin).

    Args:
        margin: added to all scores, so that a distance of `margin` has probability 1/2.
        adversarial_temperature: negatives are weighted by the softmax of
            adversarial_temperature * score; 0 weights them equally.
        query_power: queries are weighted by (sum of exp(score) over known answers) ** query_power,
            the model's own estimate of how frequent a query is (Feng et al., 2024). Below 0, rare
            queries count more; 0 weights them equally. Known answers are those that the sampler
            lists (`with-positives`); without any, the query's own answer.
    """

    def __init__(
        self,
        *,
        margin: float = 9.0,
        adversarial_temperature: float = 1.0,
        query_power: float = 0.0,
    ):
        super().__init__()
        self.margin, self.adversarial_temperature = margin, adversarial_temperature
        self.query_power = query_power

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        share = adversarial_weights(negative, negatives, self.adversarial_temperature)
        right = F.softplus(-positive - self.margin)
        wrong = (share * F.softplus(negative + self.margin)).sum(1)
        negative_weight = negatives.negative_query_weight
        if self.query_power:
            factor = self.frequency_factor(positive.detach(), negative.detach(), negatives, weight)
            weight = weight * factor
            negative_weight = None if negative_weight is None else negative_weight * factor
        return combine_terms(right / 2, wrong / 2, weight, negative_weight)

    def frequency_factor(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, "B"]:
        """Factor on the weight of each query, at most 1; 0 for a query of weight 0."""
        known = known_fact_weight(negatives)
        total = log_sum_exp(known.log(), negative, negative.new_ones(()))
        frequency = torch.where((known > 0).any(1), total, positive)
        log_factor = (self.query_power * frequency).masked_fill(weight == 0, -torch.inf)
        return (log_factor - log_factor.amax()).exp()


@register(
    "bce",
    aliases={
        "summed-logistic": Alias(),
        "smoothed-logistic": Alias(implied={"label_smoothing": 0.1}),
    },
    renamed={"smoothing": "label_smoothing"},
)
class BCELoss(Loss):
    """Binary cross-entropy, summed over the negatives of each query.

    With all entities as negatives it is 1vsAll, with `kvs-all` KvsAll (Dettmers et al., 2018). With
    drawn negatives it is the negative sampling of Mikolov et al., 2013, whose optimum is
    log p - log(K q): entities that are drawn often score too low.

    Args:
        label_smoothing: labels are (1 - label_smoothing) y + label_smoothing / K. K stands for the
            number of entities, so use it with all entities as negatives.
        compat: labels are (1 - label_smoothing) y + 1 / K, as in LibKGE (Ruffinelli et al., 2020).

    Raises:
        ValueError: if `label_smoothing` is not at least 0 and below 1.
    """

    def __init__(self, *, label_smoothing: float = 0.0, compat: bool = False):
        super().__init__()
        self.label_smoothing, self.compat = validate_smoothing(label_smoothing), compat
        self.soft_labels = compat or label_smoothing > 0

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        right, wrong = F.softplus(-positive), F.softplus(negative)
        if self.soft_labels:
            label = (1.0 if self.compat else self.label_smoothing) / negative.shape[1]
            right = F.softplus(positive) - (1 - self.label_smoothing + label) * positive
            wrong = wrong - label * negative
        wrong = (effective_weight(negatives) * wrong).sum(1)
        return combine_terms(right, wrong, weight, negatives.negative_query_weight)


@register("nce")
class NCE(Loss):
    """Noise-contrastive estimation: binary cross-entropy of score - log(K q).

    It applies to answers and negatives alike. The optimum is the log-probability of the answer for
    any sampler, so scores normalize themselves (Gutmann & Hyvärinen, 2010).

    Args:
        mean: average over negatives instead of summing, with log q in place of log(K q): the
            log-sigmoid loss with a margin that the density sets.
    """

    needs_log_q = needs_answer_log_q = True

    def __init__(self, *, mean: bool = False):
        super().__init__()
        self.mean = mean

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        log_k = 0.0 if self.mean else math.log(negative.shape[1])
        share = (
            adversarial_weights(negative, negatives, 0.0)
            if self.mean
            else effective_weight(negatives)
        )
        # a candidate that does not count may have a density of 0, and 0 * inf is NaN
        log_q = require_log_q(negatives).masked_fill(share == 0, 0.0)
        right = F.softplus(require_answer_log_q(negatives) + log_k - positive)
        wrong = (share * F.softplus(negative - log_q - log_k)).sum(1)
        return combine_terms(right, wrong, weight, negatives.negative_query_weight)


@register("nnpu", example={"prior": 0.1}, aliases=["non-negative"])
class NNPULoss(Loss):
    """Non-negative positive-unlabeled learning: candidates are unlabeled rather than wrong.

    A share `prior` of the candidates is right. What these would add to the loss as wrong answers is
    estimated at the known answers and subtracted, over the whole batch, down to 0 (Kiryo et al.,
    2017; for knowledge graphs, Tang et al., 2022).

    Args:
        prior: share of candidates that are facts.

    Raises:
        ValueError: if the prior is not at least 0 and below 1.
    """

    def __init__(self, *, prior: float = 1e-5):
        super().__init__()
        self.prior = validate_prior(prior)

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        positive, negative = to_float32(positive), to_float32(negative)
        share = adversarial_weights(negative, negatives, 0.0)
        usable = weight * (effective_weight(negatives) > 0).any(1)
        unlabeled = (share * F.softplus(negative)).sum(1) * usable
        unlabeled = unlabeled.sum() / usable.sum().clamp(min=torch.finfo(usable.dtype).tiny)
        mistaken = self.prior * weighted_mean(F.softplus(positive), weight)
        right = self.prior * weighted_mean(F.softplus(-positive), weight)
        return right + F.relu(unlabeled - mistaken)
