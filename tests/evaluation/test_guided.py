"""A generator's opinion beside the main model's scores, and in place of most of them."""

import pytest
import torch
from evaluation.fixtures import random_graph

from sparring.corruption import tail_and_head_queries
from sparring.evaluation.predict import Ensemble, Guide, PredictionQuery, as_guide, predict
from sparring.generators import NSGenerator
from sparring.models import DistMult
from sparring.samplers import Uniform

GRAPH = random_graph(seed=1)
N = len(GRAPH.entities)


def players(**options):
    torch.manual_seed(0)
    generator = NSGenerator(GRAPH.training, k=4, dim=8, codes=8, **options)
    torch.nn.init.normal_(generator.proposal.entity.weight)
    generator.codes.restart(generator.proposal.vectors, generator.proposal.bias)
    return DistMult(GRAPH.training, dim=8), generator


def queries():
    return tail_and_head_queries(GRAPH.test, len(GRAPH.relations))


def everyone():
    return torch.arange(N).unsqueeze(0)


@pytest.mark.parametrize("shared", [True, False])
def test_scores_are_sums(shared):
    model, generator = players(shared=shared)
    got = Ensemble(model, generator, weight=0.3)(queries())(everyone())
    own = players()[1]
    log_q = own.density(own.shares(queries()), everyone())
    torch.testing.assert_close(got, model(queries())(everyone()) + 0.3 * log_q)


def test_known_answers_keep_a_finite_score():
    model, generator = players()
    known = tail_and_head_queries(GRAPH.train, len(GRAPH.relations))
    score = Ensemble(model, generator, weight=1.0)(known)
    assert score(known.answer.unsqueeze(1)).isfinite().all()


@pytest.mark.parametrize("m", [1, 5, N - 1, N, N + 5])
def test_the_foremost_are_the_most_probable(m):
    generator = players()[1]
    log_q = generator.density(generator.shares(queries()), everyone())
    best = log_q.topk(min(m, N), dim=1).values
    found = generator.topk(queries(), m)
    assert (found.sort(1).values.diff(dim=1) > 0).all()  # all distinct
    got = log_q.gather(1, found).sort(1, descending=True).values
    torch.testing.assert_close(got, best)


def questions():
    head, relation, _ = GRAPH.test.unbind(1)
    name, called = list(GRAPH.entities), list(GRAPH.relations)
    return [
        PredictionQuery(name[h], called[r], None) for h, r in zip(head.tolist(), relation.tolist())
    ]


def test_retrieving_everyone_changes_no_answer():
    model, generator = players()
    whole = predict(model, GRAPH, questions(), k=7).answers
    found = predict(model, GRAPH, questions(), k=7, guide=generator, retrieve=N).answers
    assert [one.entity for one in found] == [one.entity for one in whole]
    assert [one.score for one in found] == pytest.approx([one.score for one in whole], abs=1e-5)


def test_few_candidates_are_those_of_the_guide():
    model, generator = players()
    found = predict(model, GRAPH, questions()[:1], k=N, guide=generator, retrieve=6, remove=())
    asked = tail_and_head_queries(GRAPH.test[:1], len(GRAPH.relations))[:1]
    allowed = [list(GRAPH.entities)[one] for one in generator.topk(asked, 6)[0].tolist()]
    assert sorted(one.entity for one in found.answers) == sorted(allowed)
    scores = [one.score for one in found.answers]
    assert scores == sorted(scores, reverse=True)


def test_known_facts_are_no_answers_among_few_either():
    model, generator = players()
    found = predict(model, GRAPH, questions(), k=N, guide=generator, retrieve=N)
    assert found.answers and not any(one.known for one in found.answers)


def test_nobody_retrieves_without_a_guide():
    with pytest.raises(ValueError, match="a guide is needed to score only some entities"):
        predict(players()[0], GRAPH, questions(), retrieve=5)


def test_not_every_sampler_has_an_opinion():
    assert isinstance(as_guide(players()[1]), Guide)
    with pytest.raises(ValueError, match="Uniform has no opinion about entities"):
        as_guide(Uniform(GRAPH.training, k=3))
