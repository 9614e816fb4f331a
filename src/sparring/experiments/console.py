"""Output, errors and shared options of the commands.

Results go to standard output, progress and errors to standard error. A user's error is one line and
an exit code; `--debug` shows the traceback.
"""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer
from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from sparring.distributed.launch import await_end, has_launcher, refuse, without_option
from sparring.extras import MissingExtraError
from sparring.printing import printable, to_json

HEAD = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")  # a line below the head
out = Console()
err = Console(stderr=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """Print rows of text; all but the first `left` columns are numbers, flush right.

    Where the terminal is too narrow, names and headings wrap, and numbers stay whole.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    printed = Table(
        box=HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    for place, column in enumerate(columns):
        if place < left:
            printed.add_column(Text(column), overflow="fold")
        else:
            texts = [*(row[place] for row in cells), *column.split()]
            width = max(min(len(column), 6), *map(len, texts), 1)
            heading = Text("\n".join(wrap(column, width)))
            printed.add_column(heading, justify="right", no_wrap=True)
    for row in cells:
        printed.add_row(*map(Text, row))
    if title:
        out.print(Text(f"\n{title}", style="bold"), soft_wrap=True)
    out.print(printed)


def line(text: str, to: Console = out, end: str = "\n") -> None:
    """Print text that may be copied: not wrapped, not colored, and safe to show."""
    text = printable(text, keep="\n\t")
    to.print(text, soft_wrap=True, markup=False, highlight=False, end=end)


def log_override(log: Sequence[str] | None) -> list[str]:
    """The override that `--log` stands for."""
    return [f"log.to={to_json(list(log))}"] if log else []


def as_json(content: Any) -> None:
    """Print JSON, for other programs."""
    line(to_json(content))


def launched(workers: int, restarts: int = 0) -> None:
    """Run this command on so many processes instead, unless it is one of them, or 0 are wanted.

    Args:
        restarts: how often they are started again, at most, if one of them dies.
    """
    if workers and "WORLD_SIZE" not in os.environ:
        from sparring.distributed.agent import launch

        words = without_option(sys.argv[1:], "--workers")
        refusal = launch(words, workers, restarts=restarts)
        err.show_cursor()  # which the bar of a process that was killed has hidden
        if refusal is None:
            raise typer.Exit
        if refusal.message:
            err.print(Text(refusal.message, style="red"), soft_wrap=True)
        raise typer.Exit(refusal.code)


MISUSED, FAILED, STOPPED = 2, 1, 130
OUT_OF_MEMORY = (  # messages of PyTorch
    "DefaultCPUAllocator",
    "Storage size calculation overflowed",
    "integer multiplication overflow",
)
LESS_MEMORY = "lower batch_size, dim or max_scores"
TOO_LARGE = "cannot be converted to type float without overflow"  # of PyTorch, in a step
EXPECTED = (ValueError, FloatingPointError, OSError, MemoryError, MissingExtraError)


class Commands(TyperGroup):
    """Commands that report expected errors in one line; `--debug` may be anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remove `--debug` from the words, wherever it is."""
        ctx.meta["debug"] = "--debug" in args
        return super().parse_args(ctx, [word for word in args if word != "--debug"])

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand; an expected error becomes one line and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("stopped", style="red")
            raise typer.Exit(STOPPED) from None
        except Exception as error:
            code = exit_code(error)
            if code is None or (ctx.meta["debug"] and not has_launcher()):
                raise
            if ctx.meta["debug"]:
                traceback.print_exception(error)
            error.__traceback__ = error.__context__ = None  # its frames may hold all the memory
            message = printable(f"error: {sentence(error)}")
            if has_launcher():
                _leave_to_launcher(error, message, code)
            with suppress(OSError):  # the disk that holds the output may be full, too
                err.print(Text(message, style="red"), soft_wrap=True)
            raise typer.Exit(code) from None


def _leave_to_launcher(error: Exception, message: str, code: int) -> None:
    """Let the launcher report an error, and end this process."""
    from sparring.distributed.world import FirstProcessError

    if isinstance(error, FirstProcessError):
        await_end()
    else:
        refuse(message, code)


def exit_code(error: Exception) -> int | None:
    """The exit code for an error that a user can cause; None for any other error."""
    from sparring.registry import ConfigError

    if isinstance(error, ConfigError | RuntimeError) and _says_out_of_memory(error):
        return FAILED
    if isinstance(error, ConfigError) or TOO_LARGE in str(error):
        return MISUSED
    if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
        return None
    if isinstance(error, EXPECTED):
        return FAILED
    return FAILED if isinstance(error, KeyError | RuntimeError) and _expected(error) else None


def sentence(error: Exception) -> str:
    """The error in one line."""
    if _says_out_of_memory(error):
        asked = re.search(r"allocate (\d+) bytes", str(error))
        size = f": {int(asked[1]) / 2**30:,.1f} GiB more were asked for" if asked else ""
        return f"not enough memory{size}; {LESS_MEMORY}"
    if TOO_LARGE in str(error):
        return "a number of the configuration is too large for 32-bit floats; look at lr first"
    if isinstance(error, MemoryError) and not str(error):
        return f"not enough memory; {LESS_MEMORY}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__


def _says_out_of_memory(error: Exception) -> bool:
    return any(words in str(error) for words in OUT_OF_MEMORY)


def _expected(error: Exception) -> bool:
    # imported here: the code that raised one of these has loaded PyTorch already
    from torch import OutOfMemoryError

    from sparring.data.vocabulary import UnknownNameError
    from sparring.experiments.run_folder import RunError
    from sparring.training import CheckpointError

    return isinstance(error, RunError | CheckpointError | UnknownNameError | OutOfMemoryError)


Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one entry of the configuration, such as `model.dim=100`; repeatable.",
    ),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)
]
RunOrConfig = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|CONFIG",
        help="Folder of a run, for its sampler under its trained model; or an experiment file, "
        "for the sampler before training.",
        show_default=False,
    ),
]
GraphName = Annotated[
    str,
    typer.Argument(
        metavar="GRAPH",
        help="Name in `sparring data list`, folder with train, valid and test, or one file of "
        "triples.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run code outside of sparring that the folder names (MODULE:CLASS); only for folders "
        "of people you trust.",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="SERVICE",
        help="Log to `tensorboard`, `mlflow` or `wandb`; repeatable. By default to TensorBoard, "
        "if it is installed.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Processes on this machine that share the tables of a sharded run; 0 for this one.",
    ),
]
GuideWeight = Annotated[
    float,
    typer.Option(
        "--guide",
        metavar="WEIGHT",
        help="Rank by score + WEIGHT * log-probability under the run's generator; choose it on "
        "validation triples. 0 is the model alone.",
    ),
]
