"""The processes of a `sparring` command on one machine, by the elastic agent of PyTorch."""

import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sparring.distributed.launch import ENVIRONMENT, REFUSAL, Refusal

INTERVAL = 0.2  # seconds between looks for an error; the agent looks more often for crashes
SETTLED = 0.5  # seconds in which the agent notices the crash that an error may be due to
FAILED = 1


def launch(words: Sequence[str], workers: int, *, restarts: int) -> Refusal | None:
    """Run a `sparring` command on several processes of this machine.

    A process that dies ends the others; all start again from the last checkpoint. An error of the
    user ends all at once.

    Args:
        words: of the command, without `sparring`.
        workers: number of processes.
        restarts: how often they are started again, at most.

    Returns:
        what ended them, with an exit code; None if they have done their work.
    """
    with tempfile.TemporaryDirectory(prefix="sparring-") as folder:
        place = Path(folder, "refusal.json")
        os.environ.update({**ENVIRONMENT, **os.environ, REFUSAL: str(place)})
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=workers,
            run_id=str(uuid.uuid4()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=restarts,
        )
        logging.disable(logging.WARNING)  # the agent's, of signals; it logs crashes as errors
        try:
            with stopped_by(place):
                elastic_launch(config, sys.executable)("-m", "sparring", *words)
        except SignalException as stop:  # Ctrl-C has reached the processes too, which have saved
            if refusal := Refusal.read(place):
                return refusal
            return Refusal("", 128 + stop.sigval, os.getpid())
        except ChildFailedError as failed:
            _, failure = failed.get_first_failure()
            times = "" if restarts == 0 else f", after {restarts} restarts"
            message = f"error: a process has died{times} (exit code {failure.exitcode})"
            return Refusal(message, FAILED, failure.pid)
        finally:
            logging.disable(logging.NOTSET)
            del os.environ[REFUSAL]
    return None


@contextmanager
def stopped_by(place: Path) -> Iterator[None]:
    """Let the agent kill its processes when one of them has left an error in a file."""

    def kill(number: int, frame: FrameType | None) -> None:
        raise SignalException("a process has met an error of the user", signal.SIGKILL)

    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(place, ended), daemon=True)
    before = signal.signal(signal.SIGUSR1, kill)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
        signal.signal(signal.SIGUSR1, before)


def _watch(place: Path, ended: threading.Event) -> None:
    """Interrupt the agent for an error, unless it has noticed that a process crashed before."""
    while not ended.wait(INTERVAL):
        refusal = Refusal.read(place)
        if refusal is None or ended.wait(SETTLED):
            continue
        if _is_alive(refusal.process):
            os.kill(os.getpid(), signal.SIGUSR1)
            return
        place.unlink()  # the agent has ended it with the others, and starts them again


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
