"""`sparring compare`: train variants of one experiment and write a report."""

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from sparring.experiments.console import STOPPED, Overrides, Quiet, err, line, table


def compare(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="Experiment file with a table `compare`; by default ten samplers on the graph "
            "that comes with sparring, in about five minutes.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the runs and the report are kept; by default `runs/<name of CONFIG>`.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Train again the runs whose configuration or graph changed."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train the variants of one experiment over several seeds and write a report.

    `[compare]` in the experiment file lists `seeds`, and under `variants` what differs for each
    label, such as `[compare.variants.bernoulli]` with `corruption.name = "bernoulli"`. The first
    variant is the baseline.

    The report is one HTML page that needs no network. Finished runs are kept, so the same command
    continues after **Ctrl-C**, which saves and exits with code 130.
    """
    from sparring.experiments.callbacks import progress_callbacks
    from sparring.experiments.compare import compare as train_all
    from sparring.experiments.compare import read_comparison
    from sparring.experiments.report import write_report

    path = config or Path(str(files("sparring.experiments") / "atlas.toml"))
    plan = read_comparison(path, overrides or [])
    folder = folder or Path("runs") / plan.name
    bar = None if quiet else err
    callbacks = lambda label, seed, trainer: progress_callbacks(
        trainer, bar, f"{label}, seed {seed}"
    )
    try:
        comparison = train_all(plan, folder, fresh=fresh, callbacks=callbacks)
    except KeyboardInterrupt:  # the second one while training, or the first one elsewhere
        comparison = None
    if comparison is None:
        again = ["sparring", "compare", *([str(config)] if config else []), "--folder", str(folder)]
        again += [word for override in overrides or [] for word in ("--set", override)]
        line(f"stopped; to continue: {shlex.join(again)}", to=err)
        raise typer.Exit(STOPPED)
    report = folder / "report.html"
    write_report(comparison, report)
    show(comparison.numbers())
    line(f"report: {report}")


def show(numbers: dict) -> None:
    """Print one row per variant."""
    seeds = len(numbers["seeds"])
    columns = ("", "MRR", "H@1", "H@10", f"MRR - {numbers['baseline']}", "scored", "CPU s")
    rows = []
    for label, found in numbers["variants"].items():
        gap = found["difference"]
        rows.append(
            (
                label,
                mean(found["mrr"], 4),
                mean(found["hits@1"], 3),
                mean(found["hits@10"], 3),
                f"{gap['difference']:+.4f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
                if gap
                else "",
                f"{found['scored_per_query']:,}",
                f"{found['cpu_seconds']['mean']:.1f}",
            )
        )
    table(f"{numbers['dataset']} ({numbers['split']}), {seeds} seeds", columns, rows)


def mean(found: dict, digits: int) -> str:
    """Mean and standard deviation over seeds, such as "0.412 ± 0.003"."""
    spread = "" if found["spread"] is None else f" ± {found['spread']:.{digits - 1}f}"
    return f"{found['mean']:.{digits}f}{spread}"
