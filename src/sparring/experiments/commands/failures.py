"""A user's mistake is one line and an exit code; a traceback is for those who ask."""

import os
from contextlib import suppress

import typer
from rich.text import Text
from typer.core import TyperGroup

from sparring.experiments.commands.console import err

MISUSED, FAILED, STOPPED = 2, 1, 130


class Commands(TyperGroup):
    """Subcommands whose expected failures end in one line; `--debug` may stand anywhere."""

    def parse_args(self, ctx, args):
        """Take `--debug` out of the words wherever it stands."""
        ctx.meta["debug"] = "--debug" in args
        return super().parse_args(ctx, [word for word in args if word != "--debug"])

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("stopped", style="red")
            raise typer.Exit(STOPPED) from None
        except Exception as error:
            code = exit_code(error)
            if code is None or ctx.meta["debug"]:
                raise
            err.print(Text(f"error: {sentence(error)}", style="red"), soft_wrap=True)
            raise typer.Exit(code) from None


def exit_code(error: Exception) -> int | None:
    """The exit code of an error that a user can cause; None for any other."""
    from sparring.experiments.build import ConfigError

    if isinstance(error, ConfigError):
        return MISUSED
    if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
        return None
    if isinstance(error, ValueError | FloatingPointError | OSError | MemoryError):
        return FAILED
    return FAILED if isinstance(error, KeyError | RuntimeError) and _foreseen(error) else None


def sentence(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__


def _foreseen(error: Exception) -> bool:
    # imported here: whoever raised one of these has loaded PyTorch already
    from torch import OutOfMemoryError

    from sparring.experiments.run import RunError
    from sparring.graph.vocabulary import UnknownNameError
    from sparring.training import CheckpointError

    return isinstance(error, RunError | CheckpointError | UnknownNameError | OutOfMemoryError)
