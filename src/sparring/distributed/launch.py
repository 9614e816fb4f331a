"""What the processes of a run on one machine need, and how they tell their launcher of an error.

Nothing here imports PyTorch."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sparring.files import DamagedFileError, read_object, write_object
from sparring.option_types import ConfigError

SETTING = "distributed.virtual_workers"
VIRTUAL_WORKERS = 64  # divided by the usual numbers of processes
# with it, PyTorch 2.13 cannot start workers again under gloo (pytorch#135712)
ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}
REFUSAL = "SPARRING_REFUSAL"  # names the file for an error, in the environment of processes
PATIENCE = 60.0  # seconds that a process waits for its launcher to end it


@dataclass(frozen=True)
class Refusal:
    """An error that comes again however often the processes are started, such as a wrong option.

    Attributes:
        message: one line.
        code: with which the command exits.
        process: id of the process that met it.
    """

    message: str
    code: int
    process: int

    @classmethod
    def read(cls, path: Path) -> "Refusal | None":
        """The error in a file; None if there is none."""
        try:
            found = read_object(path)
        except (FileNotFoundError, DamagedFileError):
            return None
        return cls(found["message"], found["code"], found["process"])


def has_launcher() -> bool:
    """Whether `sparring --workers` has started this process, and prints its errors."""
    return REFUSAL in os.environ


def refuse(message: str, code: int) -> None:
    """Tell the launcher of an error, and wait until it ends this process and all others.

    A process that ended by itself would look like one that has crashed, which is started again.
    """
    write_object(Path(os.environ[REFUSAL]), asdict(Refusal(message, code, os.getpid())))
    await_end()


def await_end() -> None:
    """Wait until the launcher ends this process."""
    time.sleep(PATIENCE)


def with_virtual_workers(overrides: Sequence[str]) -> list[str]:
    """The `path=value` overrides, with a number of virtual workers if there is none."""
    given = _virtual_workers(overrides) is not None
    return [*overrides] if given else [*overrides, f"{SETTING}={VIRTUAL_WORKERS}"]


def check_workers(overrides: Sequence[str], workers: int) -> None:
    """Make sure that so many processes can share the virtual workers, before any is started.

    Raises:
        ConfigError: if their number does not divide that of virtual workers.
    """
    given = _virtual_workers(overrides) or str(VIRTUAL_WORKERS)
    if given.isdecimal() and int(given) % workers:
        raise ConfigError(
            f"{workers} processes cannot share {given} virtual workers evenly; add "
            f"--set {SETTING}=N with a multiple N of {workers}, or start another number"
        )


def _virtual_workers(overrides: Sequence[str]) -> str | None:
    """The value that overrides give, if they do."""
    pairs = (word.partition("=") for word in overrides)
    return next((value.strip() for path, _, value in pairs if path.strip() == SETTING), None)


def without_option(words: Sequence[str], option: str) -> list[str]:
    """The words of a command without one option and its value."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
