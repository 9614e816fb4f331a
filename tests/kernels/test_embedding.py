"""Loops over rows of a table, against PyTorch operations on copies of the rows."""

import pytest
import torch
from kernels.switch import kernels_on
from kernels.table_cases import BATCH, DIM, ROWS, SCORERS, learnt, made

from sparring.kernels import runtime
from sparring.kernels.embedding import group_by_row, merge_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("lists", [BATCH, 3, 1])
@pytest.mark.parametrize("name", SCORERS)
def test_loops_do_what_pytorch_does(name, lists, sparse, dtype):
    got = {}
    for loops in (True, False):
        with kernels_on(loops):
            got[loops] = learnt(SCORERS[name], made(sparse=sparse, dtype=dtype), lists)
    for one, other in zip(got[True], got[False]):
        assert one.is_sparse == other.is_sparse
        torch.testing.assert_close(one.to_dense(), other.to_dense())


@pytest.mark.parametrize("name", SCORERS)
def test_a_candidate_at_the_query_pulls_nothing(name):
    entity = made()
    query = entity.weight[:2].detach().clone().requires_grad_()
    SCORERS[name](query, entity)(torch.tensor([[0], [1]])).sum().backward()
    width = DIM - (name == "biased")  # a bias is pulled by any score
    if name != "product":
        assert not query.grad[:, :width].any()
        assert not entity.weight.grad[:, :width].any()


@pytest.mark.parametrize("name", SCORERS)
def test_gradients_do_not_depend_on_the_number_of_threads(name, monkeypatch):
    monkeypatch.setattr(runtime, "NUMBERS_PER_THREAD", 1)
    got = {}
    for threads in (1, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        got[threads] = learnt(SCORERS[name], made(), BATCH)
    assert all(torch.equal(one, five) for one, five in zip(got[1], got[5]))


@pytest.mark.parametrize("name", SCORERS)
def test_loops_take_candidates_that_are_entities_only(name):
    entity = made()
    for wrong in (ROWS, -1):
        with pytest.raises(IndexError, match="2 of 4 candidates are no entities: ids run from 0"):
            SCORERS[name](entity.weight[:2], entity)(torch.tensor([[wrong, 0], [1, wrong]]))


def test_nothing_asked_is_nothing_scored():
    entity = made()
    nothing = torch.zeros(0, 5, dtype=torch.long)
    for scorer in SCORERS.values():
        assert scorer(entity.weight[:0], entity)(nothing).shape == (0, 5)


@pytest.mark.parametrize("rows", [1, 2, 4096, 4097, 2**25])
def test_pairs_are_sorted_by_row_and_then_as_they_stand(rows):
    keys = torch.randint(rows, (300,), generator=torch.Generator().manual_seed(0))
    groups = group_by_row(keys, rows)
    assert groups.order.tolist() == keys.argsort(stable=True).tolist()
    row, count = keys.unique(return_counts=True)
    assert groups.rows.tolist() == row.tolist()
    assert groups.first.diff().tolist() == count.tolist()


def test_rows_of_several_parts_are_merged():
    rows, (one, other) = merge_rows([torch.tensor([2, 5, 7]), torch.tensor([0, 5])], 10)
    assert rows.tolist() == [0, 2, 5, 7]
    assert rows[one].tolist() == [2, 5, 7]
    assert rows[other].tolist() == [0, 5]
