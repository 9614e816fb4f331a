"""What an experiment can name: parts, their options, and what each is in one sentence.

`sparring list`: the parts that an experiment can name."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from sparring.experiments.config import PARTS
from sparring.experiments.console import Json, as_json, out
from sparring.registry import Table, options_of, refuse_unknown

FAMILIES: dict[str, Table] = {
    "models": PARTS["model"][0],
    "samplers": PARTS["sampler"][0],
    "losses": PARTS["loss"][0],
    "sides": PARTS["sides"][0],
    "optimizers": PARTS["optimizer"][0],
    "schedules": PARTS["schedule"][0],
}


@dataclass(frozen=True)
class Part:
    """Something to name in an experiment.

    Attributes:
        options: type and default of each option, in words.
    """

    name: str
    summary: str
    options: dict[str, str]


def parts(family: str) -> list[Part]:
    """The parts of one family, by name.

    Raises:
        ConfigError: for a family that there is not, with the nearest one.
    """
    refuse_unknown([family], FAMILIES, "list")
    return [
        Part(name, _summary(maker), options_of(maker))
        for name, maker in sorted(FAMILIES[family].items())
    ]


def _summary(maker: object) -> str:
    return (inspect.getdoc(maker) or "").partition("\n\n")[0].replace("\n", " ")


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
    from sparring.experiments.commands.listing import FAMILIES, parts

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
