"""`sparring data`: which graphs are there, what are they like, and are their files sound?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from sparring.experiments.console import FAILED, Json, as_json, line, out, table

data = typer.Typer(no_args_is_help=True, help="List, describe and check graphs.")


@data.command("list")
def list_graphs(json: Json = False):
    """List the graphs that an experiment can name, and where they come from.

    A folder of graphs is named by the environment variable `SPARRING_DATA`. Any other graph is
    given by its path.
    """
    from sparring.experiments.config import known_graphs

    known = known_graphs()
    if json:
        as_json(known)
    else:
        table("", ("name", "from"), known.items(), left=2)


@data.command("describe")
def describe(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH",
            help="Name of a graph, folder with train, valid and test, or one file of triples.",
            show_default=False,
        ),
    ],
    relations: Annotated[
        int, typer.Option(min=0, help="How many relations to list, the most frequent first.")
    ] = 20,
    json: Json = False,
):
    """Tell sizes, degrees, cardinalities, symmetry and leaks of a graph.

    A test fact leaks if training links its tail to its head (inverse) or its head to its tail
    by another relation (parallel): memory answers it.
    """
    from dataclasses import asdict

    from sparring.data.statistics import describe as summarize
    from sparring.experiments.config import GraphSource, load_graph

    known = GraphSource(path=source) if Path(source).exists() else GraphSource(name=source)
    found = summarize(load_graph(known))
    if json:
        as_json(asdict(found))
        return
    line(f"{found.name}: {found.entities:,} entities, {found.relations:,} relations, ", end="")
    line(f"{found.types:,} entity types")
    table(
        "",
        ("split", "triples", "self-loops", "unseen: entities", "relations", "triples"),
        [
            (name, *(f"{number:,}" for number in vars(split).values()))
            for name, split in found.splits.items()
        ],
    )
    degrees = ", ".join(f"{share:.0%}: {degree:,.0f}" for share, degree in found.degree.items())
    line(f"training facts per entity, by quantile: {degrees}")
    line(f"test facts that leak: {share(found.inverse_leak)} inverse, ", end="")
    line(f"{share(found.parallel_leak)} parallel")
    for note, count in found.notes.items():
        line(f"note: {note}: {count:,}")
    often = sorted(found.relation, key=lambda row: -row.triples["train"])
    table(
        "",
        ("relation", "train", "test", "class", "t per h", "h per t", "symm.", "leak"),
        [
            (
                row.label,
                f"{row.triples['train']:,}",
                f"{row.triples['test']:,}",
                row.cardinality,
                f"{row.tails_per_head:.1f}",
                f"{row.heads_per_tail:.1f}",
                share(row.symmetric),
                share(row.inverse_leak),
            )
            for row in often[:relations]
        ],
    )
    if relations < len(often):
        line(f"and {len(often) - relations} relations with fewer facts; see --relations")


@data.command("check")
def check(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder with train, valid and test, or one file of triples.", show_default=False
        ),
    ],
    json: Json = False,
):
    """Find everything that is wrong or odd with the files of a graph.

    The exit code is 1 if there is an error: something that keeps the graph from being read.
    """
    from dataclasses import asdict

    from sparring.data.read import check_folder

    findings = check_folder(path)
    errors = sum(finding.severity == "error" for finding in findings)
    if json:
        as_json([asdict(finding) for finding in findings])
    else:
        colours = {"error": "red", "warning": "yellow", "note": "dim"}
        for finding in findings:
            lead = (f"{finding.severity}: ", colours[finding.severity])
            out.print(Text.assemble(lead, str(finding)), soft_wrap=True)
        line(f"{path}: {errors} errors, {len(findings) - errors} warnings and notes")
    if errors:
        raise typer.Exit(FAILED)


def share(value: float | None) -> str:
    """A percentage; a dash where there is none."""
    return "-" if value is None else f"{value:.1%}"
