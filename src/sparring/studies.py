"""Studies of one graph in one line: methods compared, and settings tuned on validation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sparring.api import load_graph
from sparring.experiments.callbacks import progress_callbacks
from sparring.experiments.compare import Comparison
from sparring.experiments.compare import compare as compare_variants
from sparring.experiments.methods import plan_comparison
from sparring.experiments.search import NO_RANGES, Range

if TYPE_CHECKING:
    from sparring.experiments.tune import Tuning


def compare(
    graph: Any,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("uniform", "generator"),
    *,
    model: Any = "auto",
    loss: Any = "auto",
    epochs: int | None = None,
    minutes: float | None = None,
    seeds: Sequence[int] = (0, 1),
    folder: str | Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: bool = True,
    **train_options: Any,
) -> Comparison:
    """Train methods on one graph under several seeds, and compare them.

    Finished runs in the folder are kept, so the same call continues after a kill. Each run is in
    `<folder>/<method>/seed-<n>`, for `load`. `sparring.experiments.report.write_report` makes a
    page of the comparison.

    Args:
        graph: a graph, or any source that `load_graph` takes.
        methods: names of samplers; or by any name the parts of each method, such as {"filtered":
            {"sampler": {"name": "uniform-filtered", "k": 32}}}. The first one is the baseline.
        model, loss: of all methods that do not name their own, as for `fit`.
        epochs, minutes: of every run, as for `fit`.
        seeds: of each method.
        folder: of the comparison; `runs/<name of the graph>-compared` by default.
        device: "cpu", "cuda" or another device that PyTorch knows.
        threads: CPU threads; PyTorch's default if None.
        progress: show a progress bar.
        train_options: entries of the table `train`, for all methods.

    Returns:
        the comparison: `numbers()` holds means over seeds and differences from the baseline.

    Raises:
        ConfigError: for an unknown part or option.
        RunError: if the folder holds another comparison.
        KeyboardInterrupt: if training is stopped.
    """
    graph = load_graph(graph)
    folder = Path("runs") / f"{graph.name}-compared" if folder is None else Path(folder)
    limits = {"epochs": epochs, "minutes": None if minutes is None else float(minutes)}
    plan = plan_comparison(
        graph,
        _named(methods),
        folder,
        seeds=seeds,
        shared=_shared(model, loss, device, threads),
        train={**train_options, **{name: n for name, n in limits.items() if n is not None}},
        command=f"sparring.compare(..., folder={str(folder)!r})",
    )
    console = Console(stderr=True) if progress else None
    found = compare_variants(
        plan,
        folder,
        callbacks=lambda label, seed, trainer: progress_callbacks(
            trainer, console, f"{label}, seed {seed}", keep=False
        ),
    )
    if found is None:
        raise KeyboardInterrupt(f"stopped; the same call with folder={str(folder)!r} continues")
    return found


def tune(
    graph: Any,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("generator",),
    *,
    model: Any = "auto",
    loss: Any = "auto",
    minutes: float | None = None,
    trials: int | None = None,
    trial_minutes: float | None = None,
    ranges: Mapping[str, Range] = NO_RANGES,
    seed: int = 0,
    folder: str | Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: bool = True,
    **train_options: Any,
) -> "Tuning":
    """Find settings by validation, with an equal budget for each method, and keep the best run.

    The first trial has the settings of `fit`. Each further one has those that Optuna's TPE
    proposes, and ends early if it falls behind. The test facts are ranked after all trials, by the
    best run of each method. The same call in the same folder continues after a kill, and with a
    greater budget.

    Args:
        graph: a graph, or any source that `load_graph` takes.
        methods: names of samplers; or by any name the parts of each method, such as {"filtered":
            {"sampler": {"name": "uniform-filtered", "k": 32}}}.
        model, loss: of all methods that do not name their own, as for `fit`.
        minutes: of processor time for each method, training and validation; 10 if no number of
            trials is given.
        trials: of each method, at most.
        trial_minutes: of processor time for each trial; a tenth of `minutes` by default.
        ranges: what is tuned besides or otherwise, such as {"loss.margin": Choice((1, 3, 9))}; see
            `sparring.experiments.search`.
        seed: of the search and of every training.
        folder: of the study; `runs/<name of the graph>-tuned` by default.
        device: "cpu", "cuda" or another device that PyTorch knows.
        threads: CPU threads; PyTorch's default if None.
        progress: show a progress bar.
        train_options: entries of the table `train`, for all methods.

    Returns:
        the study: `best` is the run folder for `load`, `trials` a data frame.

    Raises:
        MissingExtraError: if Optuna is not installed.
        ConfigError: for an unknown part or option, or a budget below 0.
        RunError: if the folder holds another study.
        KeyboardInterrupt: if tuning is stopped.
    """
    # imported here: these need the extra `tune`
    from sparring.experiments.trials import Budget
    from sparring.experiments.tune import tune as run_study

    graph = load_graph(graph)
    shared = _shared(model, loss, device, threads)
    folder = Path("runs") / f"{graph.name}-tuned" if folder is None else Path(folder)
    if minutes is None:
        minutes = 0.0 if trials else 10.0
    budget = Budget(float(minutes), trials or 0, float(trial_minutes or 0.0))
    console = Console(stderr=True) if progress else None
    found = run_study(
        graph,
        {name: {**shared, **parts} for name, parts in _named(methods).items()},
        folder,
        budget,
        seed=seed,
        train=train_options,
        ranges=ranges,
        callbacks=lambda label, trainer: progress_callbacks(trainer, console, label, keep=False),
    )
    if found is None:
        raise KeyboardInterrupt(f"stopped; the same call with folder={str(folder)!r} continues")
    return found


def _named(methods: Sequence[str] | Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The parts of each method; those that are named only are samplers."""
    if isinstance(methods, Mapping):
        return {name: dict(parts) for name, parts in methods.items()}
    return {name: {"sampler": name} for name in methods}


def _shared(model: Any, loss: Any, device: str, threads: int | None) -> dict[str, Any]:
    """What is not left at its default."""
    given = {"model": model, "loss": loss, "device": device, "threads": threads}
    default = ("auto", "cpu", None)
    return {name: value for name, value in given.items() if value not in default}
