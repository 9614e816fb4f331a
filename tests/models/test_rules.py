"""Rules as a main model."""

import pytest
import torch
from evaluation.worlds import random_graph

from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.evaluation.predict import PredictionQuery, predict
from sparring.evaluation.ranking import evaluate
from sparring.experiments.config import PARTS
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import RuleModel
from sparring.registry import build
from sparring.testing import tiny_graph
from sparring.training import TrainingStep

GRAPH = tiny_graph()
QUERIES = tail_and_head_queries(GRAPH.triples[:9], GRAPH.num_relations)
EVERYONE = torch.arange(GRAPH.num_entities).unsqueeze(0)


def test_a_softmax_of_the_scores_shares_out_belief():
    model = RuleModel(GRAPH, support=1)
    believed = model.book.believed(QUERIES, EVERYONE) + 1 / 11
    share = model(QUERIES)(EVERYONE).softmax(1)
    torch.testing.assert_close(share, believed / believed.sum(1, keepdim=True))


def test_training_changes_no_rank():
    model = RuleModel(GRAPH)
    before = evaluate(model, GRAPH.triples, GRAPH.known)
    sampler = NSGenerator(GRAPH, k=4, dim=8)
    step = TrainingStep(model, sampler, SampledSoftmax(), CorruptBoth(GRAPH))
    rng = torch.Generator().manual_seed(0)
    step(GRAPH.triples, torch.optim.SGD(step.trainable_parameters(), 0.1), rng)
    assert model.log_sharpness != 0
    assert torch.equal(evaluate(model, GRAPH.triples, GRAPH.known).rank, before.rank)


def test_a_world_of_one_rule_is_solved():
    """Grandparents are parents of parents; half of them are left to be found."""
    parent = torch.stack([torch.arange(30), torch.zeros(30).long(), torch.arange(30) + 1], 1)
    grand = torch.stack([torch.arange(29), torch.ones(29).long(), torch.arange(29) + 2], 1)
    train, test = torch.cat([parent, grand[::2]]), grand[1::2]
    model = RuleModel(TrainGraph(train, 31, 2))
    known = TrainGraph(torch.cat([train, test]), 31, 2).known
    assert evaluate(model, test, known).hits(1) == 1.0


def test_rules_answer_questions():
    world = random_graph()
    model = RuleModel(world.training)
    answers = predict(
        model, world, [PredictionQuery("e1", "r0", None), PredictionQuery(None, "r1", "e2")], k=3
    )
    assert len(answers.answers) == 6


@pytest.mark.parametrize("agreement", ["max", "noisy-or"])
def test_an_experiment_can_ask_for_them(agreement):
    spec = {"name": "rules", "agreement": agreement, "support": 1}
    model = build(spec, PARTS["model"][0], "model", graph=GRAPH)
    assert model(QUERIES)(EVERYONE).isfinite().all()
