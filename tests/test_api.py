"""The front door: graphs from anywhere, training, and runs that need nothing but their folder."""

import json
import shutil
import subprocess
import sys

import polars as pl
import pytest
import rings
import torch

import sparring
from sparring.data.diagnostics import GraphError
from sparring.data.split import SplitRule
from sparring.experiments.run_folder import RunError
from sparring.losses import SampledSoftmax
from sparring.models import DistMult
from sparring.registry import ConfigError
from sparring.samplers import Uniform

COLUMNS = ("head", "relation", "tail")
QUICK = {"epochs": 1, "progress": False, "model": {"name": "distmult", "dim": 8}}


@pytest.fixture(scope="module")
def frame():
    return pl.DataFrame(rings.facts(), schema=COLUMNS, orient="row")


@pytest.fixture(scope="module")
def graph():
    return sparring.load_graph(rings.facts(), name="rings")


@pytest.fixture
def folder(frame, tmp_path):
    """The facts as a folder with splits."""
    place = tmp_path / "rings"
    place.mkdir()
    for split, part in (("train", frame[:76]), ("valid", frame[76:86]), ("test", frame[86:])):
        part = part.filter(~pl.col("head").str.contains("\t") & ~pl.col("tail").str.contains("\t"))
        part.write_csv(place / f"{split}.tsv", separator="\t", quote_style="never")
    return place


class TestLoadGraph:
    def test_a_frame_by_name_and_by_position(self, frame, graph):
        renamed = frame.select("tail", "head", "relation", extra=pl.lit(1))
        plain = frame.rename(dict(zip(COLUMNS, "abc")))
        for source in (frame, renamed, plain, frame.rows(), iter(frame.rows())):
            assert sparring.load_graph(source).content_hash == graph.content_hash

    def test_a_pandas_frame(self, frame, graph):
        pandas = pytest.importorskip("pandas", reason="pandas is not installed")
        source = pandas.DataFrame(frame.to_dict(as_series=False))
        assert sparring.load_graph(source).content_hash == graph.content_hash

    def test_every_fact_is_in_one_split(self, frame, graph):
        parts = [graph.train, graph.valid, graph.test]
        rows = [
            (graph.entities[h], graph.relations[r], graph.entities[t])
            for h, r, t in torch.cat(parts).tolist()
        ]
        assert sorted(rows) == sorted(frame.rows())

    def test_shares_are_split_off(self, frame):
        graph = sparring.load_graph(frame, split=(0.1, 0.2))
        assert (len(graph.valid), len(graph.test)) == (10, 19)
        other = sparring.load_graph(frame, split=SplitRule(0.1, 0.2, seed=1))
        assert not torch.equal(graph.test, other.test)

    def test_splits_of_a_dict_are_kept(self, frame):
        graph = sparring.load_graph({"train": frame[:80], "test": frame[80:].rows()})
        assert (len(graph.train), len(graph.valid), len(graph.test)) == (80, 0, 16)

    def test_unseen_names_can_be_dropped(self, frame):
        splits = {"train": frame, "test": [("new", "next", "e001"), ("e001", "next", "e003")]}
        assert "new" in sparring.load_graph(splits).entities
        graph = sparring.load_graph(splits, unseen="drop")
        assert len(graph.test) == 1 and "new" not in graph.entities
        with pytest.raises(GraphError, match="test, row 1"):
            sparring.load_graph(splits, unseen="error")

    def test_a_folder_a_file_and_a_stored_graph(self, folder, tmp_path):
        graph = sparring.load_graph(folder)
        assert sparring.load_graph(str(folder)).content_hash == graph.content_hash
        single = sparring.load_graph(folder / "train.tsv", split=(0.1, 0.1))
        assert len(single.valid) == round(0.1 * len(graph.train))
        run = sparring.fit(graph, folder=tmp_path / "run", **QUICK).run
        assert sparring.load_graph(run.folder / "graph").content_hash == graph.content_hash

    def test_a_known_name_and_a_graph(self, graph):
        assert sparring.load_graph("atlas").name == "atlas"
        assert sparring.load_graph(graph) is graph

    def test_numbers_become_names(self):
        graph = sparring.load_graph({"train": [(1, 7, 2), (2, 7, 3)]})
        assert list(graph.entities) == ["1", "2", "3"] and list(graph.relations) == ["7"]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ([("a", "r")], "row 1 is"),
            ([("a", "r", None)], "train, row 1: empty tail"),
            ([("a", "r", "")], "train, row 1: empty tail"),
            ([("a", "r", float("nan"))], "train, row 1: empty tail"),
            ([], "no training triples"),
            (pl.DataFrame({"a": ["x"], "b": ["y"]}), "three columns; got a, b"),
            ({"training": []}, "named train, valid and test; got 'training'"),
            (7, "a int is no source of a graph"),
        ],
    )
    def test_what_is_no_graph_is_refused(self, source, message):
        with pytest.raises(GraphError, match=message):
            sparring.load_graph(source)

    def test_a_missing_file_is_named(self):
        with pytest.raises((GraphError, OSError), match="nowhere"):
            sparring.load_graph("nowhere/train.tsv")
        with pytest.raises(GraphError, match="did you mean fb15k-237"):
            sparring.load_graph("fb15k-238")

    def test_splits_cannot_be_split(self, folder, frame):
        for source in (folder, {"train": frame}):
            with pytest.raises(GraphError, match="splits of its own"):
                sparring.load_graph(source, split=(0.1, 0.1))


class TestFit:
    def test_settings_are_chosen_and_explained(self, graph, capsys):
        predictor = sparring.fit(graph, epochs=2)
        assert type(predictor.model).__name__ == "ComplEx"
        assert predictor.sampler.k == 4
        assert "generator, which learns" in capsys.readouterr().err
        assert 0 < predictor.metrics["test"]["mrr"] <= 1
        assert set(predictor.metrics) == {"valid", "test"}

    def test_parts_by_name_table_class_and_object(self, graph, tmp_path):
        by_class = {"name": DistMult, "dim": 8}
        parts = [QUICK["model"], by_class, DistMult(graph.training, dim=8)]
        for place, model in enumerate(parts):
            options = {**QUICK, "model": model, "sampler": "uniform"}
            predictor = sparring.fit(graph, **options, folder=tmp_path / str(place), batch_size=16)
            assert type(predictor.model) is DistMult and predictor.model.dim == 8
            assert predictor.sampler.k == 4 and predictor.config.train.batch_size == 16
        first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in "01")
        assert first["model"] == second["model"]

    def test_an_object_is_needed_again(self, graph, tmp_path):
        sampler = Uniform(graph.training, k=3)
        fitted = sparring.fit(graph, **QUICK, sampler=sampler, folder=tmp_path / "run")
        assert fitted.sampler is sampler
        with pytest.raises(
            ConfigError, match=r"object of sparring.*Uniform.*load\(folder, sampler="
        ):
            sparring.load(tmp_path / "run")
        back = sparring.load(tmp_path / "run", sampler=Uniform(graph.training, k=3))
        assert torch.equal(back.score(graph.test), fitted.score(graph.test))

    def test_a_class_outside_the_registry_is_loaded_by_path(self, graph, tmp_path):
        sparring.fit(graph, **QUICK, sampler={"name": Uniform, "k": 3}, folder=tmp_path / "run")
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert config["sampler"] == {"name": "uniform", "k": 3, "groups": 0} | config["sampler"]

    def test_the_loss_suits_the_sampler(self, graph):
        corrections = {"uniform": "both", "nscaching": "none"}
        for sampler, correction in corrections.items():
            predictor = sparring.fit(graph, **QUICK, sampler=sampler)
            assert isinstance(predictor.step.loss, SampledSoftmax)
            assert predictor.step.loss.correction == correction

    def test_a_seed_repeats_a_run(self, graph):
        one, other = (sparring.fit(graph, **QUICK, seed=3) for _ in range(2))
        assert torch.equal(one.score(graph.test), other.score(graph.test))

    def test_a_used_folder_is_refused_and_resumed(self, graph, tmp_path):
        one = sparring.fit(graph, **QUICK, folder=tmp_path / "run")
        with pytest.raises(RunError, match="holds a run already"):
            sparring.fit(graph, **QUICK, folder=tmp_path / "run")
        again = sparring.fit(graph, **QUICK, folder=tmp_path / "run", resume=True)
        assert torch.equal(one.score(graph.test), again.score(graph.test))

    def test_valid_facts_are_ranked_where_there_are_no_others(self, frame):
        graph = sparring.load_graph({"train": frame[:80], "valid": frame[80:]})
        assert sparring.fit(graph, **QUICK).metrics["valid"]["hits@1"] >= 0
        with pytest.raises(GraphError, match="no test or valid facts to rank"):
            sparring.fit({"train": frame}, **QUICK)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"model": "complx"}, "did you mean 'complex'"),
            ({"model": 3}, "a name, a table, a class or an object of a model"),
            ({"sampler": {"name": "uniform", "kk": 3}}, "'kk'"),
            ({"loss": torch.nn.Linear(1, 1)}, "a Linear is no loss"),
            ({"bach_size": 3}, "did you mean 'batch_size'"),
        ],
    )
    def test_wrong_parts_are_refused(self, graph, options, message):
        with pytest.raises(ConfigError, match=message):
            sparring.fit(graph, **{**QUICK, **options})


class TestLoad:
    @pytest.mark.slow
    def test_in_a_new_process_after_the_files_have_changed(self, folder, tmp_path):
        predictor = sparring.fit(str(folder), **QUICK, folder=tmp_path / "run")
        answers = predictor.predict(head="e003", relation="next", k=3).to_polars()
        train = folder / "train.tsv"
        train.write_text("a\tb\tc\n" + train.read_text())
        moved = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
        code = (
            f"import sparring; p = sparring.load({str(moved)!r}); "
            "print(p.predict(head='e003', relation='next', k=3).to_polars().write_json())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
        )
        assert [row["name"] for row in json.loads(done.stdout)] == answers["name"].to_list()

    def test_a_folder_without_a_run_is_refused(self, tmp_path):
        with pytest.raises(RunError, match="not the folder of a run"):
            sparring.load(tmp_path)
