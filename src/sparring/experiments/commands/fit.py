"""`sparring fit`: train a model on a graph without an experiment file."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparring.experiments.commands.reading import reads_files
from sparring.experiments.console import (
    STOPPED,
    GraphName,
    Log,
    Overrides,
    Quiet,
    err,
    launched,
    line,
    log_override,
)

if TYPE_CHECKING:
    from sparring.data.graph import KnowledgeGraph

PARTS, TRAINING = "Parts", "Training"  # panels of options


@reads_files
def fit(
    graph: GraphName,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A name in `sparring list models`.",
            show_default=False,
            rich_help_panel=PARTS,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A name in `sparring list samplers`.",
            show_default=False,
            rich_help_panel=PARTS,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A name in `sparring list losses`.",
            show_default=False,
            rich_help_panel=PARTS,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Passes over the training facts, at most.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Processor time for training and validation, at most; the best epoch is kept.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(metavar="NUMBER", help="Seed of all random draws.", rich_help_panel=TRAINING),
    ] = 0,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Start from the vectors of this run, by name of entity and relation.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    reviewed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Learn from the decisions in this database of `sparring serve`.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the run is kept; by default `runs/<name of GRAPH>`.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Processes on this machine that share tables and queries; 0 trains in this one.",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    overrides: Overrides = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in the folder where it stopped.",
        ),
    ] = False,
    log: Log = None,
    quiet: Quiet = False,
    *,
    read: list[str],
) -> None:
    """Train a model on a graph, with settings that suit it.

    Its test facts are ranked at the end. The folder receives everything that the model needs, the
    graph too: it can be moved, and the files of the graph may change. **Ctrl-C** saves; the same
    command with **--resume** continues.

    Example: `sparring fit atlas --epochs 10`
    """
    from sparring.distributed.launch import check_workers, with_virtual_workers

    if workers:
        check_workers(overrides or [], workers)
    launched(workers, restarts=3)
    from sparring.data import store
    from sparring.distributed.world import is_first, is_launched
    from sparring.experiments.commands.ranks import show
    from sparring.experiments.config import graph_source
    from sparring.experiments.fit import plan, train_plan
    from sparring.experiments.graphs import load_graph
    from sparring.experiments.reviewed import with_reviews
    from sparring.experiments.run_folder import GRAPH

    overrides = [*(overrides or []), *read, *log_override(log)]
    overrides = with_virtual_workers(overrides) if is_launched() else overrides
    quiet = quiet or not is_first()
    given = {"model": model, "sampler": sampler, "loss": loss, "seed": seed, "start": start}
    given = {name: value for name, value in given.items() if value is not None}
    about_graph = [word for word in overrides if word.startswith("graph.")]
    others = [word for word in overrides if word not in about_graph]
    kept = folder / GRAPH if resume and folder else None
    facts = (
        store.load(kept)
        if kept and store.exists(kept)
        else load_graph(graph_source(graph, about_graph))
    )
    if reviewed and not (kept and store.exists(kept)):
        found = with_reviews(facts, reviewed)
        facts = found.graph
        line(str(found), to=err)
    if start:
        given["start"] = str(start)
    limits = {"epochs": epochs, "minutes": minutes}
    train = {name: value for name, value in limits.items() if value is not None}
    wanted = plan(facts, given, train=train, overrides=others)
    folder = folder or Path("runs") / facts.name
    if not quiet:
        wanted.explain(err)
    try:
        run = train_plan(wanted, facts, folder, resume=resume, console=None if quiet else err)
    except KeyboardInterrupt:  # the second one while training, or the first one elsewhere
        run = None
    if run is None:
        words = {"model": model, "sampler": sampler, "loss": loss, **limits, "start": start}
        words["reviewed"] = reviewed
        again = ["sparring", "fit", graph, "--folder", str(folder), "--seed", str(seed), "--resume"]
        again += [w for n, v in words.items() if v is not None for w in (f"--{n}", str(v))]
        again += [word for override in overrides for word in ("--set", override)]
        if is_first():
            line(f"stopped; to continue: {shlex.join(again)}", to=err)
        raise typer.Exit(STOPPED)
    if not is_first():
        return
    result = run.result()
    show(run.breakdown(), f"{facts.name} ({result['split']})")
    line(f"best epoch {result['best_epoch']}, {result['cpu_seconds']} CPU seconds, in {folder}")
    line("next:")
    line(f"  {shlex.join(['sparring', 'predict', str(folder), *example_query(facts)])}")
    line(f"  {shlex.join(['sparring', 'audit', str(folder)])}")
    line(f"  {shlex.join(['sparring', 'serve', str(folder)])}")


def example_query(graph: "KnowledgeGraph") -> list[str]:
    """Words for `sparring predict`: head and relation of a training fact."""
    head, relation, _ = graph.train[len(graph.train) // 2].tolist()
    return ["--head", graph.entities[head], "--relation", graph.relations[relation]]
