"""Starting the processes of a run on one machine, and what they need from their environment."""

import os
import subprocess
import sys
from collections.abc import Sequence

SETTING = "distributed.virtual_workers"
VIRTUAL_WORKERS = 64  # divided by the usual numbers of processes
# with it, PyTorch 2.13 cannot start workers again under gloo (pytorch#135712)
ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}


def launch(words: Sequence[str], workers: int, *, restarts: int) -> int:
    """Run a `sparring` command on several processes of this machine, with `torchrun`.

    A process that dies ends the others; all start again from the last checkpoint.

    Args:
        words: of the command, without `sparring`.
        workers: number of processes.
        restarts: how often they are started again, at most.

    Returns:
        the exit code.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc-per-node={workers}", f"--max-restarts={restarts}"),
        *("-m", "sparring", *words),
    ]
    with subprocess.Popen(command, env={**ENVIRONMENT, **os.environ}) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # torchrun has received it too, and lets the workers save


def with_virtual_workers(overrides: Sequence[str]) -> list[str]:
    """The `path=value` overrides, with a number of virtual workers if there is none."""
    given = _virtual_workers(overrides) is not None
    return [*overrides] if given else [*overrides, f"{SETTING}={VIRTUAL_WORKERS}"]


def check_workers(overrides: Sequence[str], workers: int) -> None:
    """Make sure that so many processes can share the virtual workers, before any is started.

    Raises:
        ValueError: if their number does not divide that of virtual workers.
    """
    given = _virtual_workers(overrides) or str(VIRTUAL_WORKERS)
    if given.isdecimal() and int(given) % workers:
        raise ValueError(
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
