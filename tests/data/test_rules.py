"""Mined rules and what they say, against loops over all triples of entities."""

from itertools import product

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.models import rules as room
from sparring.models.rule_mining import mined
from sparring.models.rules import RuleBook
from sparring.testing import tiny_graph

GRAPH = tiny_graph()
ENTITIES, RELATIONS = GRAPH.num_entities, GRAPH.num_relations
STAY = 2 * RELATIONS
FACTS = {
    *((h, r, t) for h, r, t in GRAPH.triples.tolist()),
    *((t, r + RELATIONS, h) for h, r, t in GRAPH.triples.tolist()),
}
QUERIES = tail_and_head_queries(GRAPH.triples[:9], RELATIONS)
EVERYONE = torch.arange(ENTITIES).unsqueeze(0)


def pairs(first, second, among=range(ENTITIES)):
    """All (X, Y) that a body holds of."""
    if second == STAY:
        return {(x, y) for x, r, y in FACTS if r == first and x != y and x in among}
    return {
        (x, y)
        for (x, r, z), y in product(FACTS, range(ENTITIES))
        if r == first and len({x, y, z}) == 3 and (z, second, y) in FACTS and x in among
    }


def by_hand(least_support=1, least=0.0, pessimism=5.0):
    found = {}
    for first, second, head in product(range(STAY), range(STAY + 1), range(STAY)):
        body = pairs(first, second)
        support = sum((x, head, y) in FACTS for x, y in body)
        if support < least_support or (second == STAY and head == first):
            continue
        if support / (len(body) + pessimism) >= least:
            found[head, first, second] = support, len(body)
    return found


def as_dict(rules):
    keys = zip(rules.head.tolist(), rules.first.tolist(), rules.second.tolist())
    return dict(zip(keys, zip(rules.support.tolist(), rules.body.tolist())))


def test_rules_are_all_that_a_loop_finds():
    assert as_dict(mined(GRAPH, support=1, confidence=0.0)) == by_hand()


def test_thresholds_are_on_support_and_confidence():
    got = mined(GRAPH, support=2, confidence=0.2, pessimism=1.0)
    assert as_dict(got) == by_hand(2, 0.2, 1.0)
    assert (got.confidence - got.support / (got.body + 1.0)).abs().max() < 1e-6


def test_the_most_confident_rules_of_each_head_are_kept():
    every, few = mined(GRAPH, confidence=0.0), mined(GRAPH, confidence=0.0, most=3)
    for head in range(STAY):
        best = every.confidence[every.head == head]
        assert torch.equal(best, best.sort(descending=True).values)
        assert torch.equal(few.confidence[few.head == head], best[:3])


def test_few_anchors_are_a_sample_of_the_bodies():
    whole, some = by_hand(), mined(GRAPH, support=1, confidence=0.0, anchors=2)
    assert 0 < len(some) < len(whole)
    assert all(body <= whole[rule][1] for rule, (_, body) in as_dict(some).items())
    again = mined(GRAPH, support=1, confidence=0.0, anchors=2)
    assert as_dict(again) == as_dict(some)
    assert as_dict(mined(GRAPH, support=1, confidence=0.0, anchors=2, seed=1)) != as_dict(some)


def test_portions_change_nothing(monkeypatch):
    whole = mined(GRAPH, support=1)
    monkeypatch.setattr("sparring.models.rule_mining.AT_ONCE", 7)
    assert as_dict(mined(GRAPH, support=1)) == as_dict(whole)


def test_a_relation_does_not_imply_itself():
    world = TrainGraph(torch.tensor([[0, 0, 1], [2, 0, 3], [4, 0, 5]]), 6, 1)
    assert len(mined(world, support=1, confidence=0.0)) == 0


@pytest.mark.parametrize(
    "options", [{"anchors": 0}, {"support": 0}, {"most": 0}, {"pessimism": -1.0}], ids=str
)
def test_numbers_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match="at least 1, and pessimism is not negative; got anchors="):
        mined(GRAPH, **options)


def agreed(agreement, confidences):
    if agreement == "max":
        return max(confidences, default=0.0)
    doubt = 1.0
    for confidence in confidences:
        doubt *= 1 - confidence
    return 1 - doubt


def belief_by_hand(rules, agreement, pessimism=5.0):
    """Every query's belief in every entity."""
    table = torch.zeros(len(QUERIES), ENTITIES)
    bodies = [pairs(f, s) for f, s in zip(rules.first.tolist(), rules.second.tolist())]
    for row, (x, asked) in enumerate(zip(QUERIES.anchor.tolist(), QUERIES.relation.tolist())):
        of = [fact for fact in FACTS if fact[1] == asked]
        for y in range(ENTITIES):
            said = [
                confidence
                for head, body, confidence in zip(
                    rules.head.tolist(), bodies, rules.confidence.tolist()
                )
                if head == asked and (x, y) in body
            ]
            usual = sum(fact[2] == y for fact in of)
            said += [usual / (len(of) + pessimism)] if usual else []
            table[row, y] = agreed(agreement, said)
    return table


@pytest.mark.parametrize("agreement", ["max", "noisy-or"])
def test_belief_is_that_of_a_loop_over_rules(agreement):
    rules = mined(GRAPH, support=1)
    book = RuleBook(GRAPH, rules, agreement=agreement)
    torch.testing.assert_close(book.believed(QUERIES, EVERYONE), belief_by_hand(rules, agreement))


@pytest.mark.parametrize("at_once", [5, 2**22])
@pytest.mark.parametrize("agreement", ["max", "noisy-or"])
def test_looking_at_candidates_is_following_all_walks(monkeypatch, agreement, at_once):
    book = RuleBook(GRAPH, mined(GRAPH, support=1), agreement=agreement)
    monkeypatch.setattr(room, "AT_ONCE", at_once)
    table = book._everyone(QUERIES)
    ids = torch.randint(11, (18, 4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(book._candidates(QUERIES, ids), table.gather(1, ids))
    for groups in (1, 3, 18):
        shared = ids[:groups]
        spelled = shared.repeat_interleave(18 // groups, dim=0)
        torch.testing.assert_close(book.believed(QUERIES, shared), table.gather(1, spelled))


def test_without_rules_answers_are_believed_by_how_often_they_occur():
    world = TrainGraph(torch.tensor([[0, 0, 1], [2, 0, 1], [4, 0, 5]]), 6, 1)
    book = RuleBook(world, mined(world), pessimism=1.0)
    got = book.believed(
        tail_and_head_queries(world.triples[:1], 1)[:1], torch.arange(6).unsqueeze(0)
    )
    torch.testing.assert_close(got, torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.0, 0.25]]))


def test_an_agreement_has_a_name():
    with pytest.raises(ValueError, match="agree by one of max, noisy-or; got agreement='sum'"):
        RuleBook(GRAPH, mined(GRAPH), agreement="sum")
