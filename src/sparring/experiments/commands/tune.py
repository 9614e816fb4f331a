"""`sparring tune`: find good settings, with equal budgets for each method."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sparring.experiments.commands.reading import reads_files
from sparring.experiments.console import STOPPED, GraphName, Overrides, Quiet, err, line, table


@reads_files
def tune(
    graph: GraphName,
    methods: Annotated[
        str,
        typer.Option(help="Names in `sparring list samplers`, separated by commas."),
    ] = "generator",
    model: Annotated[
        str | None,
        typer.Option(help="A name in `sparring list models`.", show_default=False),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="A name in `sparring list losses`.", show_default=False),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            min=0,
            help="Processor time of each method, in minutes; 10 if no number of trials is given.",
            show_default=False,
        ),
    ] = 0.0,
    trials: Annotated[
        int, typer.Option(min=0, help="Trials of each method, at most.", show_default=False)
    ] = 0,
    trial_minutes: Annotated[
        float,
        typer.Option(
            min=0,
            help="Processor time of each trial; by default a tenth of --minutes.",
            show_default=False,
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the search and of every training.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the study is kept; by default `runs/<name of GRAPH>-tuned`.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    *,
    read: list[str],
) -> None:
    """Find settings for a graph by validation, and keep the best run.

    Every method gets the same processor time, or as many trials. The first trial has the settings
    of `sparring fit`. Trials that fall behind are pruned. The test facts are ranked at the end, by
    the best run of each method.

    The same command continues after **Ctrl-C** or a kill, and with a greater budget. The best run
    is in `<folder>/best`, for `sparring predict` and all other commands on a run.

    Example: `sparring tune atlas --methods uniform,generator --minutes 5`
    """
    from sparring.experiments.callbacks import progress_callbacks
    from sparring.experiments.config import graph_source
    from sparring.experiments.graphs import load_graph
    from sparring.experiments.trials import Budget
    from sparring.experiments.tune import tune as run_study

    overrides = [*(overrides or []), *read]
    about_graph = [word for word in overrides if word.startswith("graph.")]
    others = tuple(word for word in overrides if word not in about_graph)
    facts = load_graph(graph_source(graph, about_graph))
    folder = folder or Path("runs") / f"{facts.name}-tuned"
    minutes = minutes or (0.0 if trials else 10.0)
    parts = {name: value for name, value in (("model", model), ("loss", loss)) if value}
    bar = None if quiet else err
    try:
        found = run_study(
            facts,
            {name: {"sampler": name, **parts} for name in methods.split(",")},
            folder,
            Budget(minutes, trials, trial_minutes),
            seed=seed,
            overrides=others,
            callbacks=lambda label, trainer: progress_callbacks(trainer, bar, label, keep=False),
        )
    except KeyboardInterrupt:  # the second one while training, or the first one elsewhere
        found = None
    if found is None:
        words = {"minutes": minutes, "trials": trials, "trial-minutes": trial_minutes, **parts}
        again = ["sparring", "tune", graph, "--methods", methods, "--folder", str(folder)]
        again += [
            word for name, value in words.items() if value for word in (f"--{name}", f"{value}")
        ]
        again += ["--seed", str(seed)]
        again += [word for override in overrides for word in ("--set", override)]
        line(f"stopped; to continue: {shlex.join(again)}", to=err)
        raise typer.Exit(STOPPED)
    show(found.numbers)
    line(f"report: {found.write_report()}")
    line(f"best run: {found.best}")


def show(numbers: Mapping[str, Any]) -> None:
    """Print one row per method, and the best settings."""
    split = next(iter(numbers["methods"].values()))["split"]
    columns = ("", "trials", "CPU s", "validation MRR", f"{split} MRR", "Hits@10")
    rows = [
        (
            name,
            str(len(method["trials"])),
            f"{method['cpu_seconds']:.0f}",
            f"{method['valid_mrr']:.4f}",
            f"{method['mrr']:.4f}",
            f"{method['hits@10']:.3f}",
        )
        for name, method in numbers["methods"].items()
    ]
    table(f"Tuned on {numbers['dataset']}", columns, rows)
    best = numbers["methods"][numbers["best"]]
    settings = ", ".join(f"{path} = {value:.4g}" for path, value in best["settings"].items())
    line(f"best: {numbers['best']} with {settings}")
