"""The `sparring` command; each subcommand is a file in `commands`.

Nothing here imports PyTorch, so `sparring --help` prints at once.
"""

import logging
import sys
import warnings
from importlib.metadata import version
from typing import Annotated

import typer
from rich.text import Text

from sparring.experiments.commands import (
    audit,
    calibrate,
    check,
    compare,
    data,
    explain,
    export,
    fit,
    init,
    listing,
    predict,
    run,
    score,
    serve,
    tune,
)
from sparring.experiments.commands import run as evaluate
from sparring.experiments.console import STOPPED, Commands, err, line
from sparring.printing import printable

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(requested: bool) -> bool:
    """Print the version and exit, if requested."""
    if requested:
        line(f"sparring {version('sparring')}")
        raise typer.Exit
    return requested


def show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """Print a warning that a user can act on as one line; the others are for developers."""
    if issubclass(category, FutureWarning | UserWarning):
        err.print(Text(printable(f"warning: {message}"), style="yellow"), soft_wrap=True)


class LineHandler(logging.Handler):
    """Prints each entry of the log as one line, as `show_warning` does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one entry."""
        text = printable(f"{record.levelname.lower()}: {self.format(record)}")
        err.print(Text(text, style="yellow"), soft_wrap=True)


@app.callback(epilog="Exit codes: 0 done, 1 failed, 2 misused, 130 stopped by Ctrl-C.")
def sparring(
    shown: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of any error.")
    ] = False,
) -> None:
    """Train knowledge graph completion models with hard negatives, and use them.

    `sparring fit GRAPH` trains a model; its folder is what most other commands take as RUN.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[LineHandler()])
    if not debug:
        warnings.showwarning = show_warning


MODELS, EXPERIMENTS, NEGATIVES, MORE = "Models", "Experiments", "Negatives", "Graphs and parts"

app.command("fit", rich_help_panel=MODELS)(fit.fit)
app.command("predict", rich_help_panel=MODELS)(predict.predict)
app.command("score", rich_help_panel=MODELS)(score.score)
app.command("explain", rich_help_panel=MODELS)(explain.explain)
app.command("calibrate", rich_help_panel=MODELS)(calibrate.calibrate)
app.command("evaluate", rich_help_panel=MODELS)(evaluate.evaluate)
app.command("serve", rich_help_panel=MODELS)(serve.serve)
app.command("init", rich_help_panel=EXPERIMENTS)(init.init)
app.command("run", rich_help_panel=EXPERIMENTS)(run.run)
app.command("compare", rich_help_panel=EXPERIMENTS)(compare.compare)
app.command("tune", rich_help_panel=EXPERIMENTS)(tune.tune)
app.command("audit", rich_help_panel=NEGATIVES)(audit.audit)
app.command("check", rich_help_panel=NEGATIVES)(check.check)
app.command("export", rich_help_panel=NEGATIVES)(export.export)
app.add_typer(data.data, name="data", rich_help_panel=MORE)
app.command("list", rich_help_panel=MORE)(listing.list_parts)


def main(words: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        words: instead of those that the process was given.
    """
    try:
        app(words)
    except KeyboardInterrupt:  # a second one, while the first was reported
        sys.exit(STOPPED)
