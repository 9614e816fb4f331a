"""Several samplers side by side: the same experiment, one part changed, over the same seeds."""

import dataclasses
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
from sparring.experiments.audit_run import audited, examples
from sparring.experiments.callbacks import Listener
from sparring.experiments.config import PARTS, Config, check_config, load_graph, merged, read_tables
from sparring.experiments.run import (
    Run,
    RunError,
    assemble,
    differences,
    other_graph,
    run,
    write_json,
)
from sparring.registry import ConfigError, refuse_unknown, validate_type
from sparring.seeds import Seeds
from sparring.training import Trainer

COMPARED = ("mrr", "hits@1", "hits@3", "hits@10", "cpu_seconds")


@dataclass(frozen=True)
class ComparisonPlan:
    """What to train: every variant under every seed.

    Attributes:
        variants: the configuration of each label, in the order of the file; the first one is
            what the others are measured against.
        extra: file of further true triples, for the audit; empty for none.
    """

    name: str
    seeds: tuple[int, ...]
    variants: Mapping[str, Config]
    extra: str = ""

    def config(self, label: str, seed: int) -> Config:
        """The experiment of one variant and one seed."""
        config = self.variants[label]
        return dataclasses.replace(config, general=dataclasses.replace(config.general, seed=seed))

    @property
    def baseline(self) -> str:
        """The label of the first variant."""
        return next(iter(self.variants))


@dataclass(frozen=True)
class Comparison:
    """Finished runs, by variant and in the order of the plan's seeds.

    The folder holds `comparison.json`, which is `numbers()`, and each run in
    `<label>/seed-<n>`, with `audit.json` and `negatives.json` beside what every run leaves.
    """

    folder: Path
    graph: KnowledgeGraph
    plan: ComparisonPlan
    runs: Mapping[str, list[Run]]

    def numbers(self) -> dict[str, Any]:
        """Each variant's measures over seeds, and its distance from the first variant."""
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
                    **{name: over_seeds([row[name] for row in found]) for name in COMPARED},
                    "difference": None if label == self.plan.baseline else self.difference(label),
                }
                for label, found in results.items()
            },
        }

    def difference(self, label: str) -> dict[str, float]:
        """MRR of a variant minus that of the first one, with its bootstrap interval."""
        ours, theirs = (
            [run.ranks() for run in self.runs[name]] for name in (label, self.plan.baseline)
        )
        return paired_difference(ours, theirs, rng=Seeds(0).fresh("comparison"))._asdict()


def compare(
    plan: ComparisonPlan,
    folder: Path,
    *,
    fresh: bool = False,
    listeners: Callable[[str, int, Trainer], Sequence[Listener]] = lambda label, seed, fit: (),
) -> Comparison | None:
    """Train what is not trained yet, seed by seed, and compare.

    Finished runs are kept and unfinished ones resumed.

    Args:
        fresh: train anew the runs whose configuration or graph has changed since.
        listeners: who is told of progress, given label, seed and what trains.

    Returns:
        The comparison, also written to `comparison.json`; None if it was stopped early.

    Raises:
        RunError: if the configuration or graph of a run has changed and `fresh` is not set.
    """
    runs = {
        (label, seed): Run(folder / label / f"seed-{seed}")
        for seed in plan.seeds
        for label in plan.variants
    }
    graph = load_graph(plan.variants[plan.baseline].graph)
    for (label, seed), place in runs.items():
        _settle(plan.config(label, seed), graph, place, fresh)
    for config in plan.variants.values():
        assemble(config, graph)  # refuses what cannot work before anything is trained
    for (label, seed), place in runs.items():
        config = plan.config(label, seed)
        told = partial(listeners, label, seed)
        if not place.finished() and not run(
            config, place.folder, graph=graph, resume=True, listeners=told
        ):
            return None
        _look(config, graph, place, plan.extra)
    by_label = {label: [runs[label, seed] for seed in plan.seeds] for label in plan.variants}
    comparison = Comparison(folder, graph, plan, by_label)
    write_json(folder / "comparison.json", comparison.numbers())
    return comparison


def _look(config: Config, graph: KnowledgeGraph, place: Run, extra: str) -> None:
    """Leave an audit and examples of what the trained run's sampler offers."""
    if (place.folder / "negatives.json").exists():
        return
    extra_true = read_triples(graph, extra) if extra else None
    step = place.trained(config, graph)
    found = audited(step, graph, config, model=step.model, extra_true=extra_true)
    write_json(place.folder / "audit.json", found.to_dict())
    shown = examples(step, graph, config, extra_true=extra_true)
    write_json(place.folder / "negatives.json", shown)


def _settle(config: Config, graph: KnowledgeGraph, place: Run, fresh: bool) -> None:
    """Make sure that a folder holds this very run, a part of it, or none."""
    if not (place.folder / "config.json").exists():
        return
    changed = differences(config, place) + other_graph(place.folder, graph)
    if changed and not fresh:
        raise RunError(
            f"{place.folder} holds another run, which differs in {', '.join(changed)}; "
            "add --fresh to train it anew, or name another folder"
        )
    if changed:
        shutil.rmtree(place.folder)


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one value) and the values themselves."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread, "each": list(values)}


def read_comparison(path: Path, overrides: Sequence[str] = ()) -> ComparisonPlan:
    """Read a comparison: an experiment file with a table `compare`.

    `[compare]` holds `seeds`, `extra` (a file of true triples that are in no split, for the
    audit), and a table `variants` of labels. Each variant holds what differs
    from the rest of the file: any part, or `train`. A table that names another part replaces
    the whole table; otherwise tables are merged key by key.

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
    base = {key: value for key, value in tables.items() if key != "compare"}
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
    refuse_unknown(over, [*PARTS, "train"], where, "variants do not change")
    try:
        return check_config(merged(base, over))
    except ConfigError as error:
        raise ConfigError(f"[{where}] {error}") from error
