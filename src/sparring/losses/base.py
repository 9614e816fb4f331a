"""The interface of losses, and the weights and sums that they share."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sparring.batch import Negatives
from sparring.models.base import KGEModel
from sparring.registry import Registry
from sparring.samplers.base import NegativeSampler

LOSSES = Registry("loss")


class Loss(nn.Module, ABC):
    """Compares the scores of answers with those of their negatives.

    To write one, implement `forward` and register the class. It is then known to configurations,
    to `sparring list losses` and to the contract tests::

        @register("squared")
        class Squared(Loss):
            def forward(self, positive, negative, negatives, weight):
                positive, negative = to_float32(positive), to_float32(negative)
                share = adversarial_weights(negative, negatives, 0.0)
                rows = (1 - positive).relu() ** 2 + (share * negative.relu() ** 2).sum(1)
                return weighted_mean(rows, weight)

    A loss keeps these rules, which `sparring.testing.check_loss` checks:

    - A candidate counts in proportion to `negatives.weight * negatives.mask`. Where that is 0,
      neither its score nor its density has any influence.
    - A query without a candidate that counts gets no gradient from its negatives.
    - The result is the mean over queries by `weight`, in float32 or better.
    - Values and gradients stay finite for any finite scores.

    Attributes:
        needs_log_q: True where `negatives.log_q` must be known.
        needs_answer_log_q: True where `negatives.answer_log_q` must be known too.
        soft_labels: True where a negative may be pulled up or an answer down, as with smoothed
            labels.
    """

    registry = LOSSES

    needs_log_q = False
    needs_answer_log_q = False
    soft_labels = False

    @abstractmethod
    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """The loss of one batch.

        Args:
            positive: scores of the answers.
            negative: scores of the candidates.
            negatives: the candidates, with their mask, weights and densities.
            weight: of each query.
        """

    def check(self, sampler: NegativeSampler, model: KGEModel | None = None) -> None:
        """Make sure that this sampler and model give the loss what it needs.

        Args:
            model: None where the scores come from another library.

        Raises:
            ValueError: if the loss needs a density that is not known.
        """
        if not self.needs_log_q:
            return
        loss, drawn = type(self).__name__, type(sampler).__name__
        if not sampler.capabilities.has_log_q:
            raise ValueError(
                f"{loss} corrects for the density of its negatives, which {drawn} does not know; "
                "use another loss or sampler"
            )
        if model is not None and not model.trains_on_entities:
            raise ValueError(
                f"{loss} corrects for the density of its negatives, but {type(model).__name__} "
                "alters them, and the density of the result is not known; use a loss without "
                "correction"
            )
        if self.needs_answer_log_q and not sampler.capabilities.has_answer_log_q:
            raise ValueError(
                f"{loss} corrects for the density of answers, which {drawn} does not know; "
                "correct negatives only, or use another sampler"
            )


def to_float32(scores: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Scores in float32 or better, so that losses do not round as coarsely as a model may."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def weighted_mean(rows: Float[Tensor, "B"], weight: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    """Mean over queries by weight."""
    return (rows * weight).sum() / weight.sum()


def combine_terms(
    right: Float[Tensor, "B"],
    wrong: Float[Tensor, "B"],
    weight: Float[Tensor, "B"],
    negative_weight: Float[Tensor, "B"] | None,
) -> Float[Tensor, ""]:
    """Mean of the answers' terms plus mean of the negatives' terms.

    Args:
        negative_weight: of each query's negatives; None where it is that of its answer.
    """
    if negative_weight is None:
        return weighted_mean(right + wrong, weight)
    return weighted_mean(right, weight) + weighted_mean(wrong, negative_weight)


def effective_weight(negatives: Negatives) -> Float[Tensor, "B K"]:
    """Weight of each candidate; 0 where the mask is False."""
    return torch.where(negatives.mask, negatives.weight, 0)


def known_fact_weight(negatives: Negatives) -> Float[Tensor, "B K"]:
    """Weight of each candidate that is listed as a known fact; 0 for all others."""
    return negatives.weight * (~negatives.mask & (negatives.p_false_negative == 1))


def adversarial_weights(
    negative: Float[Tensor, "B K"], negatives: Negatives, temperature: float
) -> Float[Tensor, "B K"]:
    """Weights in proportion to weight * exp(temperature * score), without gradient.

    Rows sum to 1, or to 0 where no candidate counts. A temperature of 0 gives the plain mean,
    above 0 the self-adversarial weights of Sun et al., 2019.
    """
    return softmax_weights(effective_weight(negatives), negative, temperature)


def softmax_weights(
    weight: Float[Tensor, "B K"], score: Float[Tensor, "B K"], temperature: float
) -> Float[Tensor, "B K"]:
    """Rows in proportion to weight * exp(temperature * score), which sum to 1; no gradient."""
    if temperature:
        logit = (temperature * score.detach()).masked_fill(weight == 0, -torch.inf)
        top = logit.amax(1, keepdim=True).clamp(min=torch.finfo(logit.dtype).min)
        weight = weight * (logit - top).exp()
    return weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def log_sum_exp(
    bias: Float[Tensor, "B K"], score: Float[Tensor, "B K"], scale: Float[Tensor, ""]
) -> Float[Tensor, "B"]:
    """Log of the sum of exp(bias + scale * score) over candidates.

    Rows where nothing counts get the lowest number, so that gradients stay finite.

    Args:
        bias: -inf for a candidate that does not count.
    """
    return LogSumExp.apply(bias, score, scale)


class LogSumExp(Function):
    """`log_sum_exp`, with as few passes over the scores as possible, forward and backward."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, score: Tensor, scale: Tensor) -> Tensor:
        part = torch.addcmul(bias, score, scale)
        lowest = torch.finfo(part.dtype).min
        top = part.amax(1, keepdim=True).clamp(min=lowest)
        total = part.sub_(top).exp_().sum(1)
        ctx.save_for_backward(part, total, score, scale)
        return torch.where(total == 0, lowest, total.log() + top.squeeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        part, total, score, scale = ctx.saved_tensors
        each = (grad / total.clamp(min=torch.finfo(total.dtype).tiny)).unsqueeze(1)
        bias_needs, score_needs, scale_needs = ctx.needs_input_grad
        return (
            part * each if bias_needs else None,
            part * (each * scale) if score_needs else None,
            (part * each * score).sum() if scale_needs else None,
        )


def log_mean_exp(weight: Float[Tensor, "B K"], score: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """Log of the weighted mean of exp(score); the lowest number where nothing counts."""
    total = weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    return log_sum_exp((weight / total).log(), score, score.new_ones(()))


def log_sub_exp(more: Float[Tensor, "B"], less: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Log of exp(more) - exp(less); -inf, without gradient, where that is not above 0."""
    above = less < more
    gap = torch.where(above, less - more, -1.0)
    return torch.where(above, more + (-torch.expm1(gap)).log(), -torch.inf)


def log_importance_weights(
    weight: Float[Tensor, "B K"], log_q: Float[Tensor, "B K"]
) -> Float[Tensor, "B K"]:
    """Log of weight / q; -inf where the weight is 0, whatever the density there."""
    return weight.log() - log_q.clamp(min=torch.finfo(log_q.dtype).min)


def require_log_q(negatives: Negatives) -> Float[Tensor, "B K"]:
    """Log-density of the candidates.

    Raises:
        ValueError: if the sampler does not know it.
    """
    if negatives.log_q is None:
        raise ValueError(
            "a correction needs log_q, which this sampler does not know; use a sampler that does, "
            'or a loss without (sampled-softmax with correction = "none")'
        )
    return negatives.log_q


def require_answer_log_q(negatives: Negatives) -> Float[Tensor, "B"]:
    """Log-density of the answers.

    Raises:
        ValueError: if the sampler does not know it.
    """
    if negatives.answer_log_q is None:
        raise ValueError(
            "correcting the answer needs its log_q, which this sampler does not know; use a "
            "sampler that does, or correct only the negatives (sampled-softmax with correction = "
            '"negatives")'
        )
    return negatives.answer_log_q


def log_prior(prior: float) -> float:
    """Log of the prior; -inf for a prior of 0."""
    return math.log(prior) if prior else -torch.inf


def validate_prior(prior: float) -> float:
    """The prior, if it is at least 0 and below 1.

    Raises:
        ValueError: if it is not.
    """
    if not 0 <= prior < 1:
        raise ValueError(
            f"the prior of a false negative must be at least 0 and below 1; got {prior}"
        )
    return prior


def validate_smoothing(smoothing: float) -> float:
    """The label smoothing, if it is at least 0 and below 1.

    Raises:
        ValueError: if it is not.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing must be at least 0 and below 1; got {smoothing}")
    return smoothing
