"""Explanations of triples by rules and by the nearest facts."""

import json

import pytest
import torch
from evaluation.fixtures import Table, graph_of

from sparring.data.graph import TrainGraph
from sparring.data.vocabulary import UnknownNameError
from sparring.evaluation import explain as module
from sparring.evaluation.explain import Fact, explain
from sparring.models import DistMult
from sparring.models.rule_mining import Rules, mine_rules

ENTITIES = ["ann", "bob", "cy", "rome", "oslo", "italy", "norway", "<b>x</b>\x1b"]
RELATIONS = ["lives in", "is in", "comes from", "knows"]
LIVES, IS_IN, FROM, KNOWS = range(4)
# comes from <- lives in, is in: true for ann and bob, whose triples training has
GRAPH = graph_of(
    [
        (0, LIVES, 3),
        (1, LIVES, 4),
        (2, LIVES, 3),
        (3, IS_IN, 5),
        (4, IS_IN, 6),
        (0, FROM, 5),
        (1, FROM, 6),
        (0, KNOWS, 1),
    ],
    test=[(2, FROM, 5)],
    entities=ENTITIES,
    relations=RELATIONS,
)
QUESTION = ("cy", "comes from", "italy")


def rules_of(*rows):
    """Rules of (head, first, second, support, body)."""
    columns = torch.tensor(rows).T
    return Rules(*columns, (columns[3] / (columns[4] + 5)).float())


def test_a_rule_with_its_facts_is_the_reason():
    (reason,) = explain(GRAPH, QUESTION).reasons
    assert reason.facts == ((Fact("cy", "lives in", "rome"), Fact("rome", "is in", "italy")),)
    assert reason.rule == "X comes from Y if X lives in Z and Z is in Y"
    assert (reason.support, reason.body, reason.ways) == (2, 3, 1)
    assert reason.confidence == pytest.approx(2 / 8)


def test_the_reason_is_a_sentence():
    assert repr(explain(GRAPH, QUESTION)) == (
        "cy comes from italy, because:\n"
        "- cy lives in rome and rome is in italy (training facts). X comes from Y if X lives in Z "
        "and Z is in Y: true in 2 of 3 cases, confidence 0.25."
    )


def test_inverse_relations_are_turned_around():
    rules = rules_of((KNOWS, LIVES, 4 + LIVES, 3, 5), (KNOWS, 4 + KNOWS, 8, 1, 1))
    (reason,) = explain(GRAPH, ("ann", "knows", "cy"), rules=rules).reasons
    assert reason.rule == "X knows Y if X lives in Z and Y lives in Z"
    assert reason.facts == ((Fact("ann", "lives in", "rome"), Fact("cy", "lives in", "rome")),)
    (reason,) = explain(GRAPH, ("bob", "knows", "ann"), rules=rules).reasons
    assert reason.rule == "X knows Y if Y knows X"
    assert reason.facts == ((Fact("ann", "knows", "bob"),),)


def test_the_most_confident_rules_come_first_and_no_more_than_asked_for():
    rules = rules_of((FROM, LIVES, IS_IN, 9, 9), (FROM, LIVES, IS_IN, 5, 9), (KNOWS, FROM, 8, 1, 1))
    reasons = explain(GRAPH, QUESTION, rules=rules).reasons
    assert [reason.support for reason in reasons] == [9, 5]
    assert len(explain(GRAPH, QUESTION, rules=rules, max_reasons=1).reasons) == 1


def test_all_ways_are_counted_and_the_first_are_given():
    graph = graph_of([(0, 0, middle) for middle in (1, 2, 3)] + [(m, 0, 4) for m in (1, 2, 3)])
    rules = rules_of((1, 0, 0, 3, 3))
    (reason,) = explain(graph, ("e0", "r1", "e4"), rules=rules, max_ways=2).reasons
    assert (reason.ways, len(reason.facts)) == (3, 2)
    assert "2 more such cases" in str(reason)


def test_a_path_through_its_own_ends_is_none():
    graph = graph_of([(0, 0, 0), (0, 0, 4), (4, 0, 4)])
    assert not explain(graph, ("e0", "r1", "e4"), rules=rules_of((1, 0, 0, 3, 3))).reasons


def test_facts_outside_training_carry_nothing():
    graph = graph_of([(1, 0, 4)], valid=[(0, 0, 1)], test=[(0, 0, 1)])
    assert not explain(graph, ("e0", "r1", "e4"), rules=rules_of((1, 0, 0, 3, 3))).reasons


def test_a_training_fact_is_called_one():
    found = explain(GRAPH, ("ann", "comes from", "italy"))
    assert found.known and "ann comes from italy (itself a training fact), becaus" in repr(found)
    assert not explain(GRAPH, QUESTION).known


def test_without_a_rule_the_nearest_facts_share_an_end():
    found = explain(GRAPH, ("bob", "comes from", "italy"))
    assert not found.reasons
    assert [(near.fact.head, near.fact.tail, near.similarity) for near in found.nearest] == [
        ("ann", "italy", 0.5),
        ("bob", "norway", 0.5),
    ]


def test_without_a_rule_the_vectors_of_the_model_decide():
    model = DistMult(GRAPH.training, dim=4)
    with torch.no_grad():
        model.entity.weight.copy_(torch.eye(8, 4))
        model.entity.weight[2] = torch.tensor([1.0, 1.0, 0.0, 0.0])  # cy: between ann and bob
        model.entity.weight[7] = model.entity.weight[5] = torch.tensor([0.0, 0.0, 0.0, 1.0])
        model.entity.weight[6] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    found = explain(GRAPH, ("cy", "comes from", ENTITIES[7]), model=model)
    assert [(near.fact.head, near.fact.tail) for near in found.nearest] == [
        ("ann", "italy"),
        ("bob", "norway"),
    ]
    half = 0.5**0.5
    want = [(half + 1) / 2, half]
    assert [near.similarity for near in found.nearest] == pytest.approx(want)
    assert (
        len(explain(GRAPH, ("cy", "comes from", "rome"), model=model, max_nearest=1).nearest) == 1
    )


def test_a_fact_is_not_near_itself():
    found = explain(GRAPH, ("ann", "knows", "bob"), rules=rules_of((FROM, LIVES, IS_IN, 1, 1)))
    assert found.known and not found.nearest
    assert "No training fact is near." in repr(found)


def test_a_model_without_vectors_compares_ends():
    asked = ("bob", "comes from", "italy")
    assert explain(GRAPH, asked, model=Table.random(GRAPH)) == explain(GRAPH, asked)


def test_rules_are_mined_once_for_each_graph(monkeypatch):
    mined = []

    def mine(graph: TrainGraph) -> Rules:
        mined.append(graph)
        return mine_rules(graph)

    monkeypatch.setattr(module, "mine_rules", mine)
    graph = graph_of(GRAPH.train.tolist(), entities=ENTITIES, relations=RELATIONS)
    for _ in range(2):
        explain(graph, QUESTION)
    assert mined == [graph.training]


def test_an_unknown_name_is_an_error():
    with pytest.raises(UnknownNameError, match="unknown entity 'boby'; did you mean 'bob'"):
        explain(GRAPH, ("boby", "comes from", "italy"))


def test_names_are_shown_safely():
    graph = graph_of([(7, LIVES, 3), (3, IS_IN, 5)], entities=ENTITIES, relations=RELATIONS)
    rules = rules_of((FROM, LIVES, IS_IN, 2, 3))
    found = explain(graph, (ENTITIES[7], "comes from", "italy"), rules=rules)
    assert "\x1b" not in repr(found) and "<b>x</b>\\x1b lives in rome" in repr(found)
    assert "<b>" not in found._repr_html_() and "\x1b" not in found._repr_html_()


def test_explanations_fit_into_json():
    found = json.loads(json.dumps(explain(GRAPH, QUESTION).to_dict()))
    assert found["triple"] == {"head": "cy", "relation": "comes from", "tail": "italy"}
    assert found["reasons"][0]["facts"][0][1] == ["rome", "is in", "italy"]
