"""`sparring data`: list, describe and check graphs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from sparring.experiments.commands.reading import reads_files
from sparring.experiments.console import FAILED, Json, as_json, line, out, table

data = typer.Typer(no_args_is_help=True, help="List, describe and check graphs.")


@data.command("list")
def list_graphs(json: Json = False) -> None:
    """List the graphs that an experiment can name, and where they come from.

    Set the environment variable `SPARRING_DATA` to a folder of graphs to add them. Any other graph
    is given by its path.
    """
    from sparring.experiments.graphs import known_graphs

    known = known_graphs()
    if json:
        as_json(known)
    else:
        table("", ("name", "from"), known.items(), left=2)


@data.command("describe")
@reads_files
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
    *,
    read: list[str],
) -> None:
    """Show sizes, degrees, cardinalities, symmetry and leaks of a graph.

    A test fact leaks if a training fact links its tail to its head (inverse) or its head to its
    tail by another relation (parallel).
    """
    from dataclasses import asdict

    from sparring.data.statistics import describe as summarize
    from sparring.experiments.config import graph_source
    from sparring.experiments.graphs import load_graph

    found = summarize(load_graph(graph_source(source, read)))
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
@reads_files
def check(
    path: Annotated[
        str,
        typer.Argument(
            help="Folder with train, valid and test, or one file of triples.", show_default=False
        ),
    ],
    json: Json = False,
    *,
    read: list[str],
) -> None:
    """Report errors, warnings and notes about the files of a graph.

    The exit code is 1 if there is an error, which means that the graph cannot be read.
    """
    from dataclasses import asdict

    from sparring.data.read import check_folder
    from sparring.experiments.config import graph_source

    diagnostics = check_folder(path, graph_source(path, read))
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    if json:
        as_json([asdict(diagnostic) for diagnostic in diagnostics])
    else:
        colors = {"error": "red", "warning": "yellow", "note": "dim"}
        for diagnostic in diagnostics:
            lead = (f"{diagnostic.severity}: ", colors[diagnostic.severity])
            out.print(Text.assemble(lead, str(diagnostic)), soft_wrap=True)
        line(f"{path}: {errors} errors, {len(diagnostics) - errors} warnings and notes")
    if errors:
        raise typer.Exit(FAILED)


@data.command("partition")
def partition(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder with train, valid and test, or one file of triples: text or Parquet.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the parts go.", show_default=False)],
    workers: Annotated[int, typer.Option(min=1, help="Virtual workers of the runs to come.")] = 64,
    memory: Annotated[str, typer.Option(help="Limit of memory for sorting.")] = "3GB",
    threads: Annotated[int, typer.Option(min=1, help="Threads; more need more memory.")] = 1,
) -> None:
    """Write a graph larger than memory as parts of virtual workers, for `sparring run`.

    Labels become ids by DuckDB under the limit of memory. The folder is a `graph.path` of
    experiments with as many `distributed.virtual_workers`.
    """
    from sparring.distributed.partition import partition as write

    made = write(source, folder, workers=workers, memory=memory, threads=threads)
    line(
        f"{made.num_entities:,} entities, {made.num_relations:,} relations, "
        f"{sum(made.sizes) // 2:,} training facts in {workers} parts in {folder}"
    )


def share(value: float | None) -> str:
    """A percentage; a dash for None."""
    return "-" if value is None else f"{value:.1%}"
