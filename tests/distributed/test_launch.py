"""The command on several real processes, of which one is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing import SignalException

from sparring.distributed import agent
from sparring.distributed.launch import Refusal
from sparring.experiments.run_folder import Run
from sparring.files import write_object
from sparring.predictor import Predictor

WORDS = (
    *("fit", "atlas", "--quiet", "--sampler", "uniform", "--epochs", "8"),
    *("--set", "distributed.virtual_workers=4", "--set", "train.validate_every=4"),
    *("--set", "model.dim=8", "--set", "evaluate.bootstrap=10", "--set", "distributed.timeout=20"),
)


def started(folder, workers, *more):
    words = [*WORDS, "--workers", str(workers), "--folder", str(folder), *more]
    return subprocess.Popen([sys.executable, "-m", "sparring", *words])


def workers_of(launcher):
    """Processes that descend from the launcher and train."""
    parents, found = {launcher}, []
    for entry in sorted(Path("/proc").iterdir(), key=lambda path: (len(path.name), path.name)):
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent in parents:
            parents.add(int(entry.name))
            if b"sparring" in words and b"torch.distributed.run" not in words:
                found.append(int(entry.name))
    return [pid for pid in found if pid != launcher]


def epochs_done(folder):
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line)["epoch"] for line in lines), default=0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_training_goes_on_after_a_worker_was_killed(tmp_path):
    assert started(tmp_path / "whole", 1).wait() == 0
    launcher = started(tmp_path / "killed", 2)
    while epochs_done(tmp_path / "killed") < 2:
        assert launcher.poll() is None
        time.sleep(0.02)
    victim = workers_of(launcher.pid)[-1]
    os.kill(victim, signal.SIGKILL)
    assert launcher.wait() == 0
    whole, killed = (Run(tmp_path / name).result() for name in ("whole", "killed"))
    assert killed["processes"] == 2
    for metric in ("mrr", "mr", "valid_mrr"):
        assert killed[metric] == pytest.approx(whole[metric], rel=1e-3)
    predictor = Predictor(Run(tmp_path / "killed"))
    assert predictor.evaluate("test")["mrr"] == pytest.approx(killed["mrr"], abs=1e-9)


def ended(*words):
    """Exit code and errors of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "sparring", *words], capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stderr.splitlines()


MISTAKES = {
    "a missing file": ("nosuch.tsv",),
    "a model that cannot be sharded": ("atlas", "--model", "tucker"),
    "an indivisible number": ("atlas", "--set", "distributed.virtual_workers=3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_ends_all_processes_at_once_with_one_line(tmp_path, words):
    given = ("fit", *words, "--folder", str(tmp_path / "run"), "--quiet")
    code, lines = ended(*given, "--workers", "2")
    assert code == (1 if words == MISTAKES["a missing file"] else 2)
    assert [line for line in lines if not line.startswith("warning: ")] == [lines[-1]]
    assert lines[-1].startswith("error: ")


@pytest.mark.slow
def test_a_mistake_that_the_first_process_meets_is_the_same_line_as_in_one_process(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    given = ("fit", "atlas", "--folder", str(tmp_path / "run"), "--quiet", *WORDS[3:])
    alone = ended(*given)
    assert alone[0] != 0
    assert ended(*given, "--workers", "2") == alone


def left(path, process):
    write_object(path, {"message": "error: wrong", "code": 2, "process": process})


def test_the_agent_is_stopped_by_an_error_of_a_living_process_only(tmp_path, monkeypatch):
    monkeypatch.setattr(agent, "INTERVAL", 0.01)
    monkeypatch.setattr(agent, "SETTLED", 0.01)
    place = tmp_path / "refusal.json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with agent.stopped_by(place):
        left(place, dead.pid)
        while place.exists():
            time.sleep(0.01)
    with pytest.raises(SignalException) as stop, agent.stopped_by(place):
        left(place, os.getpid())
        time.sleep(60)
    assert stop.value.sigval == signal.SIGKILL
    assert Refusal.read(place) == Refusal("error: wrong", 2, os.getpid())
