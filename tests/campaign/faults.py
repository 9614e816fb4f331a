"""What is done to a process before it runs a command: limits, kills, clocks, a broken library."""

import itertools
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
from campaign.broken import BROKEN

WRITING = os.O_WRONLY | os.O_RDWR
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def limit_file_size(size: int, deadly: bool = False) -> None:
    """No file grows beyond a size: writing fails, or kills the process in the middle of a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_memory(kind: Literal["AS", "DATA"], extra: int) -> None:
    """So many bytes more than now, of address space or of data."""
    column = {"AS": 0, "DATA": 5}[kind]
    pages = int(Path("/proc/self/statm").read_text().split()[column])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (limit, limit))


def no_memory_in_step(at: int) -> None:
    """The nth training step asks PyTorch for more memory than there is."""
    from sparring.training import step

    forward, steps = step.TrainingStep.forward, itertools.count(1)

    def failing(self: Any, *given: Any) -> Any:
        if next(steps) == at:
            torch.empty(2**46)
        return forward(self, *given)

    step.TrainingStep.forward = failing


def at_file_operation(folder: str, how: Literal["kill", "full", "memory"], at: int) -> None:
    """Kill the process before it changes a file below a folder for the nth time; or from then on,
    no file can be written or made, as on a full disk; or memory is short this once."""
    changes = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if not (writes or event in CHANGES) or not _below(arguments[0], folder):
            return
        changes += 1
        if how == "kill" and changes == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "memory" and changes == at:
            raise MemoryError
        if how == "full" and changes >= at and (writes or event == "os.mkdir"):
            raise OSError(28, "No space left on device", str(arguments[0]))

    sys.addaudithook(watch)


def count_file_operations(folder: str, to: str) -> None:
    """Write a byte for each change of a file below a folder."""
    file = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (writes or event in CHANGES) and _below(arguments[0], folder):
            os.write(file, b".")

    sys.addaudithook(watch)


def jump_clock(seed: int) -> None:
    """The wall clock jumps by up to ten years, back and forth, each time it is asked."""
    rng, now = random.Random(seed), time.time
    time.time = lambda: now() + rng.uniform(-3e8, 3e8)
    time.time_ns = lambda: int(time.time() * 1e9)


def nobody_reads() -> None:
    """Standard output is a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)


def downloads_from(host: str, table: dict[str, dict[str, str]], cache: str) -> None:
    """Benchmarks come from another host, and are kept in a folder of their own."""
    from sparring.data import datasets

    datasets.downloads = lambda: table
    datasets.load_benchmark.__kwdefaults__["host"] = host
    os.environ["XDG_CACHE_HOME"] = cache


def broken_library(name: str) -> None:
    """Break the library, to see whether an attack notices; see `campaign.broken`."""
    BROKEN[name].apply()


def sleep(seconds: float) -> None:
    """Start late."""
    time.sleep(seconds)


def few_bytes() -> None:
    """A limit for downloads that a test can exceed."""
    from sparring.data import datasets

    datasets.MOST_BYTES = 2**20


def _below(path: Any, folder: str) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(folder)
