import pytest
import rings
import torch

import sparring
from sparring.data import store
from sparring.experiments.reviewed import with_reviews
from sparring.serve.reviews import Reviews, Triple

SETTINGS = {
    "model": {"name": "complex", "dim": 16},
    "sampler": {"name": "generator", "k": 4, "dim": 8, "codes": 8},
    "batch_size": 32,
    "progress": False,
}
FACT = Triple("e005", "next", "e006")
FALSE = Triple("e005", "next", "e009")
HELD_OUT = Triple("e010", "next", "e011")


@pytest.fixture
def graph():
    facts = [fact for fact in rings.facts() if fact not in (FACT, HELD_OUT)]
    return sparring.load_graph({"train": facts, "test": [HELD_OUT]}, name="rings")


@pytest.fixture
def path(tmp_path):
    reviews = Reviews(tmp_path / "reviews.db")
    rows = [(FACT, "accept"), (FALSE, "reject"), (HELD_OUT, "accept")]
    reviews.record([*rows, (Triple("e005", "next", "nobody"), "accept")], "ann")
    reviews.record([(Triple("e007", "next", "e009"), "unsure")], "ann")
    reviews.record([(Triple("e008", "next", "e002"), "accept")], "ann")
    reviews.record([(Triple("e008", "next", "e002"), "reject")], "bob")  # disputed
    reviews.record([(Triple("e012", "next", "e013"), "reject")], "bob")  # a fact
    reviews.close()
    return tmp_path / "reviews.db"


def named(graph, triples):
    return [
        (graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in triples.tolist()
    ]


def test_what_reviewers_agree_on(graph, path):
    found = with_reviews(graph, path)
    assert named(graph, found.graph.train[len(graph.train) :]) == [FACT]
    assert named(graph, found.graph.rejected) == [FALSE]
    assert torch.equal(found.graph.test, graph.test)  # an accepted test fact stays one
    assert (found.accepted, found.rejected, found.unknown) == (1, 1, 1)
    assert "1 have names that the graph lacks" in str(found)
    again = with_reviews(found.graph, path)
    assert (again.accepted, again.rejected) == (0, 0)


def test_a_missing_file_is_not_made(graph, tmp_path):
    with pytest.raises(FileNotFoundError, match="no database of reviews"):
        with_reviews(graph, tmp_path / "reviews.db")
    assert not (tmp_path / "reviews.db").exists()


def test_rejected_triples_are_stored_and_change_the_hash(graph, path, tmp_path):
    found = with_reviews(graph, path).graph
    store.save(found, tmp_path / "graph")
    back = store.load(tmp_path / "graph")
    assert torch.equal(back.rejected, found.rejected) and back.content_hash == found.content_hash
    assert found.content_hash != sparring.data.frames.with_facts(graph, [FACT]).content_hash
    assert found.training.content_hash != graph.training.content_hash


@pytest.mark.slow
def test_training_learns_from_decisions(graph, path, tmp_path):
    options = {**SETTINGS, "epochs": 12, "optimizer": {"name": "adam", "lr": 0.05}}
    without = sparring.fit(graph, **options)
    taught = sparring.fit(
        graph, reviewed=path, rejected_weight=4.0, folder=tmp_path / "a", **options
    )
    gap = lambda predictor: float(predictor.score([FACT]) - predictor.score([FALSE]))
    assert gap(taught) > gap(without)
    again = sparring.load(tmp_path / "a")
    assert named(graph, again.graph.rejected) == [FALSE]
    assert torch.equal(again.score([FACT, FALSE]), taught.score([FACT, FALSE]))
    audit = taught.audit()
    assert audit.overall.rejected_counted > 0 and without.audit().overall.rejected_counted == 0


def test_a_weight_of_zero_leaves_rejected_triples_out_of_the_loss(graph, path):
    rejected = with_reviews(graph, path).graph
    options = {**SETTINGS, "epochs": 2}
    plain = sparring.fit(sparring.data.frames.with_facts(graph, [FACT]), **options)
    without = sparring.fit(rejected, rejected_weight=0.0, **options)
    assert torch.equal(plain.score(graph.test), without.score(graph.test))
    taught = sparring.fit(rejected, **options)
    assert not torch.equal(plain.score(graph.test), taught.score(graph.test))
