"""What a trained model can do: answer, score, draw, be saved, and learn new facts."""

import html.parser

import polars as pl
import pytest
import rings
import torch

import sparring
from sparring.data.vocabulary import UnknownNameError
from sparring.experiments.run_folder import RunError

SETTINGS = {
    "model": {"name": "complex", "dim": 32},
    "optimizer": {"name": "adam", "lr": 0.05},
    "sampler": {"name": "uniform", "k": 8},
    "batch_size": 32,
    "validate_every": 5,
    "progress": False,
}


@pytest.fixture(scope="module")
def predictor():
    graph = sparring.load_graph(rings.facts(), split=(0.1, 0.1), name="rings")
    return sparring.fit(graph, epochs=30, **SETTINGS)


def by_name(graph, triples):
    return [
        (graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in triples.tolist()
    ]


def test_one_query_and_many(predictor):
    tails = predictor.predict(head="e003", relation="next", k=4, remove=()).to_polars()
    heads = predictor.predict(tail="e003", relation="next", k=4, remove=()).to_polars()
    both = predictor.predict(
        queries=[("e003", "next", None), (None, "next", "e003")], k=4, remove=()
    ).to_polars()
    assert both["name"].to_list() == [*tails["name"], *heads["name"]]
    assert both["score"].is_sorted(descending=True) or both["query"].to_list() == [0] * 4 + [1] * 4


def test_an_incomplete_query_is_refused(predictor):
    with pytest.raises(ValueError, match="asks for relation and tail"):
        predictor.predict(head="e003")
    with pytest.raises(ValueError, match="asks for head and tail"):
        predictor.predict(relation="next")
    with pytest.raises(ValueError, match="either queries"):
        predictor.predict(head="e003", queries=[("e003", "next", None)])
    with pytest.raises(UnknownNameError, match="did you mean"):
        predictor.predict(head="e0003", relation="next")


def test_scores_are_the_mean_of_both_sides(predictor):
    graph, triples = predictor.graph, predictor.graph.test
    found = predictor.score(triples)
    assert torch.equal(found, predictor.score(by_name(graph, triples)))
    frame = pl.DataFrame(by_name(graph, triples), schema=["h", "r", "t"], orient="row")
    assert torch.equal(found, predictor.score(frame))
    head, relation, tail = by_name(graph, triples)[0]
    answers = [
        predictor.predict(queries=[query], k=100, remove=()).to_polars()
        for query in ((head, relation, None), (None, relation, tail))
    ]
    sides = [
        answer.filter(pl.col("name") == end)["score"].item()
        for answer, end in zip(answers, (tail, head))
    ]
    assert found[0].item() == pytest.approx(sum(sides) / 2, rel=1e-5)
    assert len(predictor.score([])) == 0


def test_ids_outside_the_graph_are_refused(predictor):
    with pytest.raises(ValueError, match="within the graph"):
        predictor.score(torch.tensor([[0, 99, 0]]))


def test_metrics_are_those_of_the_run(predictor):
    for split in ("test", "valid"):
        found = predictor.evaluate(split)
        assert found["mrr"] == pytest.approx(predictor.metrics[split]["mrr"])
    triples = by_name(predictor.graph, predictor.graph.test)
    assert predictor.evaluate(triples) == predictor.evaluate()
    assert predictor.history["loss"].drop_nulls().len() > 0


def test_negatives_are_what_the_sampler_draws(predictor):
    triples = by_name(predictor.graph, predictor.graph.train[:3])
    frame = predictor.negatives(triples, k=20).to_polars()
    assert len(frame) == 2 * 3 * 20
    assert frame.group_by("head", "relation", "tail", "side").len()["len"].to_list() == [20] * 6
    true = (
        frame["negative"]
        == pl.select(
            pl.when(frame["side"] == "tail").then(frame["tail"]).otherwise(frame["head"])
        ).to_series()
    )
    assert frame.filter(true)["counts"].sum() == 0
    changed = [
        (row["negative"], row["relation"], row["tail"])
        if row["side"] == "head"
        else (row["head"], row["relation"], row["negative"])
        for row in frame.iter_rows(named=True)
    ]
    facts = set(rings.facts())
    assert frame["known"].to_list() == [row in facts for row in changed]
    assert frame.equals(predictor.negatives(triples, k=20).to_polars())
    with pytest.raises(ValueError, match="k must be at least 1"):
        predictor.negatives(triples, k=0)


def test_an_audit(predictor):
    found = predictor.audit()
    assert found.sampler == "Uniform" and found.overall.percentile is not None


class Tags(html.parser.HTMLParser):
    """Names of all tags, and all text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = set(), []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_hostile_names_are_shown_as_they_are(predictor, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # so wide that no name is wrapped
    head, markup = rings.ODD[:2]
    answers = predictor.predict(queries=[(head, "next", None)], k=30, remove=())
    negatives = predictor.negatives([(head, "next", markup)])
    for result in (answers, negatives):
        page = Tags(result._repr_html_())
        assert page.tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td"}
        assert any(head in text for text in page.text)
        assert markup in repr(result)
    assert "rings" in Tags(predictor._repr_html_()).text[-1] or "rings" in repr(predictor)


def test_long_results_are_cut_when_printed(predictor):
    drawn = predictor.negatives(predictor.graph.train[:5])
    assert "and 30 more rows" in repr(drawn) and "and 30 more rows" in drawn._repr_html_()


def test_pandas(predictor):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    answers = predictor.predict(head="e003", relation="next")
    assert isinstance(answers.to_pandas(), pandas.DataFrame)


def test_a_temporary_run_can_be_saved(tmp_path):
    graph = sparring.load_graph(rings.facts(), name="rings")
    predictor = sparring.fit(graph, epochs=1, **SETTINGS)
    temporary, expected = predictor.run.folder, predictor.score(graph.test)
    predictor.save(tmp_path / "kept" / "rings")
    with pytest.raises(RunError, match="exists already"):
        predictor.save(tmp_path / "kept" / "rings")
    del predictor
    assert not temporary.exists()
    back = sparring.load(tmp_path / "kept" / "rings")
    assert torch.equal(back.score(graph.test), expected)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["rings"]


def test_an_update_keeps_what_was_known_and_answers_new_entities(predictor):
    graph, before = predictor.graph, predictor.metrics["test"]["mrr"]
    # "a new entity" stands where e005 stands, "0 new" where e010 does; one fact is not new
    new = [
        (name, relation, tail)
        for name, twin in (("a new entity", "e005"), ("0 new", "e010"))
        for head, relation, tail in rings.facts()
        if head == twin
    ]
    updated = predictor.update([*new, *by_name(graph, graph.test[:1])], epochs=15)
    assert len(updated.graph.train) == len(graph.train) + len(new)
    assert updated.graph.entities[: len(graph.entities)] == tuple(graph.entities)
    assert updated.graph.entities[len(graph.entities) :] == ("0 new", "a new entity")
    assert torch.equal(updated.graph.test, graph.test)
    assert updated.evaluate(graph.test)["mrr"] >= 0.9 * before
    answers = updated.predict(head="a new entity", relation="next", k=1, remove=()).to_polars()
    assert (
        answers["name"].to_list() == [tail for _, relation, tail in new if relation == "next"][:1]
    )
    assert "a new entity" not in predictor.graph.entities


def test_old_vectors_are_found_by_name(predictor, tmp_path):
    graph = predictor.graph
    # names that come before all others shift every id
    more = [("!", "!first", "e003"), *by_name(graph, graph.train)]
    other = sparring.load_graph({"train": more, "test": by_name(graph, graph.test)})
    started = sparring.fit(other, **SETTINGS, epochs=0, start=predictor)
    for table, names in (("entity", "entities"), ("relation", "relations")):
        old, new = getattr(graph, names), getattr(other, names)
        before = getattr(predictor.model, table).weight
        after = getattr(started.model, table).weight
        rows = new.ids(list(old))
        assert torch.equal(after[rows], before[: len(old)])
    inverse = started.model.relation.weight[len(other.relations) :]
    assert torch.equal(
        inverse[other.relations.ids(list(graph.relations))],
        predictor.model.relation.weight[len(graph.relations) :],
    )


def test_a_start_that_does_not_fit_is_refused(predictor):
    with pytest.raises(ValueError, match="no parameter that fits"):
        options = {**SETTINGS, "model": {"name": "complex", "dim": 8}}
        sparring.fit(predictor.graph, **options, epochs=0, start=predictor)


def test_relations_are_predicted_between_two_entities(predictor):
    found = predictor.predict(head="e003", tail="e004", remove=()).to_polars()
    assert sorted(found["name"]) == sorted(predictor.graph.relations)


def test_a_calibration_is_kept_with_the_run(predictor, tmp_path):
    asked = {"head": "e003", "relation": "next", "k": 3}
    triples = predictor.graph.test[:4]
    with pytest.raises(RunError, match="has no calibration"):
        predictor.probability(triples)
    calibration = predictor.calibrate(completeness=0.8)
    assert calibration.completeness == 0.8
    back = sparring.load(predictor.save(tmp_path / "copy"))
    probability = back.predict(**asked).to_polars()["probability"]
    assert probability.is_between(0, 1).all() and probability.is_sorted(descending=True)
    assert torch.equal(back.probability(triples), predictor.probability(triples))
    (predictor.run.folder / "calibration.json").unlink()
    assert predictor.predict(**asked).to_polars()["probability"].null_count() == 3


def test_a_triple_is_explained(predictor):
    found = predictor.explain(("e003", "next", "e009"), max_nearest=2)
    assert found.triple == ("e003", "next", "e009")
    assert found.reasons or 0 < len(found.nearest) <= 2
