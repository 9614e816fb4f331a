"""Confidences of rules against loops over all groundings, and the model made of them."""

import pytest
import torch
from evaluation.fixtures import random_graph
from models.rule_groundings import ENTITIES, FACTS, GRAPH, RELATIONS, groundings

from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.evaluation.predict import PredictionQuery, predict
from sparring.evaluation.ranking import evaluate
from sparring.experiments.config import PARTS
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import RuleModel
from sparring.models import rules as rules_module
from sparring.models.rule_mining import mine_rules
from sparring.models.rules import RulePredictor
from sparring.registry import build
from sparring.training import TrainingStep

QUERIES = tail_and_head_queries(GRAPH.triples[:9], RELATIONS)
ALL_ENTITIES = torch.arange(ENTITIES).unsqueeze(0)


def aggregate(aggregation, confidences):
    if aggregation == "max":
        return max(confidences, default=0.0)
    miss = 1.0
    for confidence in confidences:
        miss *= 1 - confidence
    return 1 - miss


def confidence_by_hand(rules, aggregation, unseen_negatives=5.0):
    """Confidence of every entity for every query."""
    table = torch.zeros(len(QUERIES), ENTITIES)
    bodies = [groundings(f, s) for f, s in zip(rules.first.tolist(), rules.second.tolist())]
    for row, (x, asked) in enumerate(zip(QUERIES.anchor.tolist(), QUERIES.relation.tolist())):
        of = [fact for fact in FACTS if fact[1] == asked]
        for y in range(ENTITIES):
            found = [
                confidence
                for head, body, confidence in zip(
                    rules.head.tolist(), bodies, rules.confidence.tolist()
                )
                if head == asked and (x, y) in body
            ]
            count = sum(fact[2] == y for fact in of)
            found += [count / (len(of) + unseen_negatives)] if count else []
            table[row, y] = aggregate(aggregation, found)
    return table


@pytest.mark.parametrize("aggregation", ["max", "noisy-or"])
def test_confidence_is_that_of_a_loop_over_rules(aggregation):
    rules = mine_rules(GRAPH, min_support=1)
    predictor = RulePredictor(GRAPH, rules, aggregation=aggregation)
    torch.testing.assert_close(
        predictor(QUERIES, ALL_ENTITIES), confidence_by_hand(rules, aggregation)
    )


@pytest.mark.parametrize("at_once", [5, 2**22])
@pytest.mark.parametrize("aggregation", ["max", "noisy-or"])
def test_listed_candidates_get_the_confidences_of_all_entities(monkeypatch, aggregation, at_once):
    predictor = RulePredictor(GRAPH, mine_rules(GRAPH, min_support=1), aggregation=aggregation)
    monkeypatch.setattr(rules_module, "MAX_PATHS", at_once)
    table = predictor._predict_all(QUERIES)
    ids = torch.randint(11, (18, 4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predictor._predict_listed(QUERIES, ids), table.gather(1, ids))
    for groups in (1, 3, 18):
        shared = ids[:groups]
        repeated = shared.repeat_interleave(18 // groups, dim=0)
        torch.testing.assert_close(predictor(QUERIES, shared), table.gather(1, repeated))


def test_without_other_rules_zero_rules_give_the_frequency_of_answers():
    graph = TrainGraph(torch.tensor([[0, 0, 1], [2, 0, 1], [4, 0, 5]]), 6, 1)
    predictor = RulePredictor(graph, mine_rules(graph), unseen_negatives=1.0)
    got = predictor(tail_and_head_queries(graph.triples[:1], 1)[:1], torch.arange(6).unsqueeze(0))
    torch.testing.assert_close(got, torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.0, 0.25]]))


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="aggregation must be one of max, noisy-or; got 'sum'"):
        RulePredictor(GRAPH, mine_rules(GRAPH), aggregation="sum")


def test_a_softmax_of_the_scores_is_proportional_to_confidence():
    model = RuleModel(GRAPH, min_support=1)
    confidence = model.predictor(QUERIES, ALL_ENTITIES) + 1 / 11
    share = model(QUERIES)(ALL_ENTITIES).softmax(1)
    torch.testing.assert_close(share, confidence / confidence.sum(1, keepdim=True))


def test_training_changes_no_rank():
    model = RuleModel(GRAPH)
    before = evaluate(model, GRAPH.triples, GRAPH.known)
    sampler = NSGenerator(GRAPH, k=4, dim=8)
    step = TrainingStep(model, sampler, SampledSoftmax(), CorruptBoth(GRAPH))
    rng = torch.Generator().manual_seed(0)
    step(GRAPH.triples, torch.optim.SGD(step.trainable_parameters(), 0.1), rng)
    assert model.log_inverse_temperature != 0
    assert torch.equal(evaluate(model, GRAPH.triples, GRAPH.known).rank, before.rank)


def test_a_graph_of_one_rule_is_solved():
    """Grandparents are parents of parents; half of them are left to be found."""
    parent = torch.stack([torch.arange(30), torch.zeros(30).long(), torch.arange(30) + 1], 1)
    grand = torch.stack([torch.arange(29), torch.ones(29).long(), torch.arange(29) + 2], 1)
    train, test = torch.cat([parent, grand[::2]]), grand[1::2]
    model = RuleModel(TrainGraph(train, 31, 2))
    known = TrainGraph(torch.cat([train, test]), 31, 2).known
    assert evaluate(model, test, known).hits(1) == 1.0


def test_rules_predict_answers():
    graph = random_graph()
    model = RuleModel(graph.training)
    answers = predict(
        model, graph, [PredictionQuery("e1", "r0", None), PredictionQuery(None, "r1", "e2")], k=3
    )
    assert len(answers.answers) == 6


@pytest.mark.parametrize("aggregation", ["max", "noisy-or"])
def test_a_rule_model_is_built_from_a_config(aggregation):
    spec = {"name": "rules", "aggregation": aggregation, "min_support": 1}
    model = build(spec, PARTS["model"][0], "model", graph=GRAPH)
    assert model(QUERIES)(ALL_ENTITIES).isfinite().all()
