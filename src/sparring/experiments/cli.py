"""The `sparring` command; each subcommand is a file in `commands`.

Nothing here imports PyTorch, so `sparring --help` prints at once.
"""

import logging
import warnings
from importlib.metadata import version
from typing import Annotated

import typer
from rich.logging import RichHandler
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
    tune,
)
from sparring.experiments.commands import run as evaluate
from sparring.experiments.console import Commands, err, line
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
    """Train knowledge graph completion models with hard negatives, and evaluate them."""
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    if not debug:
        warnings.showwarning = show_warning


app.command("fit")(fit.fit)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("audit")(audit.audit)
app.command("export")(export.export)
app.command("predict")(predict.predict)
app.command("score")(score.score)
app.command("calibrate")(calibrate.calibrate)
app.command("explain")(explain.explain)
app.command("check")(check.check)
app.add_typer(data.data, name="data")
app.command("list")(listing.list_parts)


def main() -> None:
    """Run the command line."""
    app()
