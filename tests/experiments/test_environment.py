import os
import signal
import subprocess
import threading

import pytest

from sparring import kernels
from sparring.experiments import environment as environment
from sparring.experiments.environment import provenance, stopped_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop(number):
    asked = []
    with stopped_by_signals(lambda: asked.append(True)):
        os.kill(os.getpid(), number)
    assert asked == [True]


def test_a_second_interrupt_interrupts():
    with pytest.raises(KeyboardInterrupt), stopped_by_signals(lambda: None):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with stopped_by_signals(lambda: None):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_sets_no_handlers():
    seen = []

    def work():
        with stopped_by_signals(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_provenance_names_versions():
    assert set(provenance()["versions"]) == {
        *("python", "torch", "sparring"),
        *("numba", "numpy", "polars"),
    }


def test_provenance_says_whether_compiled_loops_ran():
    assert provenance()["kernels"] is True
    with kernels.disabled():
        assert provenance()["kernels"] is False


def test_outside_of_git_there_is_no_commit(monkeypatch):
    def missing(*args, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert environment.provenance()["commit"] is None


def test_a_commit_is_marked_where_sources_differ_and_not_where_records_do(monkeypatch, tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    tell = lambda *words: subprocess.run([*git, *words], check=True, capture_output=True)
    (tmp_path / "research" / "results").mkdir(parents=True)
    (tmp_path / "src" / "sparring").mkdir(parents=True)
    for name in ("src/sparring/source.py", "research/results/record.json"):
        (tmp_path / name).write_text("before")
    tell("init")
    tell("add", ".")
    tell("commit", "-m", "all of it")
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "src" / "sparring")
    commit = environment.provenance()["commit"]
    assert len(commit) == 12
    (tmp_path / "research" / "results" / "record.json").write_text("after")
    (tmp_path / "research" / "results" / "another.json").write_text("new")
    assert environment.provenance()["commit"] == commit
    (tmp_path / "src" / "sparring" / "source.py").write_text("after")
    assert environment.provenance()["commit"] == f"{commit}-dirty"


def test_the_commit_of_a_repository_that_only_contains_the_package_is_not_named(
    monkeypatch, tmp_path
):
    package = tmp_path / ".venv" / "lib" / "sparring"
    package.mkdir(parents=True)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init"], ["commit", "--allow-empty", "-m", "another project"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    monkeypatch.setattr(environment, "PACKAGE", package)
    assert environment.provenance()["commit"] is None
