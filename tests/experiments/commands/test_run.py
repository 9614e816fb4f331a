import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from sparring.experiments import run
from sparring.experiments.config import check_config
from sparring.experiments.run import RECORDED
from sparring.experiments.run_folder import Run
from sparring.training import checkpoint

INTERRUPTING = """
import os, signal
from sparring.samplers import Uniform

class Interrupting(Uniform):
    draws = 0

    def sample(self, queries, score, rng):
        Interrupting.draws += 1
        if Interrupting.draws == int(os.environ.get("INTERRUPT_AT", 0)):
            os.kill(os.getpid(), getattr(signal, os.environ["INTERRUPT_BY"]))
        return super().sample(queries, score, rng)
"""


@pytest.fixture
def shell(tmp_path, write, tables):
    """`sparring run` in a process of its own, on a sampler that can interrupt it."""
    (tmp_path / "interrupting.py").write_text(INTERRUPTING)
    config = write(
        {**tables, "threads": 1, "sampler": {"name": "interrupting:Interrupting", "k": 4}}
    )
    start = (
        "import sys; sys.argv[0] = 'sparring'; from sparring.experiments.cli import main; main()"
    )

    def call(*words, at=0, by="SIGINT"):
        command = [sys.executable, "-c", start, "run", config.name, *words]
        variables = {**os.environ, "INTERRUPT_AT": str(at), "INTERRUPT_BY": by}
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )

    return call


def test_the_result_is_printed(command, write, tables):
    result = command("run", write(tables))
    assert result.exit_code == 0
    assert "small on circle (test)" in result.stdout and "best epoch" in result.stdout


def test_the_folder_is_named_after_the_file(command, write, tables, tmp_path):
    command("run", write(tables, "tiny.toml"))
    assert Run(tmp_path / "runs" / "tiny").result()["dataset"] == "circle"


def test_the_folder_can_be_named(command, write, tables, tmp_path):
    command("run", write(tables), "--folder", tmp_path / "there")
    assert Run(tmp_path / "there").result()["dataset"] == "circle"


def test_entries_can_be_set(command, write, tables, tmp_path):
    command("run", write(tables), "--set", "model.dim=6", "--set", "seed=9")
    result = Run(tmp_path / "runs" / "small").result()
    assert (result["dim"], result["seed"]) == (6, 9)


def test_progress_goes_to_standard_error(command, write, tables):
    assert "100%" in command("run", write(tables)).stderr


def test_quiet_is_quiet(command, write, tables):
    assert command("run", write(tables), "--quiet").stderr == ""


def test_tensorboard_finds_its_file(command, write, tables, tmp_path):
    command("run", write(tables), "--quiet")
    assert list((tmp_path / "runs" / "small" / "tensorboard").glob("events.*"))


def test_a_second_run_needs_resume(command, write, tables):
    command("run", write(tables), "--quiet")
    result = command("run", write(tables), "--quiet")
    assert result.exit_code == 1 and "add --resume to continue it" in result.stderr


def test_a_record_is_written_where_asked(command, write, tables, tmp_path):
    record = tmp_path / "results" / "study" / "small.json"
    command("run", write(tables), "--quiet", "--set", "seed=5", "--record", record)
    result = json.loads(record.read_text())
    assert list(result)[: len(RECORDED)] == list(RECORDED)
    assert (result["config"], result["overrides"], result["seed"]) == ("small.toml", ["seed=5"], 5)


@pytest.mark.slow
def test_an_unbroken_run_ends_with_0(shell):
    assert shell("--quiet").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_ends_with_130_and_tells_how_to_go_on(shell, by):
    result = shell("--quiet", "--set", "seed=4", at=6, by=by)
    assert result.returncode == 130
    assert result.stderr == (
        "stopped; to continue: sparring run small.toml --folder runs/small --resume --set seed=4\n"
    )


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_result_of_an_unbroken_one(shell, tmp_path):
    shell("--quiet", "--folder", "whole")
    shell("--quiet", "--folder", "broken", at=6)
    assert shell("--quiet", "--folder", "broken", "--resume").returncode == 0
    whole, broken = (Run(tmp_path / name) for name in ("whole", "broken"))
    assert broken.result()["mrr"] == whole.result()["mrr"]
    for name in ("best", "last"):
        ours, theirs = (checkpoint.load(run.folder, name)["step"] for run in (broken, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.fixture
def heard():
    """Interrupts as at a terminal: a shell starts what runs in the background deaf to them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_a_second_interrupt_leaves_the_last_checkpoint_and_tells_the_same(command, write, tables):
    def twice(trainer):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sparring.experiments.callbacks.progress_callbacks",
            lambda trainer, *_, **__: twice(trainer),
        )
        result = command("run", write(tables))
    assert result.exit_code == 130 and "stopped; to continue: sparring run" in result.stderr


def test_evaluating_again_gives_the_same_result(answer, finished):
    result = answer("evaluate", finished.folder, "--json")
    assert result["mrr"] == finished.result()["mrr"]


def test_another_split_can_be_ranked(answer, finished):
    result = answer("evaluate", finished.folder, "--json", "--split", "valid")
    assert result["mrr"] == pytest.approx(finished.result()["valid_mrr"])


def test_ranks_can_be_made_in_16_bits(answer, finished, monkeypatch):
    """Of which the ranks of so small a graph need not tell."""
    asked_for, plain = [], run.evaluate

    def watched(*given, precision, **options):
        asked_for.append(precision)
        return plain(*given, precision=precision, **options)

    monkeypatch.setattr(run, "evaluate", watched)
    for words in ([], ["--set", "evaluate.precision=bfloat16"]):
        answer("evaluate", finished.folder, "--json", *words)
    assert asked_for == ["float32", "bfloat16"]


def test_a_split_that_is_not_ranked_is_misuse(command, finished):
    result = command("evaluate", finished.folder, "--split", "train")
    words = " ".join(result.stderr.replace("│", " ").split())  # the box breaks lines anywhere
    assert result.exit_code == 2 and "'train' is not one of 'test', 'valid'" in words


def test_ranks_are_shown_by_group(command, finished):
    shown = command("evaluate", finished.folder).stdout
    assert all(word in shown for word in ("interval", "tail", "1-1", "degree 4-15", "seventh"))


def test_relations_left_out_are_counted(command, finished):
    shown = command("evaluate", finished.folder, "--relations", 1).stdout
    assert "and 2 relations with fewer queries" in shown


def test_a_generator_has_a_say_in_the_ranks(answer, guided):
    alone = answer("evaluate", guided, "--json")
    helped = answer("evaluate", guided, "--json", "--guide", 5.0)
    assert helped["mrr"] != alone["mrr"]


def test_a_sampler_without_probabilities_cannot_guide(command, finished):
    result = command("evaluate", finished.folder, "--guide", 0.5)
    assert result.exit_code != 0 and "knows no probabilities of entities" in result.stderr


def test_evaluation_needs_the_files_of_the_graph_no_more(command, answer, tables, circle, tmp_path):
    source = shutil.copytree(circle, tmp_path / "circle")
    run.run(check_config({**tables, "graph": {"path": str(source)}}), tmp_path / "run")
    before = answer("evaluate", tmp_path / "run", "--json")
    train = source / "train.tsv"
    train.write_text("".join(sorted(train.read_text().splitlines(keepends=True))) + "a\tnext\tb\n")
    after = answer("evaluate", tmp_path / "run", "--json")
    assert after == before
    shutil.rmtree(source)
    moved = shutil.move(tmp_path / "run", tmp_path / "moved")
    assert answer("evaluate", moved, "--json")["mrr"] == before["mrr"]
    assert command("audit", moved).exit_code == 0
    words = ("--head", "e3", "--relation", "next")
    assert command("predict", moved, *words).exit_code == 0
    assert command("export", moved, "--to", "dicee", "--folder", tmp_path / "out").exit_code == 0


def test_a_resumed_run_needs_no_original_files(command, write, tables, circle, tmp_path):
    files = shutil.copytree(circle, tmp_path / "files")
    path = write({**tables, "graph": {"path": str(files)}})
    words = ("run", path, "--folder", tmp_path / "run", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sparring.experiments.callbacks.progress_callbacks",
            lambda trainer, *_, **__: trainer.stop() or [],
        )
        assert command(*words).exit_code == 130
    shutil.rmtree(files)
    assert command(*words, "--resume").exit_code == 0
    assert Run(tmp_path / "run").finished()
