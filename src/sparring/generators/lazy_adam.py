"""Adam that leaves alone what a step says nothing about."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.compiled import can_loop, compiled
from sparring.models.rows import by_row


class LazyAdam(torch.optim.Optimizer):
    """Adam (Kingma & Ba, 2015) for the rows of each parameter that have a gradient.

    A row whose gradient is 0 keeps its moments and stays where it is, so that a step costs what
    it touches where gradients are sparse, and means the same where they are dense.

    Args:
        beta1, beta2: shares of either moment that a step keeps.
        eps: added to the root of the second moment.

    Raises:
        ValueError: for a learning rate that is not above 0.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ):
        if lr <= 0:
            raise ValueError(f"the learning rate must be above 0; got {lr}")
        # the default, stated: PyTorch warns of sparse gradients where nothing is said
        torch.sparse.check_sparse_tensor_invariants.disable()
        super().__init__(params, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: nn.Parameter, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
        state["step"] += 1
        beta1, beta2, step = group["beta1"], group["beta2"], state["step"]
        length, scale = group["lr"] / (1 - beta1**step), (1 - beta2**step) ** -0.5
        rates = (1 - beta1, 1 - beta2, length, scale, group["eps"])
        tables = [_as_rows(one) for one in (state["mean"], state["square"], parameter.detach())]
        if not can_loop(parameter):
            return _move_spelled_out(grad, rates, *tables)
        if grad.is_sparse:
            row, grad = by_row(grad)
        else:
            row, grad = torch.arange(len(tables[0])), _as_rows(grad.contiguous())
        given = (row, grad, torch.tensor(rates, dtype=parameter.dtype), *tables)
        move_rows(*(one.numpy() for one in given))


@compiled
def move_rows(row, grad, rates, mean, square, parameter):
    """One step for the rows that have a gradient; `grad` has a line for each.

    Args:
        rates: shares that the moments take over, the step's length, what the root of the second
            moment is multiplied by, and eps.
    """
    fresh, add, length, scale, eps = rates
    width = grad.shape[1]
    for place in range(len(row)):
        here, first = row[place], 0
        while first < width and grad[place, first] == 0:
            first += 1
        for j in range(width if first < width else 0):
            pull = grad[place, j]
            once = mean[here, j] + fresh * (pull - mean[here, j])
            twice = square[here, j] + add * (pull * pull - square[here, j])
            mean[here, j], square[here, j] = once, twice
            parameter[here, j] -= length * once / (scale * np.sqrt(twice) + eps)


def _move_spelled_out(
    grad: Tensor, rates: tuple[float, ...], *tables: Float[Tensor, "n d"]
) -> None:
    """The same in PyTorch's own operations."""
    fresh, add, length, scale, eps = rates
    row: Any = slice(None)
    if grad.is_sparse:
        grad = grad.coalesce()
        row, grad = grad.indices()[0], grad.values()
    grad = _as_rows(grad.contiguous())
    mean, square, parameter = old = [one[row] for one in tables]
    mean, square = mean.lerp(grad, fresh), square.lerp(grad**2, add)
    parameter = parameter - length * mean / (scale * square.sqrt() + eps)
    moved = (grad != 0).any(1, keepdim=True)
    for table, new, kept in zip(tables, (mean, square, parameter), old):
        table[row] = torch.where(moved, new, kept)


def _as_rows(whole: Tensor) -> Float[Tensor, "n d"]:
    return whole.view(whole.shape[0] if whole.dim() else 1, math.prod(whole.shape[1:]))
