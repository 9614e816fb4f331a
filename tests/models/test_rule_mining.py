"""Mined rules, and the indices that they are counted with, against loops over facts."""

from itertools import product

import pytest
import torch
from models.rule_groundings import FACTS, GRAPH, IDENTITY, groundings

from sparring.data.graph import TrainGraph
from sparring.models.rule_mining import NeighborIndex, RelationIndex, chunks_of, mine_rules

INDEX = NeighborIndex(GRAPH)
STEPS = FACTS | {(e, IDENTITY, e) for e in range(GRAPH.num_entities)}
EVERY = torch.cartesian_prod(torch.arange(GRAPH.num_entities), torch.arange(IDENTITY + 1))


def by_hand(least_support=1, least=0.0, unseen_negatives=5.0):
    found = {}
    for first, second, head in product(range(IDENTITY), range(IDENTITY + 1), range(IDENTITY)):
        body = groundings(first, second)
        support = sum((x, head, y) in FACTS for x, y in body)
        if support < least_support or (second == IDENTITY and head == first):
            continue
        if support / (len(body) + unseen_negatives) >= least:
            found[head, first, second] = support, len(body)
    return found


def as_dict(rules):
    keys = zip(rules.head.tolist(), rules.first.tolist(), rules.second.tolist())
    return dict(zip(keys, zip(rules.support.tolist(), rules.body.tolist())))


def test_rules_are_all_that_a_loop_finds():
    assert as_dict(mine_rules(GRAPH, min_support=1, min_confidence=0.0)) == by_hand()


def test_thresholds_are_on_support_and_confidence():
    got = mine_rules(GRAPH, min_support=2, min_confidence=0.2, unseen_negatives=1.0)
    assert as_dict(got) == by_hand(2, 0.2, 1.0)
    assert (got.confidence - got.support / (got.body + 1.0)).abs().max() < 1e-6


def test_the_most_confident_rules_of_each_head_are_kept():
    every, few = (
        mine_rules(GRAPH, min_confidence=0.0),
        mine_rules(GRAPH, min_confidence=0.0, rules_per_relation=3),
    )
    for head in range(IDENTITY):
        best = every.confidence[every.head == head]
        assert torch.equal(best, best.sort(descending=True).values)
        assert torch.equal(few.confidence[few.head == head], best[:3])


def test_few_anchors_are_a_sample_of_the_bodies():
    whole, some = (
        by_hand(),
        mine_rules(GRAPH, min_support=1, min_confidence=0.0, anchors_per_relation=2),
    )
    assert 0 < len(some) < len(whole)
    assert all(body <= whole[rule][1] for rule, (_, body) in as_dict(some).items())
    again = mine_rules(GRAPH, min_support=1, min_confidence=0.0, anchors_per_relation=2)
    assert as_dict(again) == as_dict(some)
    assert as_dict(
        mine_rules(GRAPH, min_support=1, min_confidence=0.0, anchors_per_relation=2, seed=1)
    ) != as_dict(some)


def test_mining_in_chunks_finds_the_same_rules(monkeypatch):
    whole = mine_rules(GRAPH, min_support=1)
    monkeypatch.setattr("sparring.models.rule_mining.MAX_PATHS", 7)
    assert as_dict(mine_rules(GRAPH, min_support=1)) == as_dict(whole)


def test_a_relation_does_not_imply_itself():
    world = TrainGraph(torch.tensor([[0, 0, 1], [2, 0, 3], [4, 0, 5]]), 6, 1)
    assert len(mine_rules(world, min_support=1, min_confidence=0.0)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"anchors_per_relation": 0},
        {"min_support": 0},
        {"rules_per_relation": 0},
        {"unseen_negatives": -1.0},
    ],
    ids=str,
)
def test_thresholds_must_be_valid(options):
    with pytest.raises(
        ValueError, match="must be at least 1, and unseen_negatives not negative; got"
    ):
        mine_rules(GRAPH, **options)


def test_neighbors_along_a_relation_are_those_of_the_facts_and_the_identity():
    entity, relation = EVERY.unbind(1)
    row, end = INDEX.neighbors(entity, relation)
    found = list(zip(entity[row].tolist(), relation[row].tolist(), end.tolist()))
    assert len(found) == len(STEPS)
    assert set(found) == STEPS
    assert torch.equal(INDEX.count(entity, relation), torch.bincount(row, minlength=len(EVERY)))


def test_all_neighbors_are_those_along_all_relations():
    entity = torch.tensor([3, 0, 3])
    row, relation, end = INDEX.all_neighbors(entity)
    found = sorted(zip(row.tolist(), relation.tolist(), end.tolist()))
    want = [(i, r, t) for i, e in enumerate(entity.tolist()) for h, r, t in STEPS if h == e]
    assert found == sorted(want)
    assert torch.equal(INDEX.degree(entity), torch.bincount(row, minlength=3))


def test_all_relations_between_two_entities_are_found():
    start, end = torch.cartesian_prod(torch.arange(11), torch.arange(11)).unbind(1)
    row, relation = RelationIndex(GRAPH).between(start, end)
    found = list(zip(start[row].tolist(), relation.tolist(), end[row].tolist()))
    assert len(found) == len(STEPS)
    assert set(found) == STEPS


def test_chunks_are_about_as_big_as_asked_for_and_leave_nothing_out():
    size = torch.tensor([3, 0, 4, 9, 1, 1, 0])
    rows = [list(range(some.start, some.stop)) for some in chunks_of(size, 5)]
    assert [row for some in rows for row in some] == list(range(7))
    assert all(sum(size[row] for row in some[1:]) <= 5 for some in rows)
    assert list(chunks_of(size[:0], 5)) == []
