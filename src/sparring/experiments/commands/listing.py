"""`sparring list`: the parts that an experiment can name, and their options."""

import inspect
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from sparring.experiments.console import Json, as_json, line, out
from sparring.registry import Registry, load_plugins, options_of, refuse_unknown

PLURAL = {"loss": "losses"}


def families() -> dict[str, Registry]:
    """The kinds of parts that an experiment names, by the plural that the command line takes."""
    from sparring.experiments.config import PARTS

    load_plugins()
    return {PLURAL.get(name, name + "s"): registry for name, (registry, _) in PARTS.items()}


@dataclass(frozen=True)
class Part:
    """Something to name in an experiment.

    Attributes:
        group: where it comes from: a module of this package, such as "frequency", or another
            package.
        options: type and default of each option, in words.
    """

    name: str
    group: str
    summary: str
    options: dict[str, str]


def parts(family: str) -> list[Part]:
    """The parts of one family, by name.

    Raises:
        ConfigError: for an unknown family, with the nearest one.
    """
    known = families()
    refuse_unknown([family], known, "list")
    return [
        Part(name, _group(maker), _summary(maker), options_of(maker))
        for name, maker in sorted(known[family].items())
    ]


def _group(maker: object) -> str:
    path = maker.__module__.split(".")
    return path[-1].replace("_", " ") if path[0] == "sparring" else path[0]


def _summary(maker: object) -> str:
    return (inspect.getdoc(maker) or "").partition("\n\n")[0].replace("\n", " ")


def list_parts(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="`models`, `samplers`, `losses`, `corruptions`, `optimizers` or `schedules`, with "
            "all options; by default the names of all kinds.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List models, samplers, losses and more, with their options.

    Example: `sparring list samplers` shows each sampler with the type and default of every option.
    """
    found = {name: parts(name) for name in ([kind] if kind else families())}
    if json:
        as_json({name: [vars(part) for part in family] for name, family in found.items()})
        return
    by_group = attrgetter("group")
    for name, family in found.items():
        out.print(Text(name, style="bold underline"))
        for group, members in groupby(sorted(family, key=by_group), by_group):
            out.print(Text(f"  {group}", style="bold"))
            for part in members:
                show(part, options=kind is not None)
        out.print()
    if kind is None:
        line("sparring list KIND, such as `sparring list samplers`, shows their options")


def show(part: Part, *, options: bool) -> None:
    """Print what a part is, and its options."""
    if not options:
        row = Text.assemble((f"    {part.name:<22} ", "cyan"), part.summary)
        out.print(row, no_wrap=True, overflow="ellipsis")
        return
    out.print(Text(f"    {part.name}", style="bold cyan"))
    out.print(Padding(Text(part.summary), (0, 0, 0, 8)))
    for option, words in part.options.items():
        out.print(Padding(Text(f"{option}: {words}", style="dim"), (0, 0, 0, 8)))
