"""Tune methods with equal budgets.

The folder holds `study.json` (what is tuned), `study.db` (the trials, by Optuna), in
`<method>/trial-<n>` the best run of each method, and in `best` that of the best method. Test facts
are ranked once, by the best run of each method, when all trials are done.
"""

import dataclasses
import html
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sparring.data.diagnostics import GraphError
from sparring.data.graph import KnowledgeGraph
from sparring.experiments.config import check_config
from sparring.experiments.fit import plan, run_tables
from sparring.experiments.run_folder import RunError, graph_identity
from sparring.experiments.search import NO_RANGES, Method, Range, method_of
from sparring.experiments.trials import (
    Budget,
    MakeCallbacks,
    MethodTrials,
    optuna,
    sqlalchemy_errors,
)
from sparring.files import DamagedFileError, locked, read_object, remove_drafts, write_object
from sparring.printing import html_table, printable
from sparring.registry import ConfigError

TRIALS = 10  # full ones in a budget of minutes; those that are pruned leave time for more
SHOWN = ("number", "state", "valid_mrr", "cpu_seconds")


@dataclass(frozen=True, repr=False)
class Tuning:
    """A finished study.

    Attributes:
        folder: see the module.
        numbers: as in `tuning.json`: the trials and the best run of each method, and the best
            method by validation MRR.
    """

    folder: Path
    graph: KnowledgeGraph
    numbers: Mapping[str, Any]

    @property
    def best(self) -> Path:
        """The run folder of the best trial, for `sparring.load`."""
        return self.folder / "best"

    @property
    def trials(self) -> pl.DataFrame:
        """One row per trial: method, number, state, validation MRR, CPU seconds and settings."""
        rows = [
            {"method": name, **{key: row[key] for key in SHOWN}, **row["settings"]}
            for name, method in self.numbers["methods"].items()
            for row in method["trials"]
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def write_report(self) -> Path:
        """Write `report.html` into the folder: results and Optuna's figures, without a network.

        Raises:
            MissingExtraError: if Plotly or Jinja2 is not installed.
        """
        # imported here: it needs the extra `report`
        from sparring.experiments.report.tuning import write_tuning_report

        return write_tuning_report(self, self.folder / "report.html")

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                f"{len(method['trials'])}",
                f"{method['cpu_seconds']:.0f}",
                f"{method['valid_mrr']:.4f}",
                f"{method['mrr']:.4f}",
            )
            for name, method in self.numbers["methods"].items()
        ]
        split = next(iter(self.numbers["methods"].values()))["split"]
        columns = ("method", "trials", "CPU s", "valid MRR", f"{split} MRR")
        best = f"The best run, of {self.numbers['best']}, is in {self.best}."
        table = html_table(columns, rows, [True, *[False] * (len(columns) - 1)])
        return f"{table}<p>{html.escape(printable(best))}</p>"

    def __repr__(self) -> str:
        lines = [f"Tuning on {self.numbers['dataset']}, in {self.folder}"]
        for name, method in self.numbers["methods"].items():
            marked = " (best)" if name == self.numbers["best"] else ""
            lines.append(
                f"  {name}: {len(method['trials'])} trials, {method['cpu_seconds']:.0f} CPU s, "
                f"validation MRR {method['valid_mrr']:.4f}, {method['split']} MRR "
                f"{method['mrr']:.4f}{marked}"
            )
        return "\n".join(lines)


def tune(
    graph: KnowledgeGraph,
    methods: Mapping[str, Mapping[str, Any]],
    folder: Path,
    budget: Budget,
    *,
    seed: int = 0,
    train: Mapping[str, Any] | None = None,
    overrides: tuple[str, ...] = (),
    ranges: Mapping[str, Range] = NO_RANGES,
    callbacks: MakeCallbacks = lambda label, trainer: (),
) -> Tuning | None:
    """Tune each method with the same budget, in turns, and rank the test facts by the best runs.

    The trials in the folder are kept, and a greater budget adds to them. A trial that was running
    when the process was killed is marked as failed, and its settings are tried again.

    Args:
        methods: by name, the parts that stay; see `plan`. What is left open is chosen to suit the
            graph, and is where the search begins.
        folder: of the study; see the module.
        budget: of each method. Without `trial_minutes`, a trial may take a tenth of `minutes`.
        seed: of the search and of every training.
        train, overrides: of every method, as for `plan`.
        ranges: what is tuned besides, or otherwise, by path.
        callbacks: makes the callbacks of one trial from its label and trainer.

    Returns:
        The finished study, also written to `tuning.json`; None if it was stopped early.

    Raises:
        GraphError: if there are no validation facts to choose by.
        RunError: if the folder holds another study.
        FolderInUseError: if another process tunes in the folder.
    """
    if not len(graph.valid):
        raise GraphError(
            f"{graph.name} has no validation facts to choose settings by; hold some out, as "
            "load_graph(..., split=(0.05, 0.05)) does for triples without splits"
        )
    wanted = _Wanted(methods, seed, dict(train or {}), overrides, ranges)
    with locked(folder), _readable(folder / "study.db"):
        remove_drafts(folder)
        budget, chosen = _kept(folder, graph, wanted, budget)
        storage = optuna.storages.RDBStorage(f"sqlite:///{(folder / 'study.db').resolve()}")
        studies = {
            name: MethodTrials(name, method, folder / name, graph, budget, seed, storage)
            for name, method in chosen.items()
        }
        while unfinished := [one for one in studies.values() if not one.done()]:
            if not min(unfinished, key=MethodTrials.seconds).run_trial(callbacks):
                return None
        for one in studies.values():
            if not one.rank():
                return None
        found = {name: one.numbers() for name, one in studies.items()}
        numbers = {
            "dataset": graph.name,
            "content_hash": graph.content_hash,
            "entities": len(graph.entities),
            "relations": len(graph.relations),
            "train": len(graph.train),
            "seed": seed,
            "budget": dataclasses.asdict(budget),
            "best": max(found, key=lambda name: found[name]["valid_mrr"]),
            "methods": found,
        }
        _publish(folder / found[numbers["best"]]["folder"], folder / "best")
        write_object(folder / "tuning.json", numbers)
    return Tuning(folder, graph, numbers)


@dataclass(frozen=True)
class _Wanted:
    """What was asked for."""

    methods: Mapping[str, Mapping[str, Any]]
    seed: int
    train: dict[str, Any]
    overrides: tuple[str, ...]
    ranges: Mapping[str, Range]

    def method(self, name: str, graph: KnowledgeGraph, folder: Path, minutes: float) -> Method:
        """A method, with what is left open chosen for the graph and the time of a trial."""
        given = {**self.methods[name], "seed": self.seed}
        train = {**self.train, "minutes": minutes} if minutes else self.train
        chosen = plan(graph, given, train=train, overrides=self.overrides)
        if chosen.objects:
            raise ConfigError(
                f"[{next(iter(chosen.objects))}] is an object, which would go on from trial to "
                "trial; give a name, a table or a class"
            )
        tables = run_tables(chosen.tables, graph, folder)
        return method_of(name, check_config(tables).as_dict(), self.ranges)

    def about(self, name: str) -> dict[str, Any]:
        """What was given for a method, as a file keeps it."""
        ranges = {path: repr(one) for path, one in self.ranges.items()}
        given = {**self.methods[name], "train": self.train, "overrides": self.overrides}
        return json.loads(json.dumps({**given, "ranges": ranges}, default=repr))


def _kept(
    folder: Path, graph: KnowledgeGraph, wanted: _Wanted, budget: Budget
) -> tuple[Budget, dict[str, Method]]:
    """The budget and the methods of the folder's study, to which new methods are added.

    A study keeps the time of its trials and the settings it began with.
    """
    path = folder / "study.json"
    minutes = budget.trial_minutes or budget.minutes / TRIALS
    about = {"graph": graph_identity(graph), "seed": wanted.seed, "trial_minutes": minutes}
    kept = read_object(path) if path.exists() else {**about, "methods": {}}
    if not budget.trial_minutes:
        about["trial_minutes"] = kept["trial_minutes"]
    changed = [f"{key} {kept[key]} -> {about[key]}" for key in about if kept[key] != about[key]]
    methods = dict(kept["methods"])
    for name in wanted.methods:
        if name not in methods:
            method = wanted.method(name, graph, folder, about["trial_minutes"])
            methods[name] = {"given": wanted.about(name), **method.as_dict()}
        elif methods[name]["given"] != wanted.about(name):
            changed.append(f"what was given for {name}")
    if changed:
        raise RunError(
            f"{folder} holds another study, which differs in {', '.join(changed)}; name another "
            "folder"
        )
    write_object(path, {**about, "methods": methods})
    budget = dataclasses.replace(budget, trial_minutes=about["trial_minutes"])
    return budget, {name: Method.from_dict(one) for name, one in methods.items()}


@contextmanager
def _readable(database: Path) -> Iterator[None]:
    """Report in one line that the trials cannot be read or written."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy_errors()) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise DamagedFileError(
            f"{database} cannot be read or written ({reason}); if there is room on the disk, "
            "restore it from a copy, or delete it to tune anew"
        ) from None


def _publish(run: Path, target: Path) -> None:
    """Copy the best run to where it is looked for."""
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(run, draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
