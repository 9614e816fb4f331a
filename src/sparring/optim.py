"""Sparse gradients as rows and what is added to them.

Adagrad with one number per row, which touches only the rows of the batch.

Adam and Adagrad for gradients that name the rows in which they are not zero.

They bear other names than PyTorch's, since PyKEEN finds all optimisers that there are by name.

Optimisers that know rows of tables, by name."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.kernels.runtime import can_loop, compiled, in_parts
from sparring.registry import Registry

OPTIMIZERS = Registry("optimizer")


@compiled
def ascend(rows):
    """Whether every row has a higher number than the one before."""
    falls = 0
    for place in range(1, len(rows)):
        falls += rows[place] <= rows[place - 1]
    return falls == 0


def by_row(grad: Tensor) -> tuple[Int[Tensor, "U"], Float[Tensor, "U d"]]:
    """Distinct rows, ascending, and their gradients; on the processor only."""
    # gradients that come in order are distinct, though autograd drops the note of it
    grad = grad if ascend(grad._indices()[0].numpy()) else grad.coalesce()
    return grad._indices()[0], grad._values().contiguous()


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


@OPTIMIZERS.register("adam")
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


@OPTIMIZERS.register("adagrad")
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


@OPTIMIZERS.register("rowwise-adagrad")
def rowwise_adagrad(params: list[nn.Parameter], *, lr: float = 0.1) -> torch.optim.Optimizer:
    """Adagrad with one accumulator per row; for big tables, with `sparse` models."""
    return RowwiseAdagrad(params, lr=lr)


__all__ = ["OPTIMIZERS", "RowwiseAdagrad", "TableAdagrad", "TableAdam"]
