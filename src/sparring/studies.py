"""Studies of one graph in one line: settings tuned on validation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sparring.api import load_graph
from sparring.experiments.callbacks import progress_callbacks
from sparring.experiments.search import NO_RANGES, Range

if TYPE_CHECKING:
    from sparring.experiments.tune import Tuning


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
    shared = {"model": model, "loss": loss, "device": device, "threads": threads}
    default = ("auto", "cpu", None)
    shared = {name: value for name, value in shared.items() if value not in default}
    named = methods if isinstance(methods, Mapping) else {m: {"sampler": m} for m in methods}
    folder = Path("runs") / f"{graph.name}-tuned" if folder is None else Path(folder)
    if minutes is None:
        minutes = 0.0 if trials else 10.0
    budget = Budget(float(minutes), trials or 0, float(trial_minutes or 0.0))
    console = Console(stderr=True) if progress else None
    found = run_study(
        graph,
        {name: {**shared, **parts} for name, parts in named.items()},
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
