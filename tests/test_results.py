"""Questions in one line: to a predictor, to a folder, and to parts of your own."""

from dataclasses import replace

import polars as pl
import pytest
import rings
import torch

import sparring
from sparring.evaluation.ranking import evaluate as ranks_of
from sparring.registry import ConfigError
from sparring.samplers import Uniform


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("results") / "run"
    model = {"name": "distmult", "dim": 16}
    sparring.fit(rings.facts(), model=model, epochs=20, batch_size=32, folder=place, progress=False)
    return place


@pytest.fixture(scope="module")
def predictor(folder):
    return sparring.load(folder)


def test_a_predictor_its_folder_and_its_model_have_the_same_ranks(folder, predictor):
    graph = predictor.graph
    of_model = ranks_of(predictor.model, graph.test, graph.known)
    for source in (predictor, folder, str(folder)):
        assert torch.equal(sparring.evaluate(source).rank, of_model.rank)
    assert torch.equal(
        sparring.evaluate(predictor.model, graph.test, graph.known).rank, of_model.rank
    )
    assert sparring.evaluate(predictor).mrr() == predictor.metrics["test"]["mrr"]


def test_test_facts_do_not_filter_validation(monkeypatch, predictor):
    other = predictor.graph.valid.clone()
    other[:, 2] = (other[:, 2] + 1) % len(predictor.graph.entities)
    graph = replace(predictor.graph, test=other)  # further answers to the same queries
    monkeypatch.setattr(predictor, "graph", graph)
    every, seen = (
        ranks_of(predictor.model, graph.valid, known).rank
        for known in (graph.known, graph.known_for_validation)
    )
    assert not torch.equal(every, seen)
    assert torch.equal(sparring.evaluate(predictor, "valid").rank, seen)


def test_predictions_are_those_of_the_predictor(folder, predictor):
    expected = predictor.predict("e003", "next", k=3)
    for source in (predictor, folder):
        assert sparring.predict(source, "e003", "next", k=3) == expected


def test_audits_of_a_run_and_of_a_sampler(predictor):
    assert sparring.audit(predictor).sampler == type(predictor.sampler).__name__
    sampler = Uniform(predictor.graph.training, k=4)
    found = sparring.audit(sampler, predictor.graph, rng=torch.Generator().manual_seed(0))
    assert found.k == 4


class TestMining:
    def test_negatives_are_the_best_that_are_not_known(self, predictor):
        graph = predictor.graph
        found = sparring.mine_negatives(predictor, "test", num_negatives=3)
        assert len(found) == len(graph.test) * 2 * 3
        first = found.row(0, named=True)
        assert (first["side"], first["rank"]) == ("tail", 1)
        query = (first["head"], first["relation"], None)
        best = predictor.predict(queries=[query], k=3, remove=("train",)).to_polars()
        same = found.filter(
            (pl.col("head") == first["head"])
            & (pl.col("relation") == first["relation"])
            & (pl.col("tail") == first["tail"])
            & (pl.col("side") == "tail")
        )
        assert same["negative"].to_list() == best["name"].to_list()
        train = {tuple(row) for row in graph.train.tolist()}
        ids = {name: place for place, name in enumerate(graph.entities.names)}
        relations = {name: place for place, name in enumerate(graph.relations.names)}
        for row in found.iter_rows(named=True):
            ends = {"head": row["head"], "tail": row["tail"], row["side"]: row["negative"]}
            assert (ids[ends["head"]], relations[row["relation"]], ids[ends["tail"]]) not in train

    def test_facts_that_are_withheld_may_be_negatives(self, predictor):
        """Else the negatives would say which facts are tested."""
        every = len(predictor.graph.entities)
        asked = {"num_negatives": every, "pool": every}
        hidden = sparring.mine_negatives(predictor, "test", **asked)
        shown = sparring.mine_negatives(predictor, "test", **asked, known=("train", "test"))
        assert len(hidden) > len(shown)
        assert (hidden["negative"] == hidden["tail"]).any()
        of_tails = shown.filter(pl.col("side") == "tail")
        assert not (of_tails["negative"] == of_tails["tail"]).any()

    def test_places_and_sides(self, predictor):
        found = sparring.mine_negatives(
            predictor, "test", skip=2, pool=4, num_negatives=9, sides=["head"]
        )
        assert set(found["side"]) == {"head"}
        assert set(found["rank"]) == {3, 4, 5, 6}

    def test_random_ones_come_from_the_pool_under_a_seed(self, predictor):
        draw = lambda seed: sparring.mine_negatives(
            predictor, "test", num_negatives=2, pool=8, choose="random", seed=seed
        )
        assert draw(0).equals(draw(0))
        assert not draw(0).equals(draw(1))
        assert draw(0)["rank"].max() <= 8

    def test_probable_facts_can_be_left_out(self, predictor):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
        found = sparring.mine_negatives(predictor, "train", num_negatives=20)
        assert found["probability"].is_between(0, 1).all()
        limit = found["probability"].median()
        rarer = sparring.mine_negatives(predictor, "train", num_negatives=20, max_probability=limit)
        assert rarer["probability"].max() <= limit
        assert not (predictor.run.folder / "calibration.json").exists()

    def test_a_graph_is_trained_on_first(self, monkeypatch, predictor):
        asked = []
        monkeypatch.setattr(
            "sparring.results.fit", lambda graph, progress: asked.append(graph) or predictor
        )
        found = sparring.mine_negatives(rings.facts(), "test", num_negatives=1)
        assert len(asked) == 1 and len(found) == 2 * len(predictor.graph.test)

    @pytest.mark.parametrize("wrong", [{"num_negatives": 0}, {"pool": 0}, {"skip": -1}])
    def test_senseless_numbers_are_refused(self, predictor, wrong):
        with pytest.raises(ConfigError):
            sparring.mine_negatives(predictor, "test", **wrong)
