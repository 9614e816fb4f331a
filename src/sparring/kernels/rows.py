"""Rows in another order, and rows that are taken several times: what travels between processes."""

from typing import Any

from jaxtyping import Int
from torch import Tensor
from torch.autograd import Function

from sparring.kernels.embedding import add_vectors, group_by_row, merge_rows
from sparring.kernels.runtime import enabled_for, run_in_threads


def stable_order(keys: Int[Tensor, "P"], values: int) -> Int[Tensor, "P"]:
    """Indices of ascending keys below a number of values, those of equal keys as given."""
    if not enabled_for(keys):
        return keys.argsort(stable=True)
    return group_by_row(keys, values).order.long()


def distinct(ids: Int[Tensor, "P"], num_rows: int) -> tuple[Int[Tensor, "U"], Int[Tensor, "P"]]:
    """The rows that ids name, ascending, and the index of each id among them."""
    if not enabled_for(ids):
        return ids.unique(return_inverse=True)
    rows, (index,) = merge_rows([ids], num_rows)
    return rows, index.long()


class TakeRows(Function):
    """Rows of a matrix, each perhaps several times."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(matrix)
        return matrix.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (index,) = ctx.saved_tensors
        out = grad.new_zeros(ctx.rows, *grad.shape[1:])
        if not (enabled_for(grad) and grad.dim() == 2):
            return out.index_add_(0, index, grad), None
        groups = group_by_row(index, ctx.rows)
        where = (groups.order, groups.first, groups.rows, groups.rows)
        numbers = grad.numel()
        run_in_threads(add_vectors, len(groups.rows), numbers, *where, grad.contiguous(), out)
        return out, None
