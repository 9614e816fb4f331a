"""Adam and Adagrad for gradients that name the rows in which they are not zero.

They bear other names than PyTorch's, since PyKEEN finds all optimisers that there are by name.
"""

import math
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn

from sparring.compiled import can_loop, compiled, in_parts
from sparring.optimizers.gradients import by_row


@compiled
def move_rows(start, stop, row, grad, rates, mean, square, parameter):
    """One step of Adam for all rows of a table, of which only some have a gradient.

    Args:
        row: ascending; `grad` has one line for each.
        rates: 1 - beta1, beta2, 1 - beta2, the step's length, what the root of the second moment
            is multiplied by, and eps.
    """
    none, width, place = parameter.dtype.type(0), parameter.shape[1], np.searchsorted(row, start)
    fresh, keep, add, length, scale, eps = rates
    for here in range(start, stop):
        if place < len(row) and row[place] == here:
            for j in range(width):
                pull = grad[place, j]
                first = mean[here, j] + fresh * (pull - mean[here, j])
                second = keep * square[here, j] + add * pull * pull
                mean[here, j], square[here, j] = first, second
                parameter[here, j] -= length * first / (scale * np.sqrt(second) + eps)
            place += 1
        else:
            for j in range(width):
                first = mean[here, j] + fresh * (none - mean[here, j])
                second = keep * square[here, j]
                mean[here, j], square[here, j] = first, second
                parameter[here, j] -= length * first / (scale * np.sqrt(second) + eps)
    return 0


@compiled
def pull_rows(start, stop, row, grad, rates, total, parameter):
    """One step of Adagrad for the rows that have a gradient: `rates` are lr and eps."""
    length, eps = rates
    for place in range(start, stop):
        here = row[place]
        for j in range(parameter.shape[1]):
            pull = grad[place, j]
            square = total[here, j] + pull * pull
            total[here, j] = square
            parameter[here, j] -= length * pull / (np.sqrt(square) + eps)
    return 0


class RowLoops(torch.optim.Optimizer):
    """Takes sparse gradients of tables on the processor by compiled loops, all else as it does."""

    takes_sparse = False  # True where PyTorch's own code does

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient."""
        done, left = [], False
        for group in self.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is not None and grad.is_sparse and _is_table(parameter):
                    row, value = by_row(grad)
                    self.move(parameter, row, value, group)
                    done.append((parameter, grad))
                    parameter.grad = None
                elif grad is not None:
                    left = True
                    if grad.is_sparse and not self.takes_sparse:
                        parameter.grad = grad.to_dense()
        if left:
            super().step()
        for parameter, grad in done:
            parameter.grad = grad

    @abstractmethod
    def move(
        self, parameter: nn.Parameter, row: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]
    ) -> None:
        """One step, given the gradients of these rows, which ascend."""


def _is_table(parameter: nn.Parameter) -> bool:
    return can_loop(parameter) and parameter.dim() == 2


class TableAdam(RowLoops, torch.optim.Adam):
    """Adam, which takes sparse gradients too (Kingma & Ba, 2015).

    All rows move in every step, as if zeros were written out: this is no lazy Adam. On the
    processor it is one pass over the table and its moments, and no table of gradients is made.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        *,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
    ):
        super().__init__(params, lr=lr, betas=(beta1, beta2), fused=True)

    def move(self, parameter, row, grad, group):
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta1, beta2) = float(state["step"]), group["betas"]
        length = group["lr"] / (1 - beta1**step)
        scale = 1 / math.sqrt(1 - beta2**step)
        rates = (1 - beta1, beta2, 1 - beta2, length, scale, group["eps"])
        moments = (state["exp_avg"], state["exp_avg_sq"])
        given = (row, grad, torch.tensor(rates, dtype=parameter.dtype), *moments)
        in_parts(move_rows, len(parameter), parameter.numel(), *given, parameter.detach())


class TableAdagrad(RowLoops, torch.optim.Adagrad):
    """Adagrad with one accumulator per number (Duchi et al., 2011).

    Rows without a gradient stay where they are, so sparse gradients cost what they touch.
    """

    takes_sparse = True

    def __init__(self, params: list[nn.Parameter], *, lr: float = 0.1):
        # the default, stated: PyTorch warns of sparse gradients where nothing is said
        torch.sparse.check_sparse_tensor_invariants.disable()
        super().__init__(params, lr=lr)

    def move(self, parameter, row, grad, group):
        state = self.state[parameter]
        state["step"] += 1
        rates = torch.tensor((group["lr"], group["eps"]), dtype=parameter.dtype)
        given = (row, grad, rates, state["sum"], parameter.detach())
        in_parts(pull_rows, len(row), grad.numel(), *given)
