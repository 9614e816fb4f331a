"""Means of what is above 0: one pass over the scores on the way, and one back.

Losses with a margin between right and wrong answers, or on both sides of a line."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.kernels.runtime import can_loop, compiled, in_parts
from sparring.losses.base import Loss, attention, average, both_terms, weights, wide
from sparring.registry import register


@compiled
def mean_above(start, stop, weight, mask, score, shift, total, out):
    """Means by weight of max(0, score + shift), of what the mask lets count; NaN stays NaN.

    Args:
        weight: one row, where all are the same.
        total: where sums of weights are written, or the least number where there are none.
    """
    none, several = out.dtype.type(0), len(weight) > 1
    for row in range(start, stop):
        lift, line = shift[row], row if several else 0
        above, whole = none, none
        for k in range(score.shape[1]):
            gap = score[row, k] + lift
            share = weight[line, k] if mask[row, k] else none
            above += share * (none if gap < 0 else gap)
            whole += share
        total[row] = max(whole, total[row])
        out[row] = above / total[row]
    return 0


@compiled
def pull_above(start, stop, weight, mask, score, shift, each, pull, heard):
    """Gradients of sums of what is above 0, times `each`: for the scores, and for the shifts."""
    none, several = pull.dtype.type(0), len(weight) > 1
    for row in range(start, stop):
        lift, line, factor = shift[row], row if several else 0, each[row]
        total = none
        for k in range(score.shape[1]):
            share = weight[line, k] if mask[row, k] else none
            one = none if score[row, k] + lift <= 0 else share * factor
            pull[row, k] = one
            total += one
        heard[row] = total
    return 0


def hinge(
    weight: Float[Tensor, "B K"],
    mask: Bool[Tensor, "B K"],
    score: Float[Tensor, "B K"],
    shift: Float[Tensor, "B"],
) -> Float[Tensor, "B"]:
    """Mean by weight of max(0, score + shift) where the mask is True; weights get no gradient.

    A row whose weights sum to 0 gives 0.
    """
    weight = weight.to(score.dtype)
    if can_loop(score):
        alike = weight.stride(0) == 0 and len(weight) > 0
        return Hinge.apply(weight[:1] if alike else weight, mask, score, shift)
    share = torch.where(mask, weight, 0)
    total = share.sum(1).clamp(min=torch.finfo(share.dtype).tiny)
    return (share * F.relu(score + shift.unsqueeze(1))).sum(1) / total


class Hinge(Function):
    """`hinge`, by compiled loops."""

    @staticmethod
    def forward(ctx, weight, mask, score, shift):
        given = [one.contiguous() for one in (weight, mask, score, shift)]
        total = torch.full_like(shift, torch.finfo(shift.dtype).tiny)
        out = torch.empty_like(total)
        in_parts(mean_above, len(score), score.numel(), *given, total, out)
        ctx.save_for_backward(*given, total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weight, mask, score, shift, total = ctx.saved_tensors
        pull, heard = torch.empty_like(score), torch.empty_like(shift)
        given = (weight, mask, score, shift, grad / total, pull, heard)
        in_parts(pull_above, len(score), score.numel(), *given)
        return None, None, pull, heard


@register("margin")
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
        share = weights(negative, negatives, self.temperature)
        gap = hinge(share, negatives.mask, negative, self.margin - positive)
        return average(gap, weight)


@register("pairwise-logistic")
class PairwiseLogistic(Loss):
    """Mean of log(1 + exp(margin + wrong - right)) over negatives: a margin that never dies.

    Args:
        temperature: as in `Logistic`.
    """

    def __init__(self, *, margin: float = 0.0, temperature: float = 0.0):
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, self.temperature)
        gap = F.softplus(negative - positive.unsqueeze(1) + self.margin)
        return average((share * gap).sum(1), weight)


@register("double-margin")
class DoubleMargin(Loss):
    """Right answers at least at `floor`, wrong ones at most at `ceiling` (Zhou et al., 2017).

    Args:
        floor, ceiling: scores beyond which there is nothing to learn.
        temperature: as in `Logistic`.

    Raises:
        ValueError: if the ceiling of wrong answers is above the floor of right ones.
    """

    def __init__(self, *, floor: float = 1.0, ceiling: float = 0.0, temperature: float = 0.0):
        super().__init__()
        if ceiling > floor:
            raise ValueError(
                "double margin needs the ceiling of wrong answers below the floor of right ones; "
                f"got ceiling={ceiling} and floor={floor}"
            )
        self.floor, self.ceiling, self.temperature = floor, ceiling, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = weights(negative, negatives, self.temperature)
        ceiling = torch.full_like(positive, -self.ceiling)
        wrong = hinge(share, negatives.mask, negative, ceiling)
        return both_terms(F.relu(self.floor - positive), wrong, negatives, weight)
