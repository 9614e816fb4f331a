"""The small model that a generator learns."""

import pytest
import torch
from generator_cases import scored_queries

from sparring.generators.student import StudentModel


def test_a_fresh_student_is_nearly_uniform():
    torch.manual_seed(0)
    graph, queries, _ = scored_queries(entities=500)
    logits = StudentModel(graph, dim=32, sparse=False)(queries)(torch.arange(500).unsqueeze(0))
    assert 0.02 < logits.std() < 0.3


def test_a_student_multiplies_and_shifts_by_hand():
    graph, queries, _ = scored_queries(queries=1)
    student = StudentModel(graph, dim=2, sparse=False)
    with torch.no_grad():
        student.entity.weight[0] = torch.tensor([1.0, 2.0, 9.0])
        student.entity.weight[1] = torch.tensor([5.0, 7.0, 0.5])
        student.relation.weight[0] = torch.tensor([3.0, 4.0, 10.0, 20.0])
    # (1 + 2i)(3 + 4i) = -5 + 10i, shifted to 5 + 30i
    torch.testing.assert_close(student.context(queries), torch.tensor([[5.0, 30.0]]))
    got = student(queries)(torch.tensor([[1]]))
    assert got.item() == pytest.approx(5 * 5 + 30 * 7 + 0.5)


def test_the_loss_is_the_cross_entropy_of_corrected_logits():
    graph, queries, _ = scored_queries(queries=2)
    student = StudentModel(graph, dim=8, sparse=False)
    ids, log_q = torch.tensor([[0, 1, 2], [2, 3, 4]]), torch.randn(2, 3)
    target = torch.randn(2, 3).softmax(1)
    loss = student.distillation_loss(queries, ids, log_q, target, 0.0)
    log_p = (student(queries)(ids) - log_q).log_softmax(1)
    torch.testing.assert_close(loss, -(target * log_p).sum(1).mean())
