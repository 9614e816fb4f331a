"""`sparring init`: write an experiment file for a graph, to be edited."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from sparring.experiments.commands.reading import reads_files
from sparring.experiments.console import GraphName, line
from sparring.printing import printable


@reads_files
def init(
    graph: GraphName,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="The file; by default `<name of GRAPH>.toml`.", show_default=False
        ),
    ] = None,
    *,
    read: list[str],
) -> None:
    """Write a commented experiment file for a graph.

    Example: `sparring init atlas`, then edit `atlas.toml`, then `sparring run atlas.toml`
    """
    from sparring.experiments.config import graph_source
    from sparring.experiments.graphs import load_graph
    from sparring.experiments.recipe import choose_recipe

    source = graph_source(graph, read)
    facts = load_graph(source)
    path = file or Path(f"{facts.name}.toml")
    recipe = choose_recipe(facts)
    lines = [
        f"# An experiment on {printable(facts.name)}: {len(facts.entities):,} entities, "
        f"{len(facts.relations):,} relations, {len(facts.train):,} training facts.",
        f"# `sparring run {path}` trains it. `sparring list` shows all parts and their options.",
        "",
        "seed = 0",
        "",
        *table("graph", changed(source)),
    ]
    for name, options in recipe.tables.items():
        lines += [f"# {recipe.reasons[name]}", *table(name, options)]
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write("\n".join(lines).rstrip() + "\n")
    except FileExistsError:
        raise ValueError(f"{path} exists already; name another file") from None
    line(f"wrote {path}; next: sparring run {path}")


def changed(options: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    given = {field.name: (getattr(options, field.name), field.default) for field in fields(options)}
    return {name: value for name, (value, default) in given.items() if value != default}


def table(name: str, options: dict[str, Any]) -> list[str]:
    """The lines of a table in TOML; strings, numbers and truth values are written as in JSON."""
    entries = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in options.items())
    return [f"[{name}]", *entries, ""]
