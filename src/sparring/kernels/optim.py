"""Optimizer steps for tables whose gradient names the rows in which it is not zero."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.kernels.runtime import compiled, enabled_for, run_in_threads


def can_update_rows(parameter: Tensor) -> bool:
    """Whether `adam_step` and `adagrad_step` take it; the twins are the steps of `torch.optim`."""
    return enabled_for(parameter) and parameter.dim() == 2


def sorted_rows(grad: Float[Tensor, "N d"]) -> tuple[Int[Tensor, "U"], Float[Tensor, "U d"]]:
    """Distinct rows of a sparse gradient, ascending, and their gradients; for CPU tensors."""
    # gradients that come in order are distinct, though autograd drops the note of it
    grad = grad if ascends(grad._indices()[0].numpy()) else grad.coalesce()
    return grad._indices()[0], grad._values().contiguous()


def adam_step(
    parameter: Float[Tensor, "N d"],
    grad: Float[Tensor, "N d"],
    mean: Float[Tensor, "N d"],
    square: Float[Tensor, "N d"],
    rates: tuple[float, ...],
) -> None:
    """One step of Adam for all rows, of which only some have a gradient.

    Args:
        grad: sparse.
        mean, square: moments.
        rates: 1 - beta1, beta2, 1 - beta2, the step size, the factor of the root of the second
            moment, and eps.
    """
    row, value = sorted_rows(grad)
    given = (row, value, torch.tensor(rates, dtype=parameter.dtype), mean, square)
    run_in_threads(adam, len(parameter), parameter.numel(), *given, parameter.detach())


def adagrad_step(
    parameter: Float[Tensor, "N d"],
    grad: Float[Tensor, "N d"],
    total: Float[Tensor, "N d"],
    rates: tuple[float, float],
) -> None:
    """One step of Adagrad for the rows of a sparse gradient: `rates` are lr and eps."""
    row, value = sorted_rows(grad)
    given = (row, value, torch.tensor(rates, dtype=parameter.dtype), total, parameter.detach())
    run_in_threads(adagrad, len(row), value.numel(), *given)


def rowwise_adagrad_step(
    parameter: Tensor, grad: Tensor, total: Float[Tensor, "..."], lr: float, eps: float
) -> None:
    """One step of Adagrad by the mean of squared gradients over each row.

    Args:
        grad: sparse or dense.
        total: sum of the means so far, one for each row; for a single number, that one.
    """
    if enabled_for(grad) and parameter.dtype == torch.float32 and parameter.dim() == 2:
        row, value = sorted_rows(grad) if grad.is_sparse else (torch.arange(len(grad)), grad)
        given = (row, value.contiguous(), total, torch.tensor([lr, eps]), parameter.detach())
        run_in_threads(rowwise, len(row), value.numel(), *given)
    elif grad.is_sparse:
        grad = grad.coalesce()
        row, value = grad.indices()[0], grad.values()
        total.index_add_(0, row, row_mean(value**2))
        scale = -lr / (total[row].sqrt() + eps)
        parameter.index_add_(0, row, value * like_rows(scale, value).to(value.dtype))
    else:
        total += row_mean(grad**2)
        scale = -lr / (total.sqrt() + eps)
        parameter.add_(grad * like_rows(scale, grad).to(grad.dtype))


def row_mean(squared: Tensor) -> Float[Tensor, "..."]:
    """The mean of each row in float32; the numbers themselves where there are no rows."""
    return squared.float() if squared.dim() < 2 else squared.float().flatten(1).mean(1)


def like_rows(scale: Float[Tensor, "..."], rows: Tensor) -> Tensor:
    """The scale in a shape that multiplies rows."""
    return scale.reshape(scale.shape + (1,) * (rows.dim() - scale.dim()))


@compiled
def ascends(rows):
    """Whether every row has a higher number than the one before."""
    falls = 0
    for index in range(1, len(rows)):
        falls += rows[index] <= rows[index - 1]
    return falls == 0


@compiled
def adam(start, stop, rows, grad, rates, mean, square, parameter):
    """`adam_step` for rows from `start` to `stop` - 1; `rows` ascend, those of `grad`."""
    none, width, index = parameter.dtype.type(0), parameter.shape[1], np.searchsorted(rows, start)
    fresh, keep, add, step_size, scale, eps = rates
    for row in range(start, stop):
        if index < len(rows) and rows[index] == row:
            for j in range(width):
                slope = grad[index, j]
                first = mean[row, j] + fresh * (slope - mean[row, j])
                second = keep * square[row, j] + add * slope * slope
                mean[row, j], square[row, j] = first, second
                parameter[row, j] -= step_size * first / (scale * np.sqrt(second) + eps)
            index += 1
        else:
            for j in range(width):
                first = mean[row, j] + fresh * (none - mean[row, j])
                second = keep * square[row, j]
                mean[row, j], square[row, j] = first, second
                parameter[row, j] -= step_size * first / (scale * np.sqrt(second) + eps)
    return 0


@compiled
def adagrad(start, stop, rows, grad, rates, total, parameter):
    """`adagrad_step` for lines of the gradient from `start` to `stop` - 1."""
    lr, eps = rates
    for index in range(start, stop):
        row = rows[index]
        for j in range(parameter.shape[1]):
            slope = grad[index, j]
            square = total[row, j] + slope * slope
            total[row, j] = square
            parameter[row, j] -= lr * slope / (np.sqrt(square) + eps)
    return 0


@compiled
def rowwise(start, stop, rows, grad, total, rates, parameter):
    """`rowwise_adagrad_step` for lines of the gradient from `start` to `stop` - 1."""
    width = grad.shape[1]
    for index in range(start, stop):
        row, square = rows[index], total.dtype.type(0)
        for j in range(width):
            square += grad[index, j] * grad[index, j]
        total[row] += square / width
        scale = rates[0] / (np.sqrt(total[row]) + rates[1])
        for j in range(width):
            parameter[row, j] -= scale * grad[index, j]
    return 0
