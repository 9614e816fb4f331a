"""The loop of distillation does what autograd does."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.batch import Queries
from sparring.generators.student import StudentModel
from sparring.kernels.distillation import distinct_rows
from sparring.testing import tiny_graph

BATCH, MANY = 6, 5


def update(graph, loops, lists, answer_weight, dtype):
    """Loss and both tables' gradients."""
    torch.manual_seed(0)
    student = StudentModel(graph, dim=8, sparse=False).to(dtype)
    torch.nn.init.normal_(student.relation.weight)  # at first nothing is turned
    anchor, answer = torch.randint(graph.num_entities, (2, BATCH))
    relation = torch.randint(2 * graph.num_relations, (BATCH,))
    queries = Queries(anchor, relation, answer, torch.ones(BATCH))
    ids = torch.randint(graph.num_entities, (lists, MANY))
    log_q, target = torch.randn(BATCH, MANY), torch.randn(BATCH, MANY).softmax(1)
    target[2] = 0.0  # a query of which nothing counts
    with kernels_on(loops):
        loss = student.distillation_loss(queries, ids, log_q, target, answer_weight)
    weights = (student.entity.weight, student.relation.weight)
    grads = torch.autograd.grad(2 * loss, weights)
    return loss.detach(), *(one.to_dense() for one in grads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("answer_weight", [0.0, 0.3])
@pytest.mark.parametrize("lists", [BATCH, 2, 1])
def test_the_loop_does_what_autograd_does(lists, answer_weight, dtype):
    graph = tiny_graph()
    looped, plain = (update(graph, loops, lists, answer_weight, dtype) for loops in (True, False))
    for one, other in zip(looped, plain):
        assert one.dtype == other.dtype == dtype
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other)


def test_far_apart_logits_do_no_harm():
    graph = tiny_graph()
    student = StudentModel(graph, dim=8, sparse=False)
    with torch.no_grad():
        student.entity.weight.mul_(1e4)
    some = torch.arange(4)
    queries = Queries(some, some % graph.num_relations, some, torch.ones(4))
    ids, nothing = some.view(4, 1).repeat(1, 3), torch.zeros(4, 3)
    loss = student.distillation_loss(queries, ids, nothing, nothing + 1 / 3, 0.3)
    loss.backward()
    assert loss.isfinite()
    assert student.entity.weight.grad.to_dense().isfinite().all()


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 5000])
def test_rows_in_use_are_distinct_and_ascend(rows):
    rng = torch.Generator().manual_seed(rows)
    parts = [torch.randint(rows, (size,), generator=rng) for size in (40, 1, 300)]
    parts[0][0] = rows - 1
    found, places = distinct_rows(parts, rows)
    assert torch.equal(found, torch.cat(parts).unique())
    for part, place in zip(parts, places):
        assert torch.equal(found[place], part)
