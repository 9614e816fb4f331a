"""Compiled comparisons with rows of a table, against the same by way of vectors."""

import copy
import pickle

import pytest
import torch
from kernels.switch import kernels_on

from sparring.embedding import EmbeddingTable
from sparring.kernels import runtime
from sparring.kernels.embedding import group_by_row
from sparring.models.scorers import ComplexL1Scorer, DotScorer, L1Scorer, L2Scorer

SCORERS = {
    "product": DotScorer,
    "distance": L2Scorer,
    "city-block": L1Scorer,
    "moduli": ComplexL1Scorer,
}
ROWS, DIM, BATCH = 30, 6, 12


def made(*, sparse=False, dtype=torch.float32):
    torch.manual_seed(0)
    return EmbeddingTable(ROWS, DIM, sparse=sparse).to(dtype)


def ids(lists, width=5):
    return torch.randint(ROWS, (lists, width), generator=torch.Generator().manual_seed(lists))


def learnt(scorer, entity, lists):
    """Scores and gradients of a step with three uses of the table, as a main model makes them."""
    torch.manual_seed(1)
    shift = torch.randn(BATCH, DIM, dtype=entity.weight.dtype, requires_grad=True)
    anchor, answer = torch.randint(ROWS, (2, BATCH))
    score = scorer(entity(anchor) + shift, entity)
    scores = torch.cat([score(answer.unsqueeze(1)), score(ids(lists))], 1)
    entity.weight.grad = None
    (scores * torch.randn_like(scores)).sum().backward()
    return scores.detach(), shift.grad, entity.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("lists", [BATCH, 3, 1])
@pytest.mark.parametrize("name", SCORERS)
def test_loops_do_what_vectors_do(name, lists, sparse, dtype):
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
    if name != "product":
        assert not query.grad.any()
        assert not entity.weight.grad.any()


@pytest.mark.parametrize("name", SCORERS)
def test_gradients_do_not_depend_on_the_number_of_threads(name, monkeypatch):
    monkeypatch.setattr(runtime, "WORTH_A_THREAD", 1)
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


def test_the_gradient_of_rows_in_use_names_each_once():
    rows = learnt(DotScorer, made(sparse=True), BATCH)[2]._indices()[0]
    assert torch.equal(rows, rows.unique())


def test_what_one_pass_back_leaves_does_not_reach_the_next():
    entity = made()
    query = torch.ones(BATCH, DIM, requires_grad=True)
    scores = lambda: DotScorer(query, entity)(ids(BATCH)).sum()
    (wanted,) = torch.autograd.grad(scores(), entity.weight)
    torch.autograd.grad(scores(), query)
    torch.autograd.grad(scores(), query)
    (got,) = torch.autograd.grad(scores(), entity.weight)
    assert torch.equal(got, wanted)


def test_two_losses_may_go_back_one_after_the_other():
    entity = made()
    query = torch.ones(BATCH, DIM)
    one, other = (DotScorer(query, entity)(ids(BATCH, width)).sum() for width in (2, 3))
    (one + other).backward(retain_graph=True)
    both, entity.weight.grad = entity.weight.grad, None
    one.backward()
    other.backward()
    torch.testing.assert_close(entity.weight.grad, both)


def test_a_frozen_table_still_tells_queries_where_to_go():
    entity = made().requires_grad_(False)
    query = torch.ones(BATCH, DIM, requires_grad=True)
    DotScorer(query, entity)(ids(BATCH)).sum().backward()
    assert entity.weight.grad is None
    torch.testing.assert_close(query.grad, entity.weight[ids(BATCH)].sum(1))


def test_a_table_that_changes_in_between_is_noticed():
    entity = made()
    scores = L2Scorer(torch.ones(BATCH, DIM), entity)(ids(BATCH)).sum()
    with torch.no_grad():
        entity.weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        scores.backward()


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_learns_by_itself(twin):
    entity = made(sparse=True)
    wanted = learnt(DotScorer, entity, BATCH)
    entity(torch.tensor([0]))  # a use that nothing has gone back through
    got = learnt(DotScorer, twin(entity), BATCH)
    assert got[2].is_sparse
    assert all(torch.equal(one.to_dense(), two.to_dense()) for one, two in zip(got, wanted))


def test_nothing_asked_is_nothing_scored():
    entity = made()
    nothing = torch.zeros(0, 5, dtype=torch.long)
    for scorer in SCORERS.values():
        assert scorer(entity.weight[:0], entity)(nothing).shape == (0, 5)


@pytest.mark.parametrize("rows", [1, 2, 4096, 4097, 2**25])
def test_pairs_are_sorted_by_row_and_then_as_they_stand(rows):
    keys = torch.randint(rows, (300,), generator=torch.Generator().manual_seed(0))
    runs = group_by_row(keys, rows)
    assert runs.order.tolist() == keys.argsort(stable=True).tolist()
    row, count = keys.unique(return_counts=True)
    assert runs.rows.tolist() == row.tolist()
    assert runs.first.diff().tolist() == count.tolist()
