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
    Log,
    Overrides,
    Quiet,
    RunFolder,
    Trust,
    Workers,
    as_json,
    err,
    launched,
    line,
    log_override,
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
        bool, typer.Option("--resume", help="Continue the run in the folder where it stopped.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Also write the result to this JSON file, such as `results/uniform/wn18rr.json`."
        ),
    ] = None,
    workers: Workers = 0,
    log: Log = None,
    quiet: Quiet = False,
) -> None:
    """Train the experiment in a file and rank its test facts.

    The folder receives the resolved configuration, checkpoints, a log in JSON lines, all ranks, and
    the result overall and by group.

    A part named MODULE:CLASS is imported, from the working directory where it is not installed.

    **Ctrl-C** saves and exits with code 130. The same command with **--resume** continues, and the
    result is bit for bit that of an uninterrupted run.
    """
    from sparring.distributed.launch import SETTING, check_workers
    from sparring.distributed.world import is_first
    from sparring.experiments import run as runs
    from sparring.experiments.callbacks import progress_callbacks
    from sparring.experiments.commands.ranks import show
    from sparring.experiments.config import read_config
    from sparring.experiments.run_folder import Run
    from sparring.experiments.sharded import run_experiment
    from sparring.files import write_json

    folder = folder or Path("runs") / config.stem
    overrides = [*(overrides or []), *log_override(log)]
    experiment = read_config(config, overrides)
    if workers:
        check_workers([f"{SETTING}={experiment.distributed.virtual_workers}"], workers)
    launched(workers, restarts=3)
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
    bar = None if quiet else err
    callbacks = lambda trainer: progress_callbacks(trainer, bar, config.stem)
    try:
        result = run_experiment(experiment, folder, resume=resume, callbacks=callbacks, console=bar)
    except KeyboardInterrupt:  # the second one while training, or the first one elsewhere
        result = None
    if result is None:
        again = ["sparring", "run", str(config), "--folder", str(folder), "--resume"]
        again += [word for override in overrides for word in ("--set", override)]
        again += ["--record", str(record)] if record else []
        if is_first():
            line(f"stopped; to continue: {shlex.join(again)}", to=err)
        raise typer.Exit(STOPPED)
    if not is_first():
        return
    if record:
        write_json(record, runs.as_record(result, os.path.relpath(config), overrides))
    show(Run(folder).breakdown(), f"{config.stem} on {result['dataset']} ({result['split']})")
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
    trust: Trust = False,
    guide: GuideWeight = 0.0,
    workers: Workers = 0,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Rank the facts of a split, with metrics by group.

    Metrics are filtered, and shown by side, cardinality of the relation, training degree of the
    answer, and relation. Intervals come from a bootstrap over triples.
    """
    launched(workers)
    from sparring.distributed.world import is_first
    from sparring.experiments.commands.ranks import show
    from sparring.experiments.opened import opened
    from sparring.experiments.run import breakdown_of, metrics
    from sparring.experiments.run_folder import Run

    place = Run(run, trust)
    changed = [*(overrides or []), *([f"evaluate.split={split}"] if split else [])]
    config = place.config(changed)
    with opened(place, config) as found:
        ranks = found.ranks(guide)
        if not is_first():
            return
        graph = found.graph
    parts = breakdown_of(ranks, graph, config)
    if json:
        about = {"run": str(run), "dataset": graph.name, "split": config.evaluate.split}
        as_json({**about, **metrics(ranks), **parts.to_dict()})
    else:
        show(parts, f"{run} on {graph.name} ({config.evaluate.split})", relations)
