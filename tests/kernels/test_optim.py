"""Steps of tables by loops, against PyTorch's own, for sparse gradients in any order."""

import pytest
import torch
from kernels.switch import kernels_on
from torch import nn

from sparring.kernels.optim import (
    adagrad_step,
    adam_step,
    can_update_rows,
    rowwise_adagrad_step,
    sorted_rows,
)

ROWS, DIM = 6, 4


def sparse(rows):
    """A gradient with one line for each of these rows."""
    values = torch.arange(1.0, len(rows) * DIM + 1).view(len(rows), DIM)
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (ROWS, DIM))


@pytest.mark.parametrize("rows", [[1, 3, 4], [4, 1, 3], [3, 1, 3]])
def test_rows_ascend_and_come_once(rows):
    row, value = sorted_rows(sparse(rows))
    assert row.tolist() == sorted(set(rows))
    torch.testing.assert_close(value, sparse(rows).to_dense()[row])


def test_adagrad_by_hand():
    parameter, total = torch.ones(ROWS, DIM), torch.full((ROWS, DIM), 2.0)
    adagrad_step(parameter, sparse([4, 1]), total, (0.1, 1e-10))
    grad = sparse([4, 1]).to_dense()
    want = 2.0 + grad**2
    torch.testing.assert_close(total, want)
    torch.testing.assert_close(parameter, 1 - 0.1 * grad / want.sqrt())


def test_adam_moves_rows_without_a_gradient():
    parameter, mean, square = torch.zeros(ROWS, DIM), torch.ones(ROWS, DIM), torch.ones(ROWS, DIM)
    adam_step(parameter, sparse([2]), mean, square, (0.1, 0.9, 0.1, 0.5, 1.0, 0.0))
    grad = sparse([2]).to_dense()
    first, second = 0.9 + 0.1 * grad, 0.9 + 0.1 * grad**2
    torch.testing.assert_close(mean, first)
    torch.testing.assert_close(square, second)
    torch.testing.assert_close(parameter, -0.5 * first / second.sqrt())


@pytest.mark.parametrize("rows", [[1, 3, 4], [4, 1, 3], [3, 1, 3]])
def test_rowwise_adagrad_by_loop_and_by_twin(rows):
    found = []
    for loops in (True, False):
        parameter, total = nn.Parameter(torch.ones(ROWS, DIM)), torch.ones(ROWS)
        with kernels_on(loops), torch.no_grad():
            rowwise_adagrad_step(parameter, sparse(rows), total, 0.1, 1e-8)
        found.append((parameter.detach(), total))
    for loop, plain in zip(*found):
        torch.testing.assert_close(loop, plain)


def test_tables_in_memory_are_updated_by_rows():
    assert can_update_rows(torch.zeros(2, 2))
    assert not can_update_rows(torch.zeros(2))
    assert not can_update_rows(torch.zeros(2, 2, dtype=torch.bfloat16))
    with kernels_on(False):
        assert not can_update_rows(torch.zeros(2, 2))
