"""Studies over K: equally many trials, the best by validation goes on, nothing is made twice."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("curve", ROOT / "research" / "scripts" / "curve.py")
assert spec and spec.loader
curve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(curve)

STUDIES = sorted((ROOT / "research" / "studies").glob("*.toml"))


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A place for results, and the runs asked for: the second trial is best on validation."""
    asked = []

    def train(study, model, method, trial, k, split):
        asked.append((model, method, trial, k, split))
        row = dict.fromkeys(curve.KEPT, 0) | {"valid_mrr": 0.3 if trial == 1 else 0.2}
        row["settings"] = study.digest(model, method, trial, k)
        row["changed"] = study.trials(model, method)[trial]
        return {"method": method, "k": k, "trial": trial, "split": split, **row}

    monkeypatch.setattr(curve, "RESULTS", tmp_path)
    monkeypatch.setattr(curve.Study, "train", train)
    return asked


def test_the_best_trial_on_validation_goes_on_to_every_k(made):
    study = curve.Study(ROOT / "research" / "studies" / "fb15k-237.toml")
    curve.finish(study, "transe", "uniform")
    trials = [("transe", "uniform", trial, 8, "valid") for trial in range(4)]
    finals = [("transe", "uniform", 1, k, "test") for k in study.ks]
    assert made == trials + finals


def test_settings_chosen_at_several_k_hold_from_there_to_the_next(made):
    study = curve.Study(ROOT / "research" / "studies" / "fb15k-237.toml")
    curve.finish(study, "complex", "uniform")
    assert [k for *_, k, split in made if split == "valid"] == [8] * 4 + [16] * 4 + [64] * 4
    held = {k: study.tuned_at("complex", "uniform", k) for k in (1, 8, 32, 64, 256)}
    assert held == {1: 8, 8: 8, 32: 16, 64: 64, 256: 64}
    made.clear()
    curve.finish(study, "complex", "kbgan")
    assert [k for *_, k, split in made if split == "valid"] == [8] * 4


def test_a_file_may_list_graphs(made):
    path = ROOT / "research" / "studies" / "blocks.toml"
    names = [curve.Study(path, graph).name for graph in curve.graphs(path)]
    assert names[:2] == ["blocks-fb15k-237", "blocks-wn18rr"]
    study = curve.Study(path, "wn18rr")
    assert study.settings("transe", "shared-512", 0, 1)["graph"] == {"name": "wn18rr"}
    curve.finish(study, "transe", "shared-512")
    assert (curve.RESULTS / "blocks-wn18rr-transe.json").exists()
    assert curve.graphs(ROOT / "research" / "studies" / "fb15k-237.toml") == [""]


def test_a_method_may_have_numbers_of_its_own(made):
    study = curve.Study(ROOT / "research" / "studies" / "wn18rr.toml")
    curve.finish(study, "complex", "generator-mostly-uniform")
    assert [k for *_, k, split in made if split == "test"] == [1, 2, 4]


def test_where_there_is_nothing_to_choose_nothing_is_tried(made):
    study = curve.Study(ROOT / "research" / "studies" / "ablation-fb15k-237.toml")
    curve.finish(study, "transe", "no-floor")
    assert made == [("transe", "no-floor", 0, 8, "test")]


def test_an_interrupted_study_goes_on_where_it_stopped(made, tmp_path):
    study = curve.Study(ROOT / "research" / "studies" / "fb15k-237.toml")
    curve.finish(study, "transe", "uniform")
    path = tmp_path / "fb15k-237-transe.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "runs": found["runs"][:-1]}))
    made.clear()
    curve.finish(study, "transe", "uniform")
    assert made == [("transe", "uniform", 1, study.ks[-1], "test")]


def test_what_was_run_with_other_settings_is_run_anew(made, tmp_path):
    study = curve.Study(ROOT / "research" / "studies" / "fb15k-237.toml")
    curve.finish(study, "transe", "uniform")
    curve.finish(study, "transe", "self-adversarial")
    before = list(made)
    made.clear()
    study.methods["uniform"]["loss"] = {"name": "bce"}
    curve.finish(study, "transe", "uniform")
    curve.finish(study, "transe", "self-adversarial")
    assert made == [run for run in before if run[1] == "uniform"]
    rows = json.loads((tmp_path / "fb15k-237-transe.json").read_text())["runs"]
    assert len(rows) == len(before)


def test_an_old_record_stays_but_for_trials_that_changed(made, tmp_path):
    study = curve.Study(ROOT / "research" / "studies" / "fb15k-237.toml")
    curve.finish(study, "transe", "uniform")
    path = tmp_path / "fb15k-237-transe.json"
    found = json.loads(path.read_text())
    for row in found["runs"]:
        del row["settings"]
    path.write_text(json.dumps(found))
    made.clear()
    curve.finish(study, "transe", "uniform")
    assert made == []
    study.models["transe"]["trials"][0]["optimizer.lr"] = 1e-3
    curve.finish(study, "transe", "uniform")
    assert made == [("transe", "uniform", 0, 8, "valid")]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_method_of_a_model_has_equally_many_trials_and_no_run_breaks_a_rule(
    path, former_names_are_errors
):
    study = curve.Study(path)
    for model in study.models:
        assert len({len(study.trials(model, method)) for method in study.methods}) == 1
    for model, method in study.lines():
        for trial in range(len(study.trials(model, method))):
            curve.check_config(study.settings(model, method, trial, 8))


def test_a_trial_leaves_nothing_to_the_next():
    study = curve.Study(ROOT / "research" / "studies" / "lean-fb15k-237.toml")
    before = study.settings("transe", "generator", 0, 8)
    study.settings("transe", "generator", 20, 64)
    assert "codes" in study.settings("transe", "generator", 20, 8)["sampler"]
    assert study.settings("transe", "generator", 0, 8) == before
    assert "codes" not in before["sampler"]


def test_a_width_is_a_multiple_of_k():
    study = curve.Study(ROOT / "research" / "studies" / "fb15k-237.toml")
    sampler = study.settings("transe", "hardest-of-4K", 0, 8)["sampler"]
    assert (sampler["k"], sampler["inner"]["k"]) == (8, 32)


def test_on_wn18rr_only_methods_that_say_so_are_penalised():
    study = curve.Study(ROOT / "research" / "studies" / "wn18rr.toml")
    penalty = lambda method: study.settings("complex", method, 0, 8)["model"]["n3"]
    assert [penalty(method) for method in ("self-adversarial", "nscaching")] == [0, 0]
    assert penalty("generator-self-adversarial") == 0
    assert [penalty(method) for method in ("generator", "nscaching-n3")] == [0.02, 0.02]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_recorded_run_is_one_of_the_study(path):
    study = curve.Study(path)
    for model in study.models:
        record = ROOT / "research" / "results" / "curve" / f"{study.name}-{model}.json"
        if record.exists():
            assert all(study.asks_for(model, row) for row in json.loads(record.read_text())["runs"])
