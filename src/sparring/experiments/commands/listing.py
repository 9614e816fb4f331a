"""`sparring list`: the parts that an experiment can name."""

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from sparring.experiments.commands.console import as_json, out
from sparring.experiments.commands.options import Json


def list_parts(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="List only `models`, `samplers`, `losses`, `sides`, `optimizers` or `schedules`.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
):
    """List models, samplers, losses, sides, optimisers and schedules with their options.

    Each option stands with its type and default as it would in an experiment file.
    """
    from sparring.experiments.listing import FAMILIES, parts

    found = {name: parts(name) for name in ([kind] if kind else FAMILIES)}
    if json:
        as_json({name: [vars(part) for part in family] for name, family in found.items()})
        return
    for name, family in found.items():
        out.print(Text(name, style="bold underline"))
        for part in family:
            out.print(Text(f"  {part.name}", style="bold cyan"))
            out.print(Padding(Text(part.summary), (0, 0, 0, 6)))
            for option, words in part.options.items():
                out.print(Padding(Text(f"{option}: {words}", style="dim"), (0, 0, 0, 6)))
        out.print()
