"""Callbacks for the progress of a training: a log file, a progress bar. See also `loggers`."""

import json
from pathlib import Path
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sparring.files import open_in_place, sealed
from sparring.training import Record, Trainer


@runtime_checkable
class Callback(Protocol):
    """Called with every record in order, then closed."""

    def __call__(self, record: Record) -> None: ...

    def close(self) -> None:
        """Release what the callback holds."""


class JsonLines:
    """One JSON object per record, with its digest, appended to a file.

    Args:
        after: step of the checkpoint that training resumes from; later lines are cut off, because
            training writes them again. Earlier ones stay where they are, so that they are safe on a
            full disk too.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        self.file = open_in_place(path, "ab")
        self.file.truncate(_end(path, after))

    def __call__(self, record: Record) -> None:
        row = {
            "kind": record.kind,
            "epoch": round(record.epoch, 4),
            "step": record.step,
            "cpu_seconds": round(record.cpu_seconds, 2),
            **record.values,
        }
        self.file.write(json.dumps(sealed(row)).encode() + b"\n")
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _end(path: Path, step: int) -> int:
    """How many bytes of a log are about training up to a step; the rest is about later steps."""
    position = end = 0
    with path.open("rb") as file:
        for line in file if step else ():
            position += len(line)
            if _before(line, step):
                end = position
    return end


def _before(line: bytes, step: int) -> bool:
    """Whether a line of the log is about training up to a step, and complete."""
    try:
        row = json.loads(line)
        return line.endswith(b"\n") and row["kind"] != "end" and row["step"] <= step
    except (ValueError, TypeError, KeyError, RecursionError):  # cut short by a crash, or damaged
        return False


WIDE, NAME = 100, 28  # columns of a terminal that has room for all; letters of a name


class ProgressBar:
    """A progress bar with loss, last validation MRR, triples per second and time left.

    Args:
        steps: update steps of the whole training.
        batch: triples per step.
        done: update steps before this start.
        keep: leave the full bar on the screen.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        *,
        steps: int,
        batch: int,
        done: int = 0,
        keep: bool = True,
    ) -> None:
        self.batch = batch
        columns = [
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("loss {task.fields[loss]}  MRR {task.fields[mrr]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        ]
        if console.width < WIDE:
            del columns[4:6]
        hidden = not (keep or console.is_terminal)  # nothing would be left of it
        self.progress = Progress(*columns, console=console, transient=not keep, disable=hidden)
        short = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
        self.task = self.progress.add_task(
            escape(short), total=steps, completed=done, loss="-", mrr="-", rate=""
        )
        self.progress.start()

    def __call__(self, record: Record) -> None:
        shown = {}
        if record.kind == "progress":
            shown["loss"] = f"{record.values['loss']:.4f}"
        if record.kind == "validation":
            shown["mrr"] = f"{record.values['mrr']:.4f}"
        self.progress.update(self.task, completed=record.step, **shown)
        speed = self.progress.tasks[0].speed
        if speed:
            self.progress.update(self.task, rate=f"{speed * self.batch:,.0f} triples/s")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()


def progress_callbacks(
    trainer: Trainer, console: Console | None, name: str, *, keep: bool = True
) -> list[Callback]:
    """A progress bar, given a console."""
    if console is None:
        return []
    sizes = {"steps": trainer.steps, "batch": trainer.batch_size, "done": trainer.progress.step}
    return [ProgressBar(console, name, **sizes, keep=keep)]
