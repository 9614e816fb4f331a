"""`sparring run` trains and evaluates one experiment; `sparring evaluate` ranks again."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from sparring.experiments.console import (
    STOPPED,
    GuideWeight,
    Json,
    Overrides,
    Quiet,
    RunFolder,
    as_json,
    err,
    line,
)


def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Experiment file, in TOML.", show_default=False)
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the run is kept; by default `runs/<name of CONFIG>`.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in the folder stopped.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Write the result as one JSON record too, such as `results/uniform/wn18rr.json`."
        ),
    ] = None,
    quiet: Quiet = False,
):
    """Train one experiment and rank its test facts.

    The folder receives the resolved configuration, checkpoints, a log in JSON lines and for
    TensorBoard, all ranks, and the result as a whole and in parts.

    **Ctrl-C** saves and leaves with exit code 130; with **--resume** the same command
    goes on, and the result is bit for bit that of an unbroken run.
    """
    from sparring.experiments import run as runs
    from sparring.experiments.callbacks import watchers
    from sparring.experiments.commands.ranks import show
    from sparring.experiments.config import read_config

    folder = folder or Path("runs") / config.stem
    experiment = read_config(config, overrides or [])
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
    bar = None if quiet else err
    listeners = lambda fit: watchers(fit, bar, config.stem)
    try:
        result = runs.run(experiment, folder, resume=resume, listeners=listeners)
    except KeyboardInterrupt:  # the second one while training, or the first one elsewhere
        result = None
    if result is None:
        again = ["sparring", "run", str(config), "--folder", str(folder), "--resume"]
        again += [word for override in overrides or [] for word in ("--set", override)]
        again += ["--record", str(record)] if record else []
        line(f"stopped; to go on: {shlex.join(again)}", to=err)
        raise typer.Exit(STOPPED)
    if record:
        runs.write_json(record, runs.as_record(result, os.path.relpath(config), overrides or []))
    show(runs.Run(folder).parts(), f"{config.stem} on {result['dataset']} ({result['split']})")
    line(f"best epoch {result['best_epoch']}, {result['cpu_seconds']} CPU seconds, in {folder}")


def evaluate(
    run: RunFolder,
    split: Annotated[
        Literal["test", "valid"] | None,
        typer.Option(help="The split to rank; by default the run's own.", show_default=False),
    ] = None,
    relations: Annotated[
        int, typer.Option(min=0, help="How many relations to list, those with most queries first.")
    ] = 10,
    guide: GuideWeight = 0.0,
    overrides: Overrides = None,
    json: Json = False,
):
    """Rank the facts of a split with the best checkpoint of a run.

    Metrics are filtered and shown by side, cardinality of the relation, training degree of the
    answer, and relation. Intervals come from resampled triples.
    """
    from sparring.experiments.commands.ranks import show
    from sparring.experiments.config import load_graph
    from sparring.experiments.run import Run, guided, in_parts, judge, measures

    place = Run(run)
    asked = [*(overrides or []), *([f"evaluate.split={split}"] if split else [])]
    config = place.config(asked)
    graph = load_graph(config.graph)
    ranks = judge(guided(place.trained(config, graph), guide), graph, config)
    parts = in_parts(ranks, graph, config)
    if json:
        about = {"run": str(run), "dataset": graph.name, "split": config.evaluate.split}
        as_json({**about, **measures(ranks), **parts.to_dict()})
    else:
        show(parts, f"{run} on {graph.name} ({config.evaluate.split})", relations)
