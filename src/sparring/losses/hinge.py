"""Sums of what is above 0: one pass over the scores on the way, and one back."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.compiled import can_loop, compiled, in_parts


@compiled
def sum_above(start, stop, share, score, shift, out):
    """Sums of share * max(0, score + shift); NaN stays NaN."""
    none = out.dtype.type(0)
    for row in range(start, stop):
        total, lift = none, shift[row]
        for k in range(score.shape[1]):
            gap = score[row, k] + lift
            total += share[row, k] * (none if gap < 0 else gap)
        out[row] = total
    return 0


@compiled
def pull_above(start, stop, share, score, shift, each, pull, heard):
    """Gradients of these sums, times `each`: for the scores, and for the shifts."""
    none = pull.dtype.type(0)
    for row in range(start, stop):
        total, lift, factor = none, shift[row], each[row]
        for k in range(score.shape[1]):
            one = none if score[row, k] + lift <= 0 else share[row, k] * factor
            pull[row, k] = one
            total += one
        heard[row] = total
    return 0


def hinge(
    share: Float[Tensor, "B K"], score: Float[Tensor, "B K"], shift: Float[Tensor, "B"]
) -> Float[Tensor, "B"]:
    """Sum by row of share * max(0, score + shift); shares get no gradient."""
    if can_loop(score):
        return Hinge.apply(share.to(score.dtype), score, shift)
    return (share * F.relu(score + shift.unsqueeze(1))).sum(1)


class Hinge(Function):
    """`hinge`, by compiled loops."""

    @staticmethod
    def forward(ctx, share, score, shift):
        share, score, shift = share.contiguous(), score.contiguous(), shift.contiguous()
        ctx.save_for_backward(share, score, shift)
        out = torch.empty_like(shift)
        in_parts(sum_above, len(score), score.numel(), share, score, shift, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        share, score, shift = ctx.saved_tensors
        pull, heard = torch.empty_like(score), torch.empty_like(shift)
        given = (share, score, shift, grad.contiguous(), pull, heard)
        in_parts(pull_above, len(score), score.numel(), *given)
        return None, pull, heard
