"""Folders of runs, and folders of data, run no code that the user has not named."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest

import sparring
from sparring.data.diagnostics import GraphError
from sparring.experiments.config import check_config
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run, RunError
from sparring.experiments.trust import UntrustedError
from sparring.files import DamagedFileError
from sparring.registry import ConfigError, build
from sparring.samplers import SAMPLERS

SPY = """
from pathlib import Path
Path({trace!r}).write_text("ran")
from sparring.models import DistMult
from sparring.samplers import Uniform
class Mine(Uniform):
    "A sampler of a user's own."
class MyModel(DistMult):
    "A model of a user's own."
def called(**options):
    Path({trace!r}).write_text("called")
"""


@pytest.fixture
def spy(tmp_path, monkeypatch):
    """A module in the working directory that leaves a trace when it is run."""
    trace = tmp_path / "trace"
    (tmp_path / "spy.py").write_text(SPY.format(trace=str(trace)))
    monkeypatch.chdir(tmp_path)
    yield trace
    sys.modules.pop("spy", None)


def renamed(folder, **parts):
    """Change tables in the configuration of a run."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))
    return Run(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["-m", "sparring"], ["-P", "-c", "from sparring.experiments.cli import main; main()"]]
)
def test_files_next_to_the_data_are_not_imported(circle, tmp_path, words):
    folder = shutil.copytree(circle, tmp_path / "data")
    for module in ("polars", "torch", "typer", "rich", "numpy"):
        (folder / f"{module}.py").write_text("raise SystemExit('ran')")
    source = os.path.dirname(os.path.dirname(sparring.__file__))
    done = subprocess.run(
        [sys.executable, *words, "data", "check", "."], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": source}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_class_that_a_configuration_names_is_found_in_the_working_directory(spy, graph):
    before = list(sys.path)
    made = build({"name": "spy:Mine", "k": 3}, SAMPLERS, "sampler", graph=graph.training)
    assert (type(made).__name__, spy.read_text(), sys.path) == ("Mine", "ran", before)


def test_an_installed_module_comes_before_one_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "this_is_installed", raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "this_is_installed.py").write_text("class Mine: pass")
    (tmp_path / "this_is_installed.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ConfigError, match="must be a subclass of"):
        build({"name": "this_is_installed:Mine"}, SAMPLERS, "sampler")


@pytest.mark.parametrize("place", ["sampler", "sampler.inner", "optimizer", "loss"])
def test_a_folder_that_names_code_is_refused_before_it_runs(spy, finished, place):
    named = {"name": "spy:Mine", "k": 4}
    outer, _, inner = place.partition(".")
    table = {"name": "mask-known", inner: named} if inner else named
    with pytest.raises(UntrustedError, match=rf"\[{place}\] 'spy:Mine'.*add --trust"):
        renamed(finished.folder, **{outer: table}).config()
    assert not spy.exists()


def test_a_folder_of_earlier_names_is_refused_too(spy, finished):
    with pytest.raises(UntrustedError, match=r"\[sides\] 'spy:Mine'"):
        renamed(finished.folder, sides={"name": "spy:Mine"}).config()
    assert not spy.exists()


def test_a_trusted_folder_may_name_code(spy, tables, tmp_path):
    tables["sampler"]["name"] = "spy:Mine"
    run(check_config(tables), tmp_path / "run")
    sys.modules.pop("spy")
    spy.unlink()
    with pytest.raises(UntrustedError):
        sparring.load(tmp_path / "run")
    assert not spy.exists()
    assert type(sparring.load(tmp_path / "run", trust=True).sampler).__name__ == "Mine"


def test_the_command_line_says_how_to_trust(spy, tables, tmp_path, command):
    tables["sampler"]["name"] = "spy:Mine"
    run(check_config(tables), tmp_path / "run")
    refused = command("evaluate", tmp_path / "run")
    assert refused.exit_code == 1 and "add --trust" in refused.stderr
    assert command("evaluate", tmp_path / "run", "--trust").exit_code == 0


def test_an_explanation_of_a_trusted_run(spy, tables, tmp_path, command):
    tables["sampler"]["name"] = "spy:Mine"
    run(check_config(tables), tmp_path / "run")
    words = ("--head", "e1", "--relation", "next", "--tail", "e2")
    refused = command("explain", tmp_path / "run", *words)
    assert refused.exit_code == 1 and "add --trust" in refused.stderr
    assert command("explain", tmp_path / "run", *words, "--trust").exit_code == 0


def test_a_run_with_code_of_the_users_own_is_resumed_without_trust(spy, tables, tmp_path):
    tables["sampler"]["name"] = "spy:Mine"
    config = check_config(tables)
    run(config, tmp_path / "run")
    assert run(config, tmp_path / "run", resume=True) is not None


def test_resuming_runs_no_code_that_only_the_folder_names(spy, config, finished):
    renamed(finished.folder, sampler={"name": "spy:Mine", "k": 4})
    with pytest.raises(UntrustedError):
        run(config, finished.folder, resume=True)
    assert not spy.exists()


def test_a_teacher_that_names_code_is_refused_unless_it_is_trusted(spy, tables, graph, tmp_path):
    tables["model"]["name"] = "spy:MyModel"
    run(check_config(tables), tmp_path / "run")
    sys.modules.pop("spy")
    spy.unlink()
    teacher = {"name": "run", "folder": str(tmp_path / "run")}
    spec = {"name": "teacher-negatives", "k": 3, "teacher": teacher}
    with pytest.raises(
        ConfigError, match=r"\[model\] 'spy:MyModel'; .*`trust = true` in its table"
    ):
        build(spec, SAMPLERS, "sampler", graph=graph.training)
    assert not spy.exists()
    spec["teacher"]["trust"] = True
    build(spec, SAMPLERS, "sampler", graph=graph.training)


@pytest.mark.parametrize(
    ("name", "kind"), [("teacher-negatives", "teacher"), ("false-negative-weighting", "estimator")]
)
def test_a_named_object_of_another_family_is_never_called(spy, graph, name, kind):
    own = {"inner": {"name": "uniform", "k": 3}} if kind == "estimator" else {"k": 3}
    spec = {"name": name, **own, kind: {"name": "spy:called"}}
    with pytest.raises(ConfigError, match=r"'spy:called' is no .*must be a subclass of"):
        build(spec, SAMPLERS, "sampler", graph=graph.training)
    assert spy.read_text() == "ran"


def test_a_folder_cannot_trust_another_one(finished):
    teacher = {"name": "run", "folder": "elsewhere", "trust": True}
    sampler = {"name": "teacher-negatives", "k": 3, "teacher": teacher}
    with pytest.raises(UntrustedError, match=r"\[sampler.teacher\] trust = true"):
        renamed(finished.folder, sampler=sampler).config()


def test_a_configuration_altered_after_training_is_refused(finished, graph):
    changed = renamed(finished.folder, sampler={"name": "uniform", "k": 5})
    with pytest.raises(
        UntrustedError, match=r"config\.json was altered after training; restore it"
    ):
        changed.load_step(changed.config(), graph)


def test_a_run_whose_configuration_was_altered_does_not_resume(finished, graph):
    config = finished.config()
    changed = renamed(finished.folder, sampler={"name": "uniform", "k": 5})
    with pytest.raises(UntrustedError, match=r"config\.json was altered after training"):
        run(config, changed.folder, resume=True)


@pytest.mark.parametrize("name", ["result.json", "breakdown.json", "graph.json", "log.jsonl"])
def test_an_altered_number_is_refused(finished, name):
    path = finished.folder / name
    path.write_text(
        re.sub(r"[1-8](?=[,\n}])", lambda digit: str(int(digit[0]) + 1), path.read_text(), count=1)
    )
    with pytest.raises(DamagedFileError, match=re.escape(name)):
        (
            finished.result(),
            finished.breakdown(),
            finished.log(),
            finished.load_step(finished.config(), finished.graph()),
        )


def test_options_given_at_evaluation_are_no_alteration(finished, graph):
    finished.load_step(finished.config(["evaluate.bootstrap=3"]), graph)


@pytest.mark.parametrize(
    "content", ["[]", "", "3", '{"seed": "x"}', "[" * 100_000, '{"model": ' * 400 + "1" + "}" * 400]
)
def test_a_foreign_configuration_is_named_in_one_line(finished, command, content):
    (finished.folder / "config.json").write_text(content)
    said = command("evaluate", finished.folder)
    assert said.exit_code in (1, 2) and said.stderr.count("\n") == 1
    assert "config.json" in said.stderr


def test_a_foreign_description_of_the_graph_is_refused(finished, config, command):
    for content in ("[]", "{}", "1e999"):
        (finished.folder / "graph.json").write_text(content)
        with pytest.raises((RunError, ValueError), match=r"another graph|is damaged"):
            run(config, finished.folder, resume=True)


def test_a_log_that_is_a_link_changes_no_other_file(finished, config, tmp_path):
    log, precious = finished.folder / "log.jsonl", tmp_path / "precious"
    log.rename(precious)
    log.symlink_to(precious)
    before = precious.read_bytes()
    with pytest.raises(OSError, match=r"log\.jsonl"):
        run(config, finished.folder, resume=True)
    assert precious.read_bytes() == before


def test_a_folder_whose_graph_is_a_database_cannot_write_elsewhere(finished, tmp_path):
    stolen = tmp_path / "stolen"
    shutil.rmtree(finished.folder / "graph")
    with sqlite3.connect(tmp_path / "facts.db") as database:
        database.execute("CREATE TABLE links (head, relation, tail)")
    database.close()
    query = f"VACUUM INTO '{stolen}'"
    config = renamed(finished.folder, graph={"path": str(tmp_path / "facts.db"), "query": query})
    with pytest.raises(GraphError, match="the query failed"):
        config.graph()
    assert not stolen.exists()
