"""Vectors times matrices in rows of a table, against PyTorch operations on copies of the rows."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.embedding import EmbeddingTable
from sparring.kernels import runtime

ROWS, WIDTH, BATCH = 7, 5, 40


def learnt(*, sparse=False, dtype=torch.float32):
    """Products and gradients of a step that uses the table twice."""
    torch.manual_seed(0)
    table = EmbeddingTable(ROWS, WIDTH**2, sparse=sparse).to(dtype)
    vectors = torch.randn(BATCH, WIDTH, dtype=dtype, requires_grad=True)
    ids = torch.randint(ROWS - 2, (BATCH,))  # some rows are never used
    transposed = torch.rand(BATCH) < 0.5
    out = table.multiply(vectors, ids, transposed)
    again = table.multiply(out, ids.flip(0), transposed)
    (again * torch.randn_like(again)).sum().backward()
    return out.detach(), again.detach(), vectors.grad, table.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_loops_do_what_pytorch_does(sparse, dtype):
    got = {}
    for loops in (True, False):
        with kernels_on(loops):
            got[loops] = learnt(sparse=sparse, dtype=dtype)
    for one, other in zip(got[True], got[False]):
        assert one.is_sparse == other.is_sparse
        torch.testing.assert_close(one.to_dense(), other.to_dense())


def test_a_product_by_hand():
    table = EmbeddingTable(2, 4)
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 4]]))
    vectors = torch.tensor([[1.0, 10.0], [1.0, 10.0]])
    got = table.multiply(vectors, torch.tensor([1, 1]), torch.tensor([False, True]))
    assert got.tolist() == [[31, 42], [21, 43]]


def test_products_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(runtime, "NUMBERS_PER_THREAD", 1)
    got = {}
    for threads in (1, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        got[threads] = learnt()
    assert all(torch.equal(one, five) for one, five in zip(got[1], got[5]))


@pytest.mark.parametrize("wrong", [ROWS, -1])
def test_matrices_are_rows_of_the_table(wrong):
    table = EmbeddingTable(ROWS, WIDTH**2)
    with pytest.raises(IndexError):
        table.multiply(torch.ones(2, WIDTH), torch.tensor([0, wrong]), torch.tensor([True, False]))


def test_nothing_asked_is_nothing_multiplied():
    nothing = torch.zeros(0, dtype=torch.long)
    got = EmbeddingTable(ROWS, WIDTH**2).multiply(torch.ones(0, WIDTH), nothing, nothing.bool())
    assert got.shape == (0, WIDTH)
