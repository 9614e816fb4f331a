"""Compare variants of one experiment over the same seeds."""

import dataclasses
import html
import re
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparring.data.graph import KnowledgeGraph
from sparring.data.read import read_triples
from sparring.evaluation.breakdown import paired_difference
from sparring.experiments.assembly import assemble
from sparring.experiments.audit_run import audit_sampler, example_negatives
from sparring.experiments.callbacks import Callback
from sparring.experiments.config import (
    PARTS,
    Config,
    check_config,
    merged,
    read_tables,
    with_current_sections,
)
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import config_changes, run
from sparring.experiments.run_folder import Run, RunError, graph_changes
from sparring.files import locked, remove_drafts, write_object
from sparring.printing import html_table
from sparring.registry import ConfigError, refuse_unknown, validate_type
from sparring.seeds import Seeds
from sparring.training import Trainer

COMPARED = ("mrr", "hits@1", "hits@3", "hits@10", "cpu_seconds")


@dataclass(frozen=True)
class ComparisonPlan:
    """What to train: every variant under every seed.

    Attributes:
        name: the stem of the file.
        seeds: of each variant.
        variants: the configuration of each label, in the order of the file; the first one is
            the baseline.
        extra: file of true triples that are in no split, for the audit; empty for none.
        command: that makes the comparison, where it is not that of an experiment file.
    """

    name: str
    seeds: tuple[int, ...]
    variants: Mapping[str, Config]
    extra: str = ""
    command: str = ""

    def config(self, label: str, seed: int) -> Config:
        """The experiment of one variant and one seed."""
        config = self.variants[label]
        return dataclasses.replace(config, general=dataclasses.replace(config.general, seed=seed))

    @property
    def baseline(self) -> str:
        """The label of the first variant."""
        return next(iter(self.variants))


@dataclass(frozen=True, repr=False)
class Comparison:
    """Finished runs, by variant and in the order of the plan's seeds.

    The folder holds `comparison.json`, which is `numbers()`, and each run in
    `<label>/seed-<n>`, with `audit.json` and `negatives.json` next to the files of every run.
    """

    folder: Path
    graph: KnowledgeGraph
    plan: ComparisonPlan
    runs: Mapping[str, list[Run]]

    def numbers(self) -> dict[str, Any]:
        """Each variant's metrics over seeds, and its difference from the baseline."""
        results = {label: [run.result() for run in runs] for label, runs in self.runs.items()}
        return {
            "name": self.plan.name,
            "dataset": self.graph.name,
            "content_hash": self.graph.content_hash,
            "split": self.plan.variants[self.plan.baseline].evaluate.split,
            "seeds": list(self.plan.seeds),
            "baseline": self.plan.baseline,
            "variants": {
                label: {
                    **{name: found[0][name] for name in ("sampler", "k", "scored_per_query")},
                    **{name: mean_over_seeds([row[name] for row in found]) for name in COMPARED},
                    "difference": None if label == self.plan.baseline else self.difference(label),
                }
                for label, found in results.items()
            },
        }

    def __repr__(self) -> str:
        mrr = {label: mean(found["mrr"]) for label, found in self.numbers()["variants"].items()}
        listed = ", ".join(f"{label}: {value}" for label, value in mrr.items())
        return f"Comparison({self.plan.name} on {self.graph.name}, MRR {listed})"

    def _repr_html_(self) -> str:
        numbers = self.numbers()
        columns, rows = as_rows(numbers)
        below = "".join(f"<p>{html.escape(note)}</p>" for note in notes(numbers))
        return html_table(columns, rows, [True, *[False] * (len(columns) - 1)]) + below

    def difference(self, label: str) -> dict[str, float]:
        """MRR of a variant minus that of the baseline, with its bootstrap interval."""
        ours, theirs = (
            [run.ranks() for run in self.runs[name]] for name in (label, self.plan.baseline)
        )
        return paired_difference(ours, theirs, rng=Seeds(0).fresh("comparison"))._asdict()


def compare(
    plan: ComparisonPlan,
    folder: Path,
    *,
    fresh: bool = False,
    callbacks: Callable[[str, int, Trainer], Sequence[Callback]] = lambda label, seed, trainer: (),
) -> Comparison | None:
    """Train what is not trained yet, seed by seed, and compare.

    Finished runs are kept and unfinished ones resumed.

    Args:
        folder: holds the comparison; see `Comparison`.
        fresh: train again the runs whose configuration or graph has changed.
        callbacks: makes the callbacks of one run from its label, seed and trainer.

    Returns:
        The comparison, also written to `comparison.json`; None if it was stopped early.

    Raises:
        RunError: if the configuration or graph of a run has changed and `fresh` is not set.
        FolderInUseError: if another process is writing to the folder.
    """
    with locked(folder):
        remove_drafts(folder, below=False)  # each run removes its own
        return _compare(plan, folder, fresh, callbacks)


def _compare(
    plan: ComparisonPlan,
    folder: Path,
    fresh: bool,
    callbacks: Callable[[str, int, Trainer], Sequence[Callback]],
) -> Comparison | None:
    """As `compare`, in a folder that is locked."""
    runs = run_folders(plan, folder)
    graph = load_graph(plan.variants[plan.baseline].graph)
    for (label, seed), place in runs.items():
        _check_run_folder(plan.config(label, seed), graph, place, fresh)
    for config in plan.variants.values():
        assemble(config, graph)  # so that errors come before anything is trained
    for (label, seed), place in runs.items():
        config = plan.config(label, seed)
        own = partial(callbacks, label, seed)
        if not place.finished() and not run(
            config, place.folder, graph=graph, resume=True, callbacks=own
        ):
            return None
        _write_audit(config, graph, place, plan.extra)
    by_label = {label: [runs[label, seed] for seed in plan.seeds] for label in plan.variants}
    comparison = Comparison(folder, graph, plan, by_label)
    write_object(folder / "comparison.json", comparison.numbers())
    return comparison


def run_folders(plan: ComparisonPlan, folder: Path) -> dict[tuple[str, int], Run]:
    """The run of each label and seed, in the order of training."""
    return {
        (label, seed): Run(folder / label / f"seed-{seed}")
        for seed in plan.seeds
        for label in plan.variants
    }


def _write_audit(config: Config, graph: KnowledgeGraph, place: Run, extra: str) -> None:
    """Write an audit of a trained run's sampler, and examples of its negatives."""
    if (place.folder / "negatives.json").exists():
        return
    extra_true = read_triples(graph, extra) if extra else None
    with locked(place.folder):
        remove_drafts(place.folder)
        step = place.load_step(config, graph)
        audit = audit_sampler(step, graph, config, model=step.model, extra_true=extra_true)
        write_object(place.folder / "audit.json", audit.to_dict())
        found = example_negatives(step, graph, config, extra_true=extra_true)
        write_object(place.folder / "negatives.json", {"queries": found})


def _check_run_folder(config: Config, graph: KnowledgeGraph, place: Run, fresh: bool) -> None:
    """Check that a folder is empty or holds this run, finished or not."""
    if not (place.folder / "config.json").exists():
        return
    changed = config_changes(config, place) + graph_changes(place.folder, graph)
    if changed and not fresh:
        place.check_config()
        raise RunError(
            f"{place.folder} holds another run, which differs in {', '.join(changed)}; "
            "add --fresh to train it again, or name another folder"
        )
    if changed:
        shutil.rmtree(place.folder)


def as_rows(numbers: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The columns and rows of a table with one row per variant.

    Args:
        numbers: those of `Comparison.numbers`.
    """
    versus = f"vs. {shortened(numbers['baseline'])}"
    columns = ("", "MRR", "H@1", "H@10", versus, "scores", "CPU s")
    rows = []
    for label, found in numbers["variants"].items():
        gap = found["difference"]
        rows.append(
            (
                label,
                mean(found["mrr"]),
                f"{found['hits@1']['mean']:.3f}",
                f"{found['hits@10']['mean']:.3f}",
                f"{gap['low']:+.3f} to {gap['high']:+.3f}" if gap else "",
                f"{found['scored_per_query']:,}",
                f"{found['cpu_seconds']['mean']:.1f}",
            )
        )
    return columns, rows


def notes(numbers: Mapping[str, Any]) -> list[str]:
    """What the columns of this table mean, one sentence per line."""
    spread = "±: standard deviation over seeds; " if len(numbers["seeds"]) > 1 else ""
    lines = [f"{spread}scores: per query, those without a gradient too"]
    if len(numbers["variants"]) > 1:
        lines.append(f"vs. {numbers['baseline']}: 95 % interval of the difference in MRR")
    return lines


def shortened(label: str, most: int = 12) -> str:
    """A label that fits above a column of numbers."""
    return label if len(label) <= most else f"{label[: most - 1].rstrip()}…"


def mean(found: Mapping[str, Any]) -> str:
    """Mean and standard deviation over seeds, such as "0.4123 ± 0.0031"."""
    spread = "" if found["spread"] is None else f" ± {found['spread']:.4f}"
    return f"{found['mean']:.4f}{spread}"


def mean_over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one value) and the values themselves."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread, "each": list(values)}


def read_comparison(path: Path, overrides: Sequence[str] = ()) -> ComparisonPlan:
    """Read a comparison: an experiment file with a table `compare`.

    `[compare]` holds `seeds`, `extra` (a file of true triples that are in no split, for the
    audit), and a table `variants` of labels. Each variant holds what differs from the rest of the
    file: any part, or `train`. A table that names another part replaces the whole table;
    otherwise tables are merged key by key.

    Raises:
        ConfigError: with file and place, for anything that cannot work.
    """
    tables = read_tables(path, overrides)
    try:
        return check_comparison(path.stem, tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def check_comparison(name: str, tables: Mapping[str, Any]) -> ComparisonPlan:
    """A plan from nested tables; see `read_comparison`."""
    base = with_current_sections({key: tables[key] for key in tables if key != "compare"})
    table = tables.get("compare")
    if not isinstance(table, Mapping):
        raise ConfigError("[compare] is missing: a table with seeds and variants")
    refuse_unknown(table, ["seeds", "variants", "extra"], "compare")
    seeds = validate_type(table.get("seeds", [0]), list[int], "compare.seeds")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"[compare.seeds] lists different seeds, at least one; got {seeds}")
    variants = table.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        raise ConfigError("[compare.variants] needs at least one label with what differs")
    return ComparisonPlan(
        name,
        tuple(seeds),
        {label: _variant(base, label, over) for label, over in variants.items()},
        validate_type(table.get("extra", ""), str, "compare.extra"),
    )


def _variant(base: Mapping[str, Any], label: str, over: Any) -> Config:
    where = f"compare.variants.{label}"
    if not re.fullmatch(r"\w[\w .+-]*", label):
        raise ConfigError(
            f"[{where}] names a folder, so it consists of letters, digits, blanks and _ . + -"
        )
    if not isinstance(over, Mapping):
        raise ConfigError(f"[{where}] is a table; got {over!r}")
    over = with_current_sections(over, where)
    refuse_unknown(over, [*PARTS, "train"], where, "variants do not change")
    try:
        return check_config(merged(base, over))
    except ConfigError as error:
        raise ConfigError(f"[{where}] {error}") from error
