"""Adagrad with one number per row, which touches only the rows of the batch."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from sparring.compiled import can_loop, compiled, in_parts
from sparring.optimizers.gradients import by_row


@compiled
def step_rows(start, stop, row, grad, total, rates, parameter):
    """Adagrad of rows, by the mean of their squared gradients: `rates` are lr and eps."""
    width = grad.shape[1]
    for place in range(start, stop):
        here, square = row[place], total.dtype.type(0)
        for j in range(width):
            square += grad[place, j] * grad[place, j]
        total[here] += square / width
        scale = rates[0] / (np.sqrt(total[here]) + rates[1])
        for j in range(width):
            parameter[here, j] -= scale * grad[place, j]
    return 0


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulator per row, the mean of squared gradients over the row.

    With sparse gradients, only rows that the batch mentions are read or written, and the state
    is one number per row. Dense gradients are accepted too (Gupta et al., 2014).

    Args:
        eps: added to the root of the accumulator.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.1, eps: float = 1e-8):
        if lr <= 0:
            raise ValueError(f"the learning rate must be above 0; got {lr}")
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["eps"])

    def _update(self, parameter: nn.Parameter, grad: torch.Tensor, lr: float, eps: float) -> None:
        state = self.state[parameter]
        rows = parameter.shape[:1] if parameter.dim() > 1 else parameter.shape
        if not state:
            state["sum"] = torch.zeros(rows, device=parameter.device, dtype=torch.float32)
        if can_loop(grad) and parameter.dtype == torch.float32 and parameter.dim() == 2:
            return _loop(parameter, grad, state["sum"], torch.tensor([lr, eps]))
        if grad.is_sparse:
            grad = grad.coalesce()
            row, value = grad.indices()[0], grad.values()
            state["sum"].index_add_(0, row, _row_mean(value**2))
            scale = -lr / (state["sum"][row].sqrt() + eps)
            parameter.index_add_(0, row, value * _as_rows(scale, value).to(value.dtype))
        else:
            state["sum"] += _row_mean(grad**2)
            scale = -lr / (state["sum"].sqrt() + eps)
            parameter.add_(grad * _as_rows(scale, grad).to(grad.dtype))


def _loop(
    parameter: torch.Tensor, grad: torch.Tensor, total: torch.Tensor, rates: torch.Tensor
) -> None:
    """One pass over the rows in use."""
    if grad.is_sparse:
        row, grad = by_row(grad)
    else:
        row = torch.arange(len(grad))
    given = (row, grad.contiguous(), total, rates, parameter.detach())
    in_parts(step_rows, len(row), grad.numel(), *given)


def _row_mean(squared: torch.Tensor) -> torch.Tensor:
    return squared.float() if squared.dim() < 2 else squared.float().flatten(1).mean(1)


def _as_rows(scale: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return scale.reshape(scale.shape + (1,) * (like.dim() - scale.dim()))
