"""Weighted means of what is above 0, as margin losses take them."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.kernels.runtime import compiled, enabled_for, run_in_threads


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
    if enabled_for(score):
        same = weight.stride(0) == 0 and len(weight) > 0
        return Hinge.apply(weight[:1] if same else weight, mask, score, shift)
    share = torch.where(mask, weight, 0)
    total = share.sum(1).clamp(min=torch.finfo(share.dtype).tiny)
    return (share * F.relu(score + shift.unsqueeze(1))).sum(1) / total


class Hinge(Function):
    """The loops of `hinge`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, score: Tensor, shift: Tensor) -> Tensor:
        given = [one.contiguous() for one in (weight, mask, score, shift)]
        total = torch.full_like(shift, torch.finfo(shift.dtype).tiny)
        out = torch.empty_like(total)
        run_in_threads(mean_above, len(score), score.numel(), *given, total, out)
        ctx.save_for_backward(*given, total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, mask, score, shift, total = ctx.saved_tensors
        score_grad, shift_grad = torch.empty_like(score), torch.empty_like(shift)
        given = (weight, mask, score, shift, grad / total, score_grad, shift_grad)
        run_in_threads(grad_above, len(score), score.numel(), *given)
        return None, None, score_grad, shift_grad


@compiled
def mean_above(start, stop, weight, mask, score, shift, total, out):
    """Means by weight of max(0, score + shift) where the mask is True; NaN stays NaN.

    Args:
        weight: one row, where all are the same.
        total: holds the least sum of weights to divide by; sums of weights are written into it.
    """
    zero, several = out.dtype.type(0), len(weight) > 1
    for row in range(start, stop):
        lift, line = shift[row], row if several else 0
        above, weights = zero, zero
        for k in range(score.shape[1]):
            gap = score[row, k] + lift
            share = weight[line, k] if mask[row, k] else zero
            above += share * (zero if gap < 0 else gap)
            weights += share
        total[row] = max(weights, total[row])
        out[row] = above / total[row]
    return 0


@compiled
def grad_above(start, stop, weight, mask, score, shift, row_grad, score_grad, shift_grad):
    """Gradients of sums of what is above 0, for scores and shifts, from those of the sums."""
    zero, several = score_grad.dtype.type(0), len(weight) > 1
    for row in range(start, stop):
        lift, line, factor = shift[row], row if several else 0, row_grad[row]
        total = zero
        for k in range(score.shape[1]):
            share = weight[line, k] if mask[row, k] else zero
            grad = zero if score[row, k] + lift <= 0 else share * factor
            score_grad[row, k] = grad
            total += grad
        shift_grad[row] = total
    return 0
