"""What a loss is, and the sums that losses share."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sparring.batch import Negatives
from sparring.kernels.runtime import can_loop, compiled, in_parts
from sparring.registry import Registry

LOSSES = Registry("loss")


class Loss(nn.Module, ABC):
    """Compares the scores of right and wrong answers; sees no model, sampler or config.

    Candidates count in proportion to `negatives.weight * negatives.mask`; a query without any
    gets no gradient from its negatives. The result is the mean over queries, by their weight.
    """

    registry = LOSSES

    needs_log_q = False  # True where `negatives.log_q` must be stated
    needs_answer_log_q = False  # True where `negatives.answer_log_q` must be stated too

    @abstractmethod
    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """The loss of one batch."""


def wide(scores: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Scores in float32 or better, so that losses do not round as coarsely as a model may."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def average(rows: Float[Tensor, "B"], weight: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    """Mean by weight."""
    return (rows * weight).sum() / weight.sum()


def both_terms(
    right: Float[Tensor, "B"],
    wrong: Float[Tensor, "B"],
    negatives: Negatives,
    weight: Float[Tensor, "B"],
) -> Float[Tensor, ""]:
    """Mean of right answers plus mean of wrong ones, each by the weight of its own."""
    if negatives.negative_query_weight is None:
        return average(right + wrong, weight)
    return average(right, weight) + average(wrong, negatives.negative_query_weight)


def counted(negatives: Negatives) -> Float[Tensor, "B K"]:
    """How much each candidate counts; 0 where it does not."""
    weight, mask = negatives.weight, negatives.mask
    if not can_loop(weight):
        return torch.where(mask, weight, 0)
    out = torch.empty(mask.shape, dtype=weight.dtype)
    in_parts(count, len(mask), mask.numel(), weight, mask, out)
    return out


@compiled
def count(start, stop, weight, mask, out):
    """Weights where the mask is True, else 0."""
    for row in range(start, stop):
        for k in range(mask.shape[1]):
            out[row, k] = weight[row, k] if mask[row, k] else 0
    return 0


def known_facts(negatives: Negatives) -> Float[Tensor, "B K"]:
    """Weight of the candidates that are there as known facts, 0 for all others."""
    return negatives.weight * (~negatives.mask & (negatives.p_false_negative == 1))


def attention(
    negative: Float[Tensor, "B K"], negatives: Negatives, temperature: float
) -> Float[Tensor, "B K"]:
    """Each row's share per negative: proportional to weight * exp(temperature * score).

    Shares sum to 1 per row, or to 0 where a row has no usable negative. They carry no gradient.
    """
    share = counted(negatives)
    return tilted(share, negative, temperature) if temperature else shared(share)


def weights(
    negative: Float[Tensor, "B K"], negatives: Negatives, temperature: float
) -> Float[Tensor, "B K"]:
    """What `attention` shares out in proportion to, where the mask is True."""
    return attention(negative, negatives, temperature) if temperature else negatives.weight


def tilted(
    share: Float[Tensor, "B K"], score: Float[Tensor, "B K"], temperature: float
) -> Float[Tensor, "B K"]:
    """Shares in proportion to share * exp(temperature * score), without gradient."""
    if not temperature:
        return shared(share.clone())
    tilt = (temperature * score.detach()).masked_fill(share == 0, -torch.inf)
    top = tilt.amax(1, keepdim=True).clamp(min=torch.finfo(tilt.dtype).min)
    return shared(share * (tilt - top).exp())


def shared(share: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """The same shares, divided by their sum, in place."""
    return share.div_(share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny))


def log_total(
    bias: Float[Tensor, "B K"], score: Float[Tensor, "B K"], scale: Float[Tensor, ""]
) -> Float[Tensor, "B"]:
    """Log of the sum of exp(bias + scale * score), and the lowest number for rows of nothing.

    Args:
        bias: -inf for what does not count.
    """
    return LogTotal.apply(bias, score, scale)


class LogTotal(Function):
    """`log_total`, in as few passes over the scores as there can be on the way and back."""

    @staticmethod
    def forward(ctx, bias, score, scale):
        part = torch.addcmul(bias, score, scale)
        lowest = torch.finfo(part.dtype).min
        top = part.amax(1, keepdim=True).clamp(min=lowest)
        total = part.sub_(top).exp_().sum(1)
        ctx.save_for_backward(part, total, score, scale)
        return torch.where(total == 0, lowest, total.log() + top.squeeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        part, total, score, scale = ctx.saved_tensors
        each = (grad / total.clamp(min=torch.finfo(total.dtype).tiny)).unsqueeze(1)
        of_bias, of_score, of_scale = ctx.needs_input_grad
        return (
            part * each if of_bias else None,
            part * (each * scale) if of_score else None,
            (part * each * score).sum() if of_scale else None,
        )


def log_mean(share: Float[Tensor, "B K"], score: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """Log of the mean of exp(score) by share; the lowest number for rows of nothing."""
    total = share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
    return log_total((share / total).log(), score, score.new_ones(()))


def log_minus(more: Float[Tensor, "B"], less: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Log of exp(more) - exp(less); -inf, without gradient, where that is not above 0."""
    above = less < more
    apart = torch.where(above, less - more, -1.0)
    return torch.where(above, more + (-torch.expm1(apart)).log(), -torch.inf)


def stated(density: Float[Tensor, "..."] | None, what: str, instead: str) -> Float[Tensor, "..."]:
    """The density, or an error that says what is missing and what to do instead."""
    if density is None:
        raise ValueError(f"{what}, which this sampler does not state; {instead}")
    return density


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


def log_or_lowest(prior: float) -> float:
    """Log of the prior; -inf for a prior of 0."""
    return math.log(prior) if prior else -torch.inf


def below_one(prior: float) -> float:
    """The prior, if it is a share that leaves something.

    Raises:
        ValueError: if it is below 0, or 1 or above.
    """
    if not 0 <= prior < 1:
        raise ValueError(f"the prior of a false negative is a share below 1; got {prior}")
    return prior


def share_of_one(smoothing: float) -> float:
    """The smoothing, if it is a share.

    Raises:
        ValueError: if it is below 0, or 1 or above.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing is a share below 1; got {smoothing}")
    return smoothing
