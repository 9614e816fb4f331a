"""Embedding tables, whose gradient is made once for all uses of a backward pass."""

import copy
import pickle

import pytest
import torch
from kernels.table_cases import BATCH, DIM, ROWS, ids, learnt, made

from sparring.models.scorers import DotScorer, L2Scorer


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


def test_one_graph_may_go_back_twice():
    entity = made()
    scores = DotScorer(torch.ones(BATCH, DIM), entity)(ids(BATCH)).sum()
    scores.backward(retain_graph=True)
    once = entity.weight.grad.clone()
    scores.backward()
    torch.testing.assert_close(entity.weight.grad, 2 * once)


def test_gradients_have_no_gradients():
    entity = made()
    scores = (DotScorer(entity(torch.arange(BATCH)), entity)(ids(BATCH)) ** 2).sum()
    (grad,) = torch.autograd.grad(scores, entity.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_hooks_see_the_whole_gradient_once(sparse):
    entity, seen = made(sparse=sparse), []
    entity.weight.register_hook(lambda grad: seen.append(grad.to_dense()))
    grad = learnt(DotScorer, entity, BATCH)[2]
    assert len(seen) == 1
    assert torch.equal(seen[0], grad.to_dense())


def test_a_look_up_that_the_loss_does_not_need_adds_nothing():
    entity = made()
    entity(torch.arange(ROWS))
    entity(torch.tensor([3])).sum().backward()
    assert entity.weight.grad.sum(1).nonzero().flatten().tolist() == [3]
