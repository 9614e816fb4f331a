"""A study spends equal budgets, chooses on validation, survives kills, and leaves a run."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest
import torch

import sparring
from sparring.data.diagnostics import GraphError
from sparring.experiments.recipe import choose_recipe
from sparring.experiments.run_folder import RunError
from sparring.experiments.search import Choice, Log
from sparring.experiments.trials import ATTEMPTS, Budget, ShareMedian
from sparring.experiments.tune import tune
from sparring.files import DamagedFileError, FolderInUseError, locked, read_object
from sparring.models import DistMult
from sparring.registry import ConfigError

MODEL = {"name": "distmult", "dim": 8}
METHODS = {
    "uniform": {"model": MODEL, "sampler": {"name": "uniform", "k": 4}},
    "popular": {"model": MODEL, "sampler": {"name": "popularity", "k": 4}},
}
ONE = {"uniform": METHODS["uniform"]}
TRAIN = {"epochs": 3, "batch_size": 16, "validate_every": 3}
RANGES = {"sampler.k": Choice((2, 4)), "model.dim": Choice((4, 8)), "optimizer.lr": Log(0.01, 0.3)}


@pytest.fixture(scope="module")
def graph(circle):
    return sparring.load_graph(circle)


def study(graph, folder, trials=2, methods=ONE, **options):
    return tune(
        graph, methods, folder, Budget(trials=trials), train=TRAIN, ranges=RANGES, **options
    )


def settings(tuning, method="uniform"):
    """What each trial that ended was, and what it reached."""
    rows = tuning.numbers["methods"][method]["trials"]
    return [(row["settings"], row["valid_mrr"], row["state"]) for row in rows]


@pytest.fixture(scope="module")
def tuned(graph, tmp_path_factory):
    return study(graph, tmp_path_factory.mktemp("tuned"), trials=3, methods=METHODS)


class TestStudy:
    def test_every_method_gets_as_many_trials(self, tuned):
        methods = tuned.numbers["methods"]
        assert [len(methods[name]["trials"]) for name in METHODS] == [3, 3]
        assert len(tuned.trials) == 6

    def test_the_search_begins_with_what_suits_the_graph(self, tuned):
        first = tuned.numbers["methods"]["uniform"]["trials"][0]["settings"]
        assert (first["model.dim"], first["sampler.k"]) == (8, 4)
        assert first["optimizer.lr"] == choose_recipe(tuned.graph).tables["optimizer"]["lr"]

    def test_the_best_trial_by_validation_is_kept(self, tuned):
        methods = tuned.numbers["methods"]
        for name, method in methods.items():
            reached = [row["valid_mrr"] for row in method["trials"] if row["state"] == "complete"]
            assert method["valid_mrr"] == max(reached)
            kept = [place.name for place in (tuned.folder / name).iterdir()]
            assert kept == [f"trial-{method['number']}"]
        best = methods[tuned.numbers["best"]]
        assert best["valid_mrr"] == max(method["valid_mrr"] for method in methods.values())

    def test_the_best_run_is_one_that_load_opens_anywhere(self, tuned, tmp_path):
        moved = sparring.load(tuned.best).save(tmp_path / "moved")
        predictor = sparring.load(moved)
        best = tuned.numbers["methods"][tuned.numbers["best"]]
        assert predictor.metrics["test"]["mrr"] == best["mrr"]
        assert predictor.evaluate("test")["mrr"] == pytest.approx(best["mrr"])
        assert predictor.config.parts["model"]["dim"] == best["settings"]["model.dim"]

    def test_it_prints_and_is_a_frame(self, tuned):
        assert f"validation MRR {tuned.numbers['methods']['uniform']['valid_mrr']:.4f}" in repr(
            tuned
        )
        assert {"method", "state", "valid_mrr", "optimizer.lr"} <= set(tuned.trials.columns)

    def test_a_notebook_shows_every_method(self, tuned):
        shown = tuned._repr_html_()
        for name, method in tuned.numbers["methods"].items():
            assert f">{name}<" in shown and f"{method['mrr']:.4f}" in shown

    def test_numbers_are_those_in_the_folder(self, tuned):
        assert read_object(tuned.folder / "tuning.json") == tuned.numbers

    def test_test_facts_choose_nothing(self, graph, tuned, tmp_path):
        other = dataclasses.replace(graph, test=graph.test[:2].flip(0))
        again = study(other, tmp_path, trials=3, methods=METHODS)
        assert settings(again) == settings(tuned)
        assert (
            again.numbers["methods"]["uniform"]["mrr"] != tuned.numbers["methods"]["uniform"]["mrr"]
        )

    def test_another_seed_searches_elsewhere(self, graph, tuned, tmp_path):
        other = study(graph, tmp_path, trials=3, seed=1)
        assert settings(other)[2][0] != settings(tuned)[2][0]


class TestContinued:
    @pytest.mark.slow
    def test_in_two_parts_as_in_one(self, graph, tuned, tmp_path):
        study(graph, tmp_path, trials=1, methods=METHODS)
        assert settings(study(graph, tmp_path, trials=3, methods=METHODS)) == settings(tuned)

    @pytest.mark.slow
    def test_methods_may_be_added_and_need_not_be_repeated(self, graph, tmp_path):
        first = study(graph, tmp_path, trials=1)
        both = study(graph, tmp_path, trials=1, methods={"popular": METHODS["popular"]})
        assert set(both.numbers["methods"]) == set(METHODS)
        assert settings(both) == settings(first)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"seed": 1}, "seed 0 -> 1"),
            ({"methods": {"uniform": {"sampler": "uniform"}}}, "given for uniform"),
        ],
    )
    def test_another_study_is_refused(self, graph, tmp_path, change, named):
        study(graph, tmp_path, trials=1)
        with pytest.raises(RunError, match=named):
            study(graph, tmp_path, trials=1, **change)

    def test_another_graph_is_refused(self, graph, tmp_path):
        study(graph, tmp_path, trials=1)
        with pytest.raises(RunError, match="graph"):
            study(dataclasses.replace(graph, train=graph.train[:-1]), tmp_path, trials=1)

    def test_a_folder_in_use_is_refused(self, graph, tmp_path):
        with locked(tmp_path), pytest.raises(FolderInUseError):
            study(graph, tmp_path)

    @pytest.mark.slow
    def test_a_stopped_trial_is_tried_again(self, graph, tuned, tmp_path):
        trainers = []

        def stop_the_second(label, trainer):
            trainers.append(trainer)
            if len(trainers) == 2:
                trainer.stop()
            return ()

        assert study(graph, tmp_path, trials=3, callbacks=stop_the_second) is None
        assert not (tmp_path / "best").exists()
        found = settings(study(graph, tmp_path, trials=3))
        assert [state for *_, state in found].count("fail") == 1
        ended = [row for row in found if row[2] != "fail"]
        assert ended == settings(tuned)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "at", [1, 2, 6]
    )  # in the first trial, whose values are given, and later
    def test_a_kill_while_settings_are_chosen_changes_nothing(
        self, graph, tuned, tmp_path, monkeypatch, at
    ):
        calls, suggest = [], Choice.suggest

        def killed(self, trial, name):
            calls.append(name)
            if len(calls) == at:
                raise SystemExit
            return suggest(self, trial, name)

        with monkeypatch.context() as patch:
            patch.setattr(Choice, "suggest", killed)
            with pytest.raises(SystemExit):
                study(graph, tmp_path, trials=3)
        found = settings(study(graph, tmp_path, trials=3))
        assert [row for row in found if row[2] != "fail"] == settings(tuned)

    @pytest.mark.slow
    def test_settings_that_never_end_are_given_up(self, graph, tuned, tmp_path):
        """Such as those that need more memory than there is, and end the process."""
        study(graph, tmp_path, trials=1)
        stop = lambda label, trainer: trainer.stop() or ()
        for _ in range(ATTEMPTS):
            assert study(graph, tmp_path, trials=2, callbacks=stop) is None
        found = settings(study(graph, tmp_path, trials=2))
        failed = [values for values, _, state in found if state == "fail"]
        assert failed == [failed[0]] * ATTEMPTS == [settings(tuned)[1][0]] * ATTEMPTS
        assert found[-1][0] != failed[0]

    @pytest.mark.slow
    def test_a_killed_study_keeps_its_trials(self, circle, tmp_path):
        folder = tmp_path / "study"
        command = [sys.executable, "-m", "sparring", "tune", str(circle), "--folder", str(folder)]
        command += ["--methods", "uniform", "--trials", "4", "--quiet"]
        command += ["--set", "train.epochs=20", "--set", "model.dim=8"]
        killed = subprocess.Popen(command)
        deadline = time.monotonic() + 120
        while len(list(folder.glob("uniform/trial-*/log.jsonl"))) == 0 or not ended(folder):
            assert killed.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        before = {trial.number: trial.value for trial in ended(folder)}
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        after = ended(folder)
        assert {trial.number: trial.value for trial in after}.items() >= before.items()
        assert len(after) == 4
        assert sparring.load(folder / "best").metrics["test"]["mrr"] > 0


def ended(folder):
    """The trials in a study's file that count."""
    try:
        found = optuna.load_study(
            study_name="uniform", storage=f"sqlite:///{(folder / 'study.db').resolve()}"
        )
    except Exception:  # not written yet
        return []
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return found.get_trials(states=states)


class TestBudget:
    @pytest.mark.slow
    def test_minutes_limit_the_trials_and_the_study(self, graph, tmp_path):
        budget = Budget(minutes=0.01, trial_minutes=0.004)
        found = tune(graph, ONE, tmp_path, budget, train={**TRAIN, "epochs": 10**6}, ranges=RANGES)
        method = found.numbers["methods"]["uniform"]
        assert method["cpu_seconds"] > 60 * (0.01 - 0.004 / 2)
        assert sparring.load(found.best).config.train.minutes <= 0.004

    @pytest.mark.parametrize("given", [{}, {"minutes": -1.0}, {"trials": 1, "trial_minutes": -1.0}])
    def test_a_senseless_budget_is_refused(self, given):
        with pytest.raises(ConfigError):
            Budget(**given)

    def test_a_method_whose_trainings_diverge_is_an_error(self, graph, tmp_path):
        with pytest.raises(ConfigError, match="no trial of uniform"):
            tune(
                graph,
                {"uniform": {**ONE["uniform"], "optimizer": {"name": "adam", "lr": 1e30}}},
                tmp_path,
                Budget(trials=1),
                train=TRAIN,
            )

    def test_without_validation_facts_nothing_can_be_chosen(self, graph, tmp_path):
        with pytest.raises(GraphError, match="no validation facts"):
            study(dataclasses.replace(graph, valid=graph.valid[:0]), tmp_path)

    def test_objects_cannot_be_tuned(self, graph, tmp_path):
        torch.manual_seed(0)
        with pytest.raises(ConfigError, match="is an object"):
            study(graph, tmp_path, methods={"uniform": {"model": DistMult(graph.training, dim=4)}})


class TestPruning:
    """Four complete trials reach 0.2 to 0.8 after a half, 1 more at the end, and half early on."""

    @pytest.fixture
    def others(self):
        found = optuna.create_study(direction="maximize", pruner=ShareMedian())
        for value in (0.2, 0.4, 0.6, 0.8):
            trial = found.ask()
            trial.report(value / 2, 50)
            trial.report(value, 500)
            trial.report(value + 1, 1000)
            found.tell(trial, value + 1)
        return found

    @pytest.mark.parametrize(
        ("values", "ends"),
        [
            ({500: 0.59}, True),
            ({500: 0.6}, False),
            ({400: 0.19}, True),  # the others count with what they had then: 0.3
            ({400: 0.31}, False),
            ({100: 0.0}, False),  # too early
            ({700: 0.59}, True),
            ({300: 0.7, 700: 0.1}, False),  # its best so far counts
            ({1000: 1.5}, True),
        ],
    )
    def test_by_the_median_at_the_same_share(self, others, values, ends):
        trial = others.ask()
        for step, value in values.items():
            trial.report(value, step)
        assert trial.should_prune() == ends

    def test_not_before_there_are_enough(self):
        found = optuna.create_study(direction="maximize", pruner=ShareMedian())
        for value in (0.9, 0.9, 0.9):
            trial = found.ask()
            trial.report(value, 500)
            found.tell(trial, value)
        trial = found.ask()
        trial.report(0.1, 500)
        assert not trial.should_prune()


def test_a_damaged_database_is_named_in_one_line(graph, tmp_path):
    study(graph, tmp_path / "tuned", trials=1)
    path = tmp_path / "tuned" / "study.db"
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)
    with pytest.raises(DamagedFileError, match=r"study\.db cannot be read or written \([^\n]*$"):
        study(graph, tmp_path / "tuned", trials=2)


def test_drafts_of_a_killed_process_are_removed(graph, tmp_path):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / ".study.json.77.draft").write_text("half")
    study(graph, tmp_path / "tuned", trials=1)
    assert not list((tmp_path / "tuned").glob(".*"))
