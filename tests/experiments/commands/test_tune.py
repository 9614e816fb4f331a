"""`sparring tune`: a study from the command line, which ends with a run and a report."""

import json
import re

import pytest

from sparring.experiments.run_folder import Run

QUICK = ("--set", "train.epochs=1", "--set", "model={name='distmult',dim=8}", "--quiet")


@pytest.mark.slow
def test_a_study_leaves_a_run_and_a_report(command, circle, tmp_path):
    words = ("tune", circle, "--methods", "uniform,popularity", "--trials", 2, *QUICK)
    done = command(*words)
    assert done.exit_code == 0, done.stderr
    folder = tmp_path / "runs" / "circle-tuned"
    assert Run(folder / "best").finished()
    numbers = json.loads((folder / "tuning.json").read_text())
    best = numbers["methods"][numbers["best"]]
    assert f"{best['mrr']:.4f}" in done.stdout and f"best: {numbers['best']}" in done.stdout
    page = (folder / "report.html").read_text()
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])
    assert {view["tab"] for view in figures["history"]} == {"uniform", "popularity"}
    assert command(*words).exit_code == 0  # finished already
    answered = command("evaluate", folder / "best")
    assert answered.exit_code == 0, answered.stderr


def test_an_unknown_method_is_one_line(command, circle):
    done = command("tune", circle, "--methods", "unifrom", "--trials", 1)
    assert done.exit_code == 2
    assert "did you mean 'uniform'" in done.stderr


@pytest.mark.slow
def test_samplers_are_compared_on_a_graph(command, circle, tmp_path):
    words = ("compare", circle, "--samplers", "uniform,popularity", "--seeds", 1, *QUICK)
    done = command(*words)
    assert done.exit_code == 0, done.stderr
    folder = tmp_path / "runs" / "circle-compared"
    assert set(json.loads((folder / "comparison.json").read_text())["variants"]) == {
        "uniform",
        "popularity",
    }
    page = (folder / "report.html").read_text()
    assert "sparring compare" in page and "--samplers uniform,popularity" in page
