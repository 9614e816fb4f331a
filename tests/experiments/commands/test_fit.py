"""`sparring fit`, `sparring init` and `sparring score`: from a graph to answers without a file."""

import csv
import json
import shlex
import shutil
import tomllib

import pytest

from sparring.experiments.config import read_config
from sparring.experiments.run_folder import Run

QUICK = ("--epochs", 1, "--set", "model.dim=8", "--set", "evaluate.bootstrap=20")


@pytest.fixture
def fitted(command, circle, tmp_path):
    """The folder of a run of `sparring fit`."""
    done = command("fit", circle, *QUICK, "--folder", tmp_path / "fitted", "-q")
    assert done.exit_code == 0, done.stderr
    return tmp_path / "fitted"


def test_settings_are_chosen_and_the_next_command_works(command, circle, tmp_path):
    done = command("fit", circle, *QUICK)
    assert done.exit_code == 0, done.stderr
    assert "from a generator" in done.stderr
    run = Run(tmp_path / "runs" / "circle")
    assert run.result()["sampler"] == "generator" and run.result()["k"] == 4
    following = next(row for row in done.stdout.splitlines() if "sparring predict" in row)
    answered = command(*shlex.split(following)[1:])
    assert answered.exit_code == 0 and "rank" in answered.stdout


def test_parts_can_be_named(command, circle, tmp_path):
    words = ("--model", "transe", "--sampler", "uniform", "--loss", "nssa", "--seed", 5)
    done = command("fit", circle, *words, *QUICK, "--set", "sampler.k=3", "--folder", "run", "-q")
    assert done.exit_code == 0, done.stderr
    result = Run(tmp_path / "run").result()
    found = [result[name] for name in ("model", "sampler", "loss", "k", "seed", "epochs", "dim")]
    assert found == ["transe", "uniform", "nssa", 3, 5, 1, 8]


def test_the_run_lives_on_without_its_files(command, answer, circle, tmp_path):
    source = shutil.copytree(circle, tmp_path / "source")
    done = command("fit", source, *QUICK, "--folder", tmp_path / "run", "-q")
    assert done.exit_code == 0, done.stderr
    shutil.rmtree(source)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    metrics = answer("evaluate", tmp_path / "moved", "--json")
    assert metrics["mrr"] == pytest.approx(Run(tmp_path / "moved").result()["mrr"])
    assert command("audit", tmp_path / "moved").exit_code == 0


def test_one_file_is_split_as_asked(command, circle, tmp_path):
    words = ("--set", "graph.valid=0.1", "--set", "graph.test=0.2", "--folder", "run", "-q")
    done = command("fit", circle / "train.tsv", *QUICK, *words)
    assert done.exit_code == 0, done.stderr
    graph = Run(tmp_path / "run").graph()
    assert (len(graph.valid), len(graph.test)) == (5, 10)


def test_training_goes_on_from_another_run(command, circle, fitted, tmp_path):
    words = ("--epochs", 0, "--set", "model.dim=8", "--start", fitted, "--folder", "next", "-q")
    assert command("fit", circle, *words).exit_code == 0
    before, after = Run(fitted).model_state(), Run(tmp_path / "next").model_state()
    assert after["entity.weight"].equal(before["entity.weight"])


def test_a_used_folder_is_refused_or_resumed(command, circle, fitted):
    words = ("fit", circle, *QUICK, "--folder", fitted, "-q")
    again = command(*words)
    assert again.exit_code == 1 and "add --resume" in again.stderr
    assert command(*words, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("atlass",), 1, "did you mean atlas"),
        (("nowhere/train.tsv",), 1, "no such file"),
        (("atlas", "--model", "complx"), 2, "did you mean 'complex'"),
        (("atlas", "--set", "graph.vlid=0.1"), 2, "did you mean 'valid'"),
    ],
)
def test_mistakes_are_named(command, words, code, message):
    done = command("fit", *words)
    assert done.exit_code == code and message in done.stderr


def test_an_experiment_file_is_written_once(command, circle, tmp_path):
    assert command("init", circle).exit_code == 0
    path = tmp_path / "circle.toml"
    config = read_config(path)
    assert config.graph.path == str(circle) and config.parts["sampler"]["name"] == "generator"
    assert set(tomllib.loads(path.read_text())) >= {"graph", "model", "sampler", "loss", "train"}
    again = command("init", circle)
    assert again.exit_code == 1 and "exists already" in again.stderr


def test_triples_of_a_file_are_scored(command, fitted, tmp_path):
    path = tmp_path / "triples.tsv"
    path.write_text("e3\tnext\te4\nEntity number 3\tnext\te9\n")
    rows = list(csv.reader(command("score", fitted, path).stdout.splitlines(), delimiter="\t"))
    assert [row[:3] for row in rows] == [["e3", "next", "e4"], ["Entity number 3", "next", "e9"]]
    assert all(float(row[3]) == float(row[3]) for row in rows)


def test_triples_of_standard_input_are_scored(fitted, tmp_path):
    from typer.testing import CliRunner

    from sparring.experiments.cli import app

    path = tmp_path / "triples.tsv"
    path.write_text("e3\tnext\te4\n")
    piped = CliRunner().invoke(app, ["score", str(fitted)], input="e3\tnext\te4\n\n")
    read = CliRunner().invoke(app, ["score", str(fitted), str(path)])
    assert piped.stdout == read.stdout and piped.stdout.startswith("e3\tnext\te4\t")
    wrong = CliRunner().invoke(app, ["score", str(fitted)], input="e3\tnext\n")
    assert wrong.exit_code == 1 and "row 1 is" in wrong.stderr


def test_what_was_chosen_is_recorded(fitted):
    config = json.loads((fitted / "config.json").read_text())
    assert config["sampler"]["name"] == "generator" and config["train"]["epochs"] == 1
