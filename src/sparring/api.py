"""The front door: a graph in, a trained model out, and back from its folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from torch import nn

from sparring.data.diagnostics import GraphError
from sparring.data.frames import graph_from_frames
from sparring.data.graph import KnowledgeGraph
from sparring.data.split import SplitRule
from sparring.data.validation import Unseen
from sparring.experiments import graphs
from sparring.experiments.fit import plan
from sparring.experiments.reviewed import with_reviews
from sparring.experiments.run_folder import Run
from sparring.predictor import Predictor, fitted


def load_graph(
    source: Any,
    *,
    split: SplitRule | tuple[float, float] | None = None,
    unseen: Unseen = "keep",
    name: str = "graph",
    columns: Sequence[str | int] | None = None,
    separator: str | None = None,
    header: Literal["auto"] | bool = "auto",
    query: str | None = None,
    **read_options: Any,
) -> KnowledgeGraph:
    """A graph from files, by a known name, or from triples in memory.

    Args:
        source: a folder with train, valid and test, one file of triples, or a database, perhaps as
            "sqlite:///path" or "duckdb:///path"; the name of a graph, as `sparring data list` shows
            them, such as "atlas"; a Polars or pandas frame with the columns head, relation and
            tail, or just three columns; an iterable of (head, relation, tail); a dict of such
            triples by split, {"train": ..., "valid": ..., "test": ...}; or a graph, which is
            returned as it is.
        split: shares of valid and test, held out at random where the source has no splits; 0.05
            each by default.
        unseen: what to do with triples of valid and test whose names are not in train: "keep",
            "drop" or "error".
        name: of a graph from memory.
        columns: of head, relation and tail in a file: three names, or three positions from 1.
        separator: between the fields of a text file.
        header: whether text files begin with a line of names; by default, known names are found.
        query: a SELECT statement, for a database.
        read_options: further fields of `sparring.data.ReadOptions`, such as `extra_columns`,
            `quoting`, `on_defect` and `type_facts`.

    Raises:
        GraphError: for what cannot be read, with the place and a hint.
        ValueError: for options that make no sense.
    """
    given = {"separator": separator, "query": query, **read_options}
    given |= {"columns": None if columns is None else list(columns)}
    given = {key: value for key, value in given.items() if value is not None}
    given |= {} if header == "auto" else {"header": header}
    if isinstance(source, KnowledgeGraph):
        return source
    rule = SplitRule(*split) if isinstance(split, tuple) else split
    if isinstance(source, str | Path):
        return _from_place(source, rule, unseen, given)
    if given:
        raise GraphError(f"{', '.join(given)} are for files, but the source is in memory")
    if isinstance(source, Mapping):
        if rule is not None:
            raise GraphError("a dict has splits of its own; leave split out")
        return graph_from_frames(source, unseen=unseen, name=name)
    if not isinstance(source, Iterable) and not hasattr(source, "columns"):
        raise GraphError(f"a {type(source).__name__} is no source of a graph; see help(load_graph)")
    return graph_from_frames({"train": source}, split=rule or SplitRule(), name=name)


def fit(
    graph: Any,
    *,
    model: Any = "auto",
    sampler: Any = "generator",
    loss: Any = "auto",
    corruption: Any = "auto",
    optimizer: Any = None,
    schedule: Any = None,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    progress: bool = True,
    log: Mapping[str, Any] | Sequence[str] | str | None = None,
    start: "Predictor | str | Path | None" = None,
    reviewed: str | Path | None = None,
    **train_options: Any,
) -> Predictor:
    """Train a model on a graph, and rank its test facts.

    A part is given by name ("complex"), as a table with options ({"name": "complex", "dim": 64}),
    as a class, or as an object (`ComplEx(graph.training, dim=64)`). What is left open is chosen to
    suit the graph, and the reasons are printed. A run with a part given as an object cannot be
    loaded or resumed without it, because a file cannot hold it.

    Args:
        graph: a graph, or any source that `load_graph` takes.
        model, sampler, loss, corruption: parts of the training step; see `sparring list`.
        optimizer, schedule: by name or as a table.
        epochs: passes over the training facts, at most.
        minutes: of processor time for training and validation, at most; the best epoch so far is
            kept.
        seed: of all random draws.
        folder: where the run is kept; a temporary folder, deleted with the predictor, if None.
        resume: continue the run in the folder where it was stopped.
        device: "cpu", "cuda" or another device that PyTorch knows.
        threads: CPU threads; PyTorch's default if None.
        log: where the numbers of the training go too: "mlflow", "wandb", "tensorboard", several of
            them, or a table such as {"to": ["mlflow"], "project": "mine"}; by default to
            TensorBoard, if it is installed.
        progress: print what was chosen, and show a progress bar.
        start: a predictor or the folder of a run; entities and relations start from its vectors, by
            name.
        reviewed: a database of `sparring serve`: accepted facts are trained on, rejected ones are
            curated negatives, whose loss has the weight `rejected_weight`.
        train_options: entries of the table `train`, such as `batch_size` or `patience`.

    Returns:
        the predictor, with the parameters of the best epoch.

    Raises:
        ConfigError: for an unknown part or option, or parts that do not go together.
        RunError: if the folder holds a run already.
        KeyboardInterrupt: if training is stopped.
    """
    graph = load_graph(graph)
    console = Console(stderr=True) if progress else None
    if reviewed is not None:
        found = with_reviews(graph, reviewed)
        graph = found.graph
        if console is not None:
            console.print(str(found), soft_wrap=True)
    given = {
        "model": model,
        "sampler": sampler,
        "loss": loss,
        "corruption": corruption,
        "optimizer": optimizer,
        "schedule": schedule,
        "seed": seed,
        "device": device,
        "threads": threads,
        "start": _folder(start),
        "log": _log_table(log),
    }
    limits = {"epochs": epochs, "minutes": None if minutes is None else float(minutes)}
    train = {**train_options, **{name: n for name, n in limits.items() if n is not None}}
    wanted = plan(
        graph, {name: part for name, part in given.items() if part is not None}, train=train
    )
    if console is not None:
        wanted.explain(console)
    return fitted(wanted, graph, folder, resume=resume, console=console, device=device)


def load(
    folder: str | Path, *, device: str = "cpu", trust: bool = False, **objects: nn.Module
) -> Predictor:
    """The predictor of a run in a folder, on any machine, without the files of its graph.

    Args:
        folder: of a run of `fit` or of `sparring run`, or one that `Predictor.save` wrote.
        device: where the model is to be.
        trust: let the folder name classes outside of sparring, as "module:Class", whose code is run
            then. Set it only if you trust whoever made the folder.
        objects: parts that were given to `fit` as objects, by table, such as `model=...`.

    Raises:
        RunError: if the folder is not that of a run.
        UntrustedError: if it names code outside of sparring and is not trusted.
        ConfigError: if a part was given as an object and is missing here.
        CheckpointError, GraphError: if a file is missing or altered; names the file.
    """
    return Predictor(Run(Path(folder), trust), device=device, objects=objects)


def _folder(run: Predictor | str | Path | None) -> str | None:
    """Where a run is."""
    place = run.run.folder if isinstance(run, Predictor) else run
    return None if place is None else str(place)


def _from_place(
    source: str | Path, rule: SplitRule | None, unseen: Unseen, read_options: dict[str, Any]
) -> KnowledgeGraph:
    place = replace(graphs.source_of(str(source)), unseen=unseen, **read_options)
    if place.path and rule is not None and Path(place.path).is_dir():
        raise GraphError(f"{place.path} is a folder, which has splits of its own; leave split out")
    if rule is not None:
        place = replace(place, valid=rule.valid, test=rule.test, split_seed=rule.seed)
    return graphs.load_graph(place)


def _log_table(log: Mapping[str, Any] | Sequence[str] | str | None) -> dict[str, Any] | None:
    """The table `log` of an experiment."""
    if log is None or isinstance(log, Mapping):
        return None if log is None else dict(log)
    return {"to": [log] if isinstance(log, str) else list(log)}
