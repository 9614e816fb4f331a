"""Steps along relations, against loops over facts."""

import torch

from sparring.data.index import ragged_arange
from sparring.models.rule_mining import Pairs, Walks, portions
from sparring.testing import tiny_graph

GRAPH = tiny_graph()
RELATIONS, STAY = GRAPH.num_relations, 2 * GRAPH.num_relations
WALKS = Walks(GRAPH)
STEPS = {
    *((h, r, t) for h, r, t in GRAPH.triples.tolist()),
    *((t, r + RELATIONS, h) for h, r, t in GRAPH.triples.tolist()),
    *((e, STAY, e) for e in range(GRAPH.num_entities)),
}
EVERY = torch.cartesian_prod(torch.arange(GRAPH.num_entities), torch.arange(STAY + 1))


def test_steps_along_a_relation_are_the_facts_and_staying():
    entity, relation = EVERY.unbind(1)
    row, end = WALKS.along(entity, relation)
    found = list(zip(entity[row].tolist(), relation[row].tolist(), end.tolist()))
    assert len(found) == len(STEPS)
    assert set(found) == STEPS
    assert torch.equal(WALKS.count(entity, relation), torch.bincount(row, minlength=len(EVERY)))


def test_steps_anywhere_are_those_along_all_relations():
    entity = torch.tensor([3, 0, 3])
    row, relation, end = WALKS.anywhere(entity)
    found = sorted(zip(row.tolist(), relation.tolist(), end.tolist()))
    want = [(i, r, t) for i, e in enumerate(entity.tolist()) for h, r, t in STEPS if h == e]
    assert found == sorted(want)
    assert torch.equal(WALKS.degree(entity), torch.bincount(row, minlength=3))


def test_pairs_have_all_relations_between_them():
    start, end = torch.cartesian_prod(torch.arange(11), torch.arange(11)).unbind(1)
    row, relation = Pairs(GRAPH).between(start, end)
    found = list(zip(start[row].tolist(), relation.tolist(), end[row].tolist()))
    assert len(found) == len(STEPS)
    assert set(found) == STEPS


def test_runs_are_spelled_out():
    row, place = ragged_arange(torch.tensor([5, 9, 2]), torch.tensor([2, 0, 3]))
    assert row.tolist() == [0, 0, 2, 2, 2]
    assert place.tolist() == [5, 6, 2, 3, 4]


def test_portions_are_about_as_big_as_asked_for_and_leave_nothing_out():
    size = torch.tensor([3, 0, 4, 9, 1, 1, 0])
    rows = [list(range(some.start, some.stop)) for some in portions(size, 5)]
    assert [row for some in rows for row in some] == list(range(7))
    assert all(sum(size[row] for row in some[1:]) <= 5 for some in rows)
    assert list(portions(size[:0], 5)) == []
