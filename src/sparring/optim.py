"""Optimizers for embedding tables, by name: their gradients may be sparse.

Their names differ from PyTorch's: PyKEEN registers every subclass of `torch.optim.Optimizer` under
its class name."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sparring.kernels.optim import adagrad_step, adam_step, can_update_rows, rowwise_adagrad_step
from sparring.registry import Registry

OPTIMIZERS = Registry("optimizer", base=torch.optim.Optimizer)


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulator per row: the mean of squared gradients over the row.

    With sparse gradients, only rows that the batch mentions are read or written, and the state
    is one number per row. Dense gradients are accepted too (Gupta et al., 2014).

    Args:
        eps: added to the root of the accumulator.

    Raises:
        ValueError: for a learning rate that is not above 0.
    """

    moves_only_rows_of_gradient = True

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.1, eps: float = 1e-8):
        if lr <= 0:
            raise ValueError(f"the learning rate must be above 0; got {lr}")
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["eps"])

    def _update(self, parameter: nn.Parameter, grad: Tensor, lr: float, eps: float) -> None:
        state = self.state[parameter]
        if not state:
            rows = parameter.shape[:1] if parameter.dim() > 1 else parameter.shape
            state["sum"] = torch.zeros(rows, device=parameter.device, dtype=torch.float32)
        rowwise_adagrad_step(parameter, grad, state["sum"], lr, eps)


class RowOptimizer(torch.optim.Optimizer):
    """Updates tables from sparse gradients with a kernel, and all else as its base class does."""

    takes_sparse = False  # True where PyTorch's own step takes sparse gradients

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update all parameters that have a gradient."""
        done, others = [], False
        for group in self.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is not None and grad.is_sparse and can_update_rows(parameter):
                    self.update_rows(parameter, grad, group)
                    done.append((parameter, grad))
                    parameter.grad = None
                elif grad is not None:
                    others = True
                    if grad.is_sparse and not self.takes_sparse:
                        parameter.grad = grad.to_dense()
        if others:
            super().step()
        for parameter, grad in done:
            parameter.grad = grad

    @abstractmethod
    def update_rows(self, parameter: nn.Parameter, grad: Tensor, group: dict[str, Any]) -> None:
        """One step for a table with a sparse gradient."""


@OPTIMIZERS.register("adam")
class TableAdam(RowOptimizer, torch.optim.Adam):
    """Adam, which takes sparse gradients too (Kingma & Ba, 2015).

    All rows move in every step, as if the gradient were dense: this is no lazy Adam. On the CPU it
    is one pass over the table and its moments, and no table of gradients is made.

    Args:
        lr: learning rate.
        beta1, beta2: decay of the first and second moment.
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

    def update_rows(self, parameter: nn.Parameter, grad: Tensor, group: dict[str, Any]) -> None:
        """One step for a table with a sparse gradient."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta1, beta2) = float(state["step"]), group["betas"]
        step_size = group["lr"] / (1 - beta1**step)
        scale = 1 / math.sqrt(1 - beta2**step)
        rates = (1 - beta1, beta2, 1 - beta2, step_size, scale, group["eps"])
        adam_step(parameter, grad, state["exp_avg"], state["exp_avg_sq"], rates)


@OPTIMIZERS.register("adagrad")
class TableAdagrad(RowOptimizer, torch.optim.Adagrad):
    """Adagrad with one accumulator per number (Duchi et al., 2011).

    Rows without a gradient stay where they are, so sparse gradients cost what they touch.

    Args:
        lr: learning rate.
    """

    takes_sparse = True
    moves_only_rows_of_gradient = True

    def __init__(self, params: list[nn.Parameter], *, lr: float = 0.1):
        # PyTorch warns of sparse gradients unless the default is set
        torch.sparse.check_sparse_tensor_invariants.disable()
        super().__init__(params, lr=lr)

    def update_rows(self, parameter: nn.Parameter, grad: Tensor, group: dict[str, Any]) -> None:
        """One step for a table with a sparse gradient."""
        state = self.state[parameter]
        state["step"] += 1
        adagrad_step(parameter, grad, state["sum"], (group["lr"], group["eps"]))


@OPTIMIZERS.register("rowwise-adagrad")
def rowwise_adagrad(params: list[nn.Parameter], *, lr: float = 0.1) -> RowwiseAdagrad:
    """Adagrad with one accumulator per row; for big tables, with `sparse` models."""
    return RowwiseAdagrad(params, lr=lr)


__all__ = ["OPTIMIZERS", "RowwiseAdagrad", "TableAdagrad", "TableAdam"]
