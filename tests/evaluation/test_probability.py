"""Probabilities from scores: what they mean, and how well they are calibrated."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest
import torch
from evaluation.fixtures import FEW, Says, Table, graph_of, random_graph, seeded
from hypothesis import given
from hypothesis import strategies as st

from sparring.corruption import tail_and_head_queries
from sparring.evaluation.candidates import Exclusion
from sparring.evaluation.predict import predict
from sparring.evaluation.probability import (
    ProbabilityCalibration,
    _corruptions,
    fit_calibration,
)
from sparring.evaluation.queries import PredictionQuery
from sparring.evaluation.reliability import expected_calibration_error, reliability
from sparring.evaluation.triples import rate_triples, score_triples
from sparring.extras import MissingExtraError
from sparring.samplers import Popularity, Uniform

PLAIN = ProbabilityCalibration(
    score_weight=2.0,
    norm_weight=-1.0,
    intercept=0.5,
    knots=(),
    num_entities=6,
    num_reference=6,
    completeness=0.9,
    prior=0.01,
)
GRAPH = random_graph(entities=30, size=400)
TAILS_OF_E1 = {tail for head, relation, tail in GRAPH.train.tolist() if (head, relation) == (1, 0)}


def informed(graph, *, noise=1.0, seed=0):
    """Scores that are higher for the facts of all splits."""
    model = Table.random(graph, seed=seed)
    model.scores *= noise
    everything = torch.cat([graph.train, graph.valid, graph.test])
    facts = tail_and_head_queries(everything, len(graph.relations))
    model.scores[facts.anchor, facts.relation, facts.answer] += 3.0
    return model


def test_a_calibration_prints_its_bins():
    assert PLAIN.to_polars().is_empty() and "nan" in repr(PLAIN)
    found = fit_calibration(informed(GRAPH), GRAPH, num_negatives=8)
    assert found.to_polars()["true"].to_list() == [each.true for each in found.bins]
    assert f"{found.expected_calibration_error:.2g}" in found.caption()
    assert found._repr_html_().count("<tr>") == 1 + len(found.bins)


def test_log_odds_by_hand():
    got = PLAIN(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0]))
    want = [1 / (1 + math.exp(-(2 * score - 3 + 0.5))) for score in (1.0, 2.0)]
    assert got.tolist() == [pytest.approx(want)]


def test_queries_with_many_known_answers_lack_more():
    calibration = dataclasses.replace(PLAIN, mean_answers=3.0)
    score, norm = torch.zeros(3, 1), torch.zeros(3)
    odds = lambda p: (p / (1 - p)).squeeze(1)
    base = odds(calibration(score, norm))
    assert base.equal(odds(PLAIN(score, norm)))
    answers = torch.tensor([0, 3, 99])
    torch.testing.assert_close(
        odds(calibration(score, norm, answers)), base * torch.tensor([0.25, 1.0, 25.0])
    )
    assert PLAIN(score, norm, answers).equal(PLAIN(score, norm))  # of an earlier version


def test_the_norm_is_that_of_all_entities():
    scores = torch.randn(3, 6, generator=seeded())
    found = PLAIN.log_norm(lambda ids: scores[:, ids[0]], torch.device("cpu"))
    torch.testing.assert_close(found, scores.double().logsumexp(1))


def test_the_norm_of_many_entities_is_that_of_some():
    few = dataclasses.replace(PLAIN, num_reference=3)
    asked = []
    few.log_norm(lambda ids: asked.append(ids) or torch.zeros(1, 3), torch.device("cpu"))
    assert asked[0].tolist() == [[0, 2, 4]]


def test_infinite_scores_have_probabilities():
    got = PLAIN(torch.tensor([[-math.inf, math.inf]]), torch.tensor([0.0]))
    assert got.tolist() == [[0.0, 1.0]]
    flat = dataclasses.replace(PLAIN, score_weight=0.0)
    assert flat(torch.tensor([[-math.inf]]), torch.tensor([0.0])).isfinite().all()


def test_knots_are_interpolated():
    bent = dataclasses.replace(PLAIN, knots=((-1.0, 0.0), (1.0, 0.5)))
    scores = torch.tensor([[-9.0, -0.25, 0.0, 9.0]])  # log-odds -17.5, 0, 0.5, 18.5
    assert bent(scores, torch.tensor([0.0])).tolist() == [[0.0, 0.25, 0.375, 0.5]]


@FEW
@given(st.integers(0, 1000), st.sampled_from(["logistic", "isotonic"]))
def test_probabilities_of_a_query_grow_with_the_score(seed, method):
    model = informed(GRAPH, noise=2.0, seed=seed)
    found = fit_calibration(model, GRAPH, method=method, seed=seed)
    scores = torch.linspace(-8, 8, 50).unsqueeze(0)
    probability = found(scores, torch.tensor([float(seed % 7)]))
    assert (probability.diff(dim=1) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


def test_a_model_that_is_worse_than_chance_gives_the_prior():
    model = informed(GRAPH)
    model.scores *= -1
    found = fit_calibration(model, GRAPH)
    got = found(torch.tensor([[-5.0, 5.0]]), torch.tensor([1.0]))
    assert got.tolist() == [pytest.approx([found.prior] * 2)]


def test_good_models_are_calibrated():
    graph = random_graph(entities=60, size=3000)
    for method in ("logistic", "isotonic"):
        found = fit_calibration(informed(graph), graph, method=method)
        assert found.expected_calibration_error < 0.02
        assert found.balanced_calibration_error < 0.15
        assert found.bins[-1].true > 10 * found.prior


def test_many_validation_facts_allow_a_free_curve(monkeypatch):
    few = fit_calibration(informed(GRAPH), GRAPH)
    monkeypatch.setattr("sparring.evaluation.probability.MANY_POSITIVES", few.positives)
    many = fit_calibration(informed(GRAPH), GRAPH)
    assert not few.knots and many.knots
    assert many.knots[-1][1] < 1


def test_the_prior_follows_from_the_completeness():
    found = {c: fit_calibration(informed(GRAPH), GRAPH, completeness=c) for c in (0.5, 0.9)}
    known = Exclusion.of(GRAPH, ("train", "valid")).facts
    per_query = known.num_facts / known.num_queries
    for completeness, each in found.items():
        missing = per_query * (1 / completeness - 1)
        want = missing / (missing + 30 - per_query)
        assert each.prior == pytest.approx(want, rel=0.1)


def test_test_facts_change_nothing():
    other = dataclasses.replace(GRAPH, test=torch.tensor([[0, 0, 0], [5, 2, 9]]))
    none = dataclasses.replace(GRAPH, test=GRAPH.test[:0])
    model = Table.random(GRAPH)
    found = [
        json.dumps(dataclasses.asdict(fit_calibration(model, graph, sampler=sampler(graph))))
        for graph in (GRAPH, other, none)
        for sampler in (lambda graph: None, lambda graph: Popularity(graph.training, k=8))
    ]
    assert found[0] == found[2] == found[4]
    assert found[1] == found[3] == found[5]


def test_other_validation_facts_change_the_result():
    other = dataclasses.replace(GRAPH, valid=GRAPH.valid[:-4])
    model = informed(GRAPH)
    assert fit_calibration(model, GRAPH) != fit_calibration(model, other)


@pytest.mark.parametrize("sampler", [None, Uniform, Popularity])
def test_corruptions_stand_for_all_candidates(sampler):
    excluded = Exclusion.of(GRAPH, ("train", "valid"))
    queries = tail_and_head_queries(GRAPH.valid[:20], 3)
    drawn = sampler and sampler(GRAPH.training, k=16)
    value = torch.randn(30, generator=seeded())
    mean, draws = torch.zeros(len(queries), dtype=torch.double), 200
    for seed in range(draws):
        ids, weight = _corruptions(queries, lambda ids: ids, excluded, drawn, 16, seeded(seed))
        mean += (weight * value[ids]).sum(1) / draws
    everyone = torch.arange(30).expand(len(queries), -1)
    want = (value * ~excluded.contains(queries, everyone)).sum(1)
    assert (mean - want).abs().max() < 4 * 30 / (16 * draws) ** 0.5


def test_no_corruption_is_a_known_fact_or_the_query_s_own_entity():
    excluded = Exclusion.of(GRAPH, ("train", "valid"))
    queries = tail_and_head_queries(GRAPH.valid, 3)
    ids, weight = _corruptions(queries, lambda ids: ids, excluded, None, 64, seeded())
    assert (weight > 0).any()
    assert not (excluded.contains(queries, ids) & (weight > 0)).any()


def test_a_sampler_of_unknown_density_is_not_used():
    class Unknown(Says):
        capabilities = dataclasses.replace(Says.capabilities, has_log_prob=False)

    sampler, model = Unknown([1, 2]), informed(GRAPH)
    assert fit_calibration(model, GRAPH, sampler=sampler) == fit_calibration(model, GRAPH)
    assert not sampler.batches


def test_what_is_certain_in_truth_and_word_has_no_error():
    rng = seeded()
    probability = torch.rand(200_000, generator=rng, dtype=torch.double)
    true = (torch.rand(200_000, generator=rng, dtype=torch.double) < probability).double()
    weight = torch.ones(200_000, dtype=torch.double)
    edges = [step / 10 for step in range(11)]
    assert expected_calibration_error(reliability(probability, true, weight, edges)) < 0.005
    wrong = reliability(probability**2, true, weight, edges)
    assert expected_calibration_error(wrong) == pytest.approx(1 / 6, abs=0.01)


def test_reliability_by_hand():
    probability = torch.tensor([0.1, 0.3, 0.8, 1.0], dtype=torch.double)
    true = torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.double)
    weight = torch.tensor([3.0, 1.0, 1.0, 1.0], dtype=torch.double)
    low, high = reliability(probability, true, weight, [0.0, 0.5, 1.0])
    assert (low.candidates, low.probability, low.true) == (4, pytest.approx(0.15), 0.25)
    assert (high.candidates, high.probability, high.true) == (2, pytest.approx(0.9), 1.0)
    assert expected_calibration_error([low, high]) == pytest.approx((4 * 0.1 + 2 * 0.1) / 6)


def test_plain_numbers_are_kept(tmp_path):
    for method in ("logistic", "isotonic"):
        found = fit_calibration(informed(GRAPH), GRAPH, method=method)
        found.save(tmp_path / "calibration.json")
        assert ProbabilityCalibration.load(tmp_path / "calibration.json") == found


def test_loading_and_applying_needs_no_scikit_learn(tmp_path, monkeypatch):
    fit_calibration(informed(GRAPH), GRAPH).save(tmp_path / "calibration.json")
    for module in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    found = ProbabilityCalibration.load(tmp_path / "calibration.json")
    assert found(torch.zeros(1, 1), torch.zeros(1)).isfinite().all()
    with pytest.raises(MissingExtraError, match=r"a calibration needs the package sklearn"):
        fit_calibration(informed(GRAPH), GRAPH)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"completeness": 1.0}, "completeness is above 0 and below 1; got 1.0"),
        ({"num_negatives": 0}, "num_negatives, num_reference and batch_size must be at least 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration(informed(GRAPH), GRAPH, **options)


def test_a_handful_of_unseen_validation_facts_is_needed():
    graph = graph_of([(0, 0, 1), (1, 0, 2)], [(0, 0, 1), (2, 0, 3)])
    with pytest.raises(ValueError, match="world has 1 validation triples that training has not"):
        fit_calibration(Table.random(graph), graph)


def test_predictions_have_probabilities():
    model = informed(GRAPH)
    calibration = fit_calibration(model, GRAPH)
    query = PredictionQuery("e1", "r0", None)
    found = predict(model, GRAPH, [query], k=5, calibration=calibration)
    scores = model.scores[1, 0]
    for one in found.answers:
        log_odds = (
            calibration.score_weight * one.score
            + calibration.norm_weight * float(scores.double().logsumexp(0))
            + calibration.intercept
            + math.log((1 + len(TAILS_OF_E1)) / (1 + calibration.mean_answers))
        )
        assert one.probability == pytest.approx(1 / (1 + math.exp(-log_odds)))
    assert "probability" in found._repr_html_()
    assert "probability" not in predict(model, GRAPH, [query])._repr_html_()


def test_triples_have_the_mean_of_both_ends():
    model = informed(GRAPH)
    calibration = fit_calibration(model, GRAPH)
    triples = GRAPH.test[:5]
    found = rate_triples(model, GRAPH, triples, calibration=calibration, batch_size=3)
    queries = tail_and_head_queries(triples, 3)
    rows = model.scores[queries.anchor, queries.relation]
    score = rows.gather(1, queries.answer.unsqueeze(1))
    answers = GRAPH.training.known.count(queries)
    probability = calibration(score, rows.double().logsumexp(1), answers)
    torch.testing.assert_close(found.score, score.view(2, -1).mean(0))
    torch.testing.assert_close(found.probability, probability.view(2, -1).mean(0))
    assert score_triples(model, GRAPH, triples).equal(found.score)


def test_relations_have_the_probabilities_of_their_triples():
    model = informed(GRAPH)
    calibration = fit_calibration(model, GRAPH)
    found = predict(
        model, GRAPH, [PredictionQuery("e1", None, "e2")], remove=(), calibration=calibration
    )
    triples = torch.tensor([[1, int(one.name[1:]), 2] for one in found.answers])
    want = rate_triples(model, GRAPH, triples, calibration=calibration).probability
    np.testing.assert_allclose([one.probability for one in found.answers], want)
