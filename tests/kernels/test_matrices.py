"""Vectors times matrices in rows of a table, against PyTorch operations on copies of the rows."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.embedding import EmbeddingTable
from sparring.kernels import runtime

ROWS, WIDTH, BATCH = 7, 5, 40


def learnt(*, sparse=False, dtype=torch.float32, dropout=0.0):
    """Products and gradients of a step that uses the table twice."""
    torch.manual_seed(0)
    table = EmbeddingTable(ROWS, WIDTH**2, sparse=sparse).to(dtype)
    vectors = torch.randn(BATCH, WIDTH, dtype=dtype, requires_grad=True)
    ids = torch.randint(ROWS - 2, (BATCH,))  # some rows are never used
    transposed = torch.rand(BATCH) < 0.5
    out = table.multiply(vectors, ids, transposed, dropout=dropout)
    again = table.multiply(out, ids.flip(0), transposed, dropout=dropout)
    (again * torch.randn_like(again)).sum().backward()
    return out.detach(), again.detach(), vectors.grad, table.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_loops_do_what_pytorch_does(sparse, dtype, dropout):
    got = {}
    for loops in (True, False):
        with kernels_on(loops):
            got[loops] = learnt(sparse=sparse, dtype=dtype, dropout=dropout)
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


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "pytorch"])
@pytest.mark.parametrize("dropout", [0.25, 0.9, 1.0])
def test_numbers_of_matrices_are_dropped_for_each_vector_by_itself(dropout, loops):
    """A vector of a single 1 reads off a row of the matrix."""
    width, batch = 20, 2000
    table = EmbeddingTable(1, width**2)
    torch.nn.init.ones_(table.weight)
    one = torch.nn.functional.one_hot(torch.arange(batch) % width, width).float()
    ids, transposed = torch.zeros(batch, dtype=torch.long), torch.arange(batch) % 2 == 0
    with kernels_on(loops):
        got, again = (table.multiply(one, ids, transposed, dropout=dropout) for _ in range(2))
    kept = got != 0
    torch.testing.assert_close(got[kept], torch.full_like(got[kept], 1 / max(1 - dropout, 0.1)))
    deviation = (dropout * (1 - dropout)) ** 0.5
    for share in (kept.double().mean(), kept[::2].double().mean(), kept[:, 3].double().mean()):
        assert abs(share - (1 - dropout)) <= 5 * deviation / len(kept) ** 0.5
    # independent: of numbers next to each other, of vectors next to each other, and of both draws
    for other in (kept[:, 1:], kept[1:], (again != 0)):
        mine = kept[: other.shape[0], : other.shape[1]]
        both = (mine & other).double().mean()
        assert abs(both - (1 - dropout) ** 2) <= 5 * deviation / mine.numel() ** 0.5


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
