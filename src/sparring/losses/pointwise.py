"""Losses that ask of every score by itself: right or wrong?

Losses that weigh queries by what the model thinks of them.

Noise-contrastive estimation: was this drawn from the graph, or from the sampler?

Losses for negatives that are unlabelled rather than wrong."""

import math
from dataclasses import replace

import torch
from torch.nn import functional as F

from sparring.losses.base import (
    Loss,
    attention,
    average,
    below_one,
    both_terms,
    counted,
    density,
    density_at_answer,
    known_facts,
    log_total,
    share_of_one,
    wide,
)
from sparring.registry import register


@register("logistic")
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
        return both_terms(right / 2, wrong / 2, negatives, weight)


@register("self-adversarial")
class SelfAdversarial(Logistic):
    """`Logistic` with the temperature of Sun et al., 2019, on by default."""

    def __init__(self, *, margin: float = 9.0, temperature: float = 1.0):
        super().__init__(margin=margin, temperature=temperature)


@register("summed-logistic")
class SummedLogistic(Loss):
    """Binary cross-entropy where every negative counts in full, as with 1vsAll and KvsAll.

    With drawn negatives it is the negative sampling of Mikolov et al., 2013, whose optimum is
    log p - log(K q): the score of what is drawn often is too low.
    """

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        wrong = (counted(negatives) * F.softplus(negative)).sum(1)
        return both_terms(F.softplus(-positive), wrong, negatives, weight)


@register("tans")
class Tans(Loss):
    """`Logistic` with queries weighed by (sum of exp(score) over known answers) ** gamma.

    The model's own estimate of how common a query is takes the place of counts (Feng et al.,
    2024). Known answers are those that the sampler shows beside its negatives (`show-known`);
    where there are none, the query's own answer. The reference code's factor cancels by a slip
    in its shapes, so that gamma = 0 reproduces it.

    Args:
        margin, temperature: as in `Logistic`.
        gamma: below 0, rare queries weigh more; 0 for equal weights.
    """

    def __init__(self, *, margin: float = 9.0, temperature: float = 1.0, gamma: float = -0.5):
        super().__init__()
        self.plain = Logistic(margin=margin, temperature=temperature)
        self.gamma = gamma

    def forward(self, positive, negative, negatives, weight):
        answer, candidate = wide(positive).detach(), wide(negative).detach()
        known = known_facts(negatives)
        total = log_total(known.log(), candidate, candidate.new_ones(()))
        common = self.gamma * torch.where((known > 0).any(1), total, answer)
        common = common.masked_fill(weight == 0, -torch.inf)
        factor = (common - common.amax()).exp()
        other = negatives.negative_query_weight
        negatives = replace(
            negatives, negative_query_weight=None if other is None else other * factor
        )
        return self.plain(positive, negative, negatives, weight * factor)


@register("smoothed-logistic")
class SmoothedLogistic(Loss):
    """Binary cross-entropy over all entities with smoothed labels: 1vsAll and KvsAll.

    Labels are (1 - smoothing) y + smoothing / K; for the sampler `all-entities` and `kvs-all`,
    K is the number of entities (Dettmers et al., 2018).

    Args:
        compat: as in LibKGE, (1 - smoothing) y + 1 / K (Ruffinelli et al., 2020).
    """

    def __init__(self, *, smoothing: float = 0.1, compat: bool = False):
        super().__init__()
        self.smoothing, self.compat = share_of_one(smoothing), compat

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        label = (1.0 if self.compat else self.smoothing) / negative.shape[1]
        right = F.softplus(positive) - (1 - self.smoothing + label) * positive
        wrong = (counted(negatives) * (F.softplus(negative) - label * negative)).sum(1)
        return both_terms(right, wrong, negatives, weight)


@register("nce")
class NCE(Loss):
    """Binary cross-entropy of score - log(K q), for answers and negatives alike.

    The optimum is the log-probability of the answer whatever the sampler, so scores normalise
    themselves (Gutmann & Hyvärinen, 2010).

    Args:
        mean: average over negatives instead of adding them up, with log q in place of log(K q):
            the log-sigmoid loss with a margin that the density sets.
    """

    needs_log_q = needs_answer_log_q = True

    def __init__(self, *, mean: bool = False):
        super().__init__()
        self.mean = mean

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        drawn = 0.0 if self.mean else math.log(negative.shape[1])
        share = attention(negative, negatives, 0.0) if self.mean else counted(negatives)
        # what does not count may have a density of 0, and 0 * inf is no number
        log_q = density(negatives).masked_fill(share == 0, 0.0)
        right = F.softplus(density_at_answer(negatives) + drawn - positive)
        wrong = (share * F.softplus(negative - log_q - drawn)).sum(1)
        return both_terms(right, wrong, negatives, weight)


@register("non-negative")
class NonNegative(Loss):
    """Learning from positive and unlabelled examples, with a risk that stays non-negative.

    Of the unlabelled candidates a share `prior` is right; the loss they would cause as wrong
    ones is estimated at the answers and taken off, over the whole batch, down to 0 (Kiryo et
    al., 2017; for knowledge graphs, Tang et al., 2022).
    """

    def __init__(self, *, prior: float = 1e-5):
        super().__init__()
        self.prior = below_one(prior)

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, 0.0)
        heard = weight * (counted(negatives) > 0).any(1)
        unlabelled = (share * F.softplus(negative)).sum(1) * heard
        unlabelled = unlabelled.sum() / heard.sum().clamp(min=torch.finfo(heard.dtype).tiny)
        mistaken = self.prior * average(F.softplus(positive), weight)
        return self.prior * average(F.softplus(-positive), weight) + F.relu(unlabelled - mistaken)
