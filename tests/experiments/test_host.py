import os
import signal
import subprocess
import threading

import pytest

from sparring.experiments import host
from sparring.experiments.host import provenance, stopped_by_signals


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
    assert set(provenance()["versions"]) == {"python", "torch", "sparring"}


def test_outside_of_git_there_is_no_commit(monkeypatch):
    def missing(*args, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert host.provenance()["commit"] is None
