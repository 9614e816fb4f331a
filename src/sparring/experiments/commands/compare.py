"""`sparring compare`: train variants of one experiment and write a report."""

import math
import shlex
import statistics
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparring.experiments.commands.fit import example_query
from sparring.experiments.console import (
    STOPPED,
    Log,
    Overrides,
    Quiet,
    err,
    line,
    log_override,
    table,
)

if TYPE_CHECKING:
    from sparring.experiments.compare import ComparisonPlan


def compare(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG|GRAPH",
            help="Experiment file (.toml) with a table `compare`, or a graph, as for `sparring "
            "fit`; by default ten samplers on the graph that comes with sparring, in about two "
            "minutes.",
            show_default=False,
        ),
    ] = None,
    samplers: Annotated[
        str, typer.Option(help="What to compare on a GRAPH: names, separated by commas.")
    ] = "uniform,generator",
    seeds: Annotated[int, typer.Option(min=1, help="How many, on a GRAPH.")] = 2,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the runs and the report are kept; by default `runs/<name of CONFIG>`, or "
            "`runs/<name of GRAPH>-compared`.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Train again the runs whose configuration or graph changed."),
    ] = False,
    log: Log = None,
    quiet: Quiet = False,
) -> None:
    """Train variants of one experiment, or samplers on a graph, and write a report.

    Each is trained under several seeds. `[compare]` in the experiment file lists `seeds`, and under
    `variants` what differs for each label, such as `[compare.variants.bernoulli]` with
    `corruption.name = "bernoulli"`. The first variant is the baseline.

    The report is one HTML page that needs no network. Finished runs are kept, so the same command
    continues after **Ctrl-C**, which saves and exits with code 130.
    """
    from sparring.experiments.callbacks import progress_callbacks
    from sparring.experiments.compare import compare as train_all
    from sparring.experiments.compare import read_comparison
    from sparring.experiments.report import write_report

    overrides = [*(overrides or []), *log_override(log)]
    again = ["sparring", "compare", *([str(config)] if config else [])]
    if config is None or config.suffix == ".toml":
        path = config or Path(str(files("sparring.experiments") / "atlas.toml"))
        plan = read_comparison(path, overrides)
        folder = folder or Path("runs") / (plan.name if config else f"{plan.name}-samplers")
    else:
        again += ["--samplers", samplers, "--seeds", str(seeds)]
        plan, folder = plan_on_graph(str(config), samplers, seeds, folder, overrides, again)
    count = RunCount(plan, folder)

    def callbacks(label: str, seed: int, trainer: Any) -> Sequence[Any]:
        if quiet:
            return progress_callbacks(trainer, None, label)
        line(count.announce(label, seed), to=err)
        return progress_callbacks(trainer, err, f"{label}, seed {seed}", keep=False)

    try:
        comparison = train_all(plan, folder, fresh=fresh, callbacks=callbacks)
    except KeyboardInterrupt:  # the second one while training, or the first one elsewhere
        comparison = None
    if comparison is None:
        again += ["--folder", str(folder)]
        again += [word for override in overrides for word in ("--set", override)]
        line(f"stopped; to continue: {shlex.join(again)}", to=err)
        raise typer.Exit(STOPPED)
    report = folder / "report.html"
    write_report(comparison, report)
    numbers = comparison.numbers()
    show(numbers)
    best = max(numbers["variants"], key=lambda label: numbers["variants"][label]["mrr"]["mean"])
    query = example_query(comparison.graph)
    run = comparison.runs[best][0].folder
    line("next:")
    line(f"  {shlex.join(['sparring', 'predict', str(run), *query])}")
    line(f"  {shlex.join(['sparring', 'serve', str(run)])}    # ask and correct it in a browser")
    line("  sparring fit GRAPH    # your own: a folder or a file of triples")
    line(f"report, to open in a browser: {report}")


def plan_on_graph(
    graph: str,
    samplers: str,
    seeds: int,
    folder: Path | None,
    overrides: Sequence[str],
    command: Sequence[str],
) -> tuple["ComparisonPlan", Path]:
    """What to train for samplers on a graph, and where."""
    from sparring.experiments.config import graph_source
    from sparring.experiments.graphs import load_graph
    from sparring.experiments.methods import plan_comparison

    about_graph = [word for word in overrides if word.startswith("graph.")]
    others = [word for word in overrides if word not in about_graph]
    facts = load_graph(graph_source(graph, about_graph))
    folder = folder or Path("runs") / f"{facts.name}-compared"
    words = [*command, *(word for override in overrides for word in ("--set", override))]
    plan = plan_comparison(
        facts,
        {name: {"sampler": name} for name in samplers.split(",")},
        folder,
        seeds=range(seeds),
        shared={},
        train={},
        overrides=others,
        command=shlex.join(words),
    )
    return plan, folder


class RunCount:
    """Which run of a comparison begins, and about how long all others will take.

    Args:
        folder: of the comparison; its finished runs are not trained again.
    """

    def __init__(self, plan: "ComparisonPlan", folder: Path) -> None:
        from sparring.experiments.compare import run_folders

        places = run_folders(plan, folder)
        self.runs = list(places)
        self.left = [run for run in self.runs if not places[run].finished()]
        self.seconds: dict[str, float] = {}
        self.begun: tuple[str, float] | None = None

    def announce(self, label: str, seed: int) -> str:
        """A line that says so, when a run begins."""
        now = time.monotonic()
        if self.begun is not None:
            self.seconds[self.begun[0]] = now - self.begun[1]
        self.begun = label, now
        self.left = self.left[self.left.index((label, seed)) :]
        place = self.runs.index((label, seed)) + 1
        return f"run {place} of {len(self.runs)}: {label}, seed {seed}{self._time_left()}"

    def _time_left(self) -> str:
        """By the time of the same variant under another seed, else the mean over variants."""
        if not self.seconds:
            return ""
        mean = statistics.fmean(self.seconds.values())
        left = math.fsum(self.seconds.get(label, mean) for label, _ in self.left)
        return f"; about {in_words(left)} left in all"


def in_words(seconds: float) -> str:
    """A time with one unit, such as "3 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show(numbers: dict) -> None:
    """Print one row per variant, and what the columns mean."""
    from sparring.experiments.compare import as_rows, notes

    seeds = len(numbers["seeds"])
    title = f"{numbers['dataset']} ({numbers['split']}), {seeds} seed{'s' * (seeds > 1)}"
    table(title, *as_rows(numbers))
    for note in notes(numbers):
        line(note)
