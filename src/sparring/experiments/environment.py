"""The process that trains: signals, memory, and what a record says about code and machine."""

import ctypes
import os
import platform
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from sparring.kernels.runtime import enabled_for
from sparring.registry import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]
THREADS_PER_PROCESSOR = 16  # more only take memory


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end training after the current step.

    A second Ctrl-C interrupts at once.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_freed_memory() -> None:
    """Ask glibc to reuse big blocks instead of returning them to the system after every use.

    Steps allocate and free the same few big tensors; fresh pages for each cost up to a quarter
    of a step's time. Does nothing without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 2**30)
    mallopt(trim_threshold, 2**31 - 1)


def use_threads(number: int) -> None:
    """Let PyTorch compute with so many CPU threads; 0 leaves their number as it is.

    Raises:
        ConfigError: for far more than there are processors, which take memory and time.
    """
    most = THREADS_PER_PROCESSOR * (os.cpu_count() or 1)
    if number > most:
        raise ConfigError(
            f"[general] threads={number:,} are more than {THREADS_PER_PROCESSOR} for each of "
            f"{os.cpu_count()} processors; ask for {most} at most, or 0 for PyTorch's own choice"
        )
    if number:
        torch.set_num_threads(number)


def provenance() -> dict[str, Any]:
    """Commit, versions and processor of a run, and the GPU if there is one."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        "commit": _commit(),
        "versions": versions(),
        "kernels": enabled_for(torch.empty(0)),
        "cpu": _processor(),
        **gpu,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on, where they are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("sparring", "numba", "numpy", "polars"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _commit() -> str | None:
    """The commit of the source tree, with "-dirty" if files differ from it.

    None outside of git, and where the repository is another one, such as that of a project which
    has the package installed in a folder of its own.

    Files under results are not compared, because runs write them.
    """
    try:
        if Path(_git("rev-parse", "--show-toplevel"), "src", "sparring").resolve() != PACKAGE:
            return None
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git(
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ":/",
            ":(top,exclude)research/results",
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
