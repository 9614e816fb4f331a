"""A comparison of methods on one graph, without an experiment file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring.data import store
from sparring.data.graph import KnowledgeGraph
from sparring.experiments.compare import ComparisonPlan, check_comparison
from sparring.experiments.config import PARTS
from sparring.experiments.fit import plan, run_tables
from sparring.experiments.run_folder import GRAPH
from sparring.registry import ConfigError


def plan_comparison(
    graph: KnowledgeGraph,
    methods: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    seeds: Sequence[int],
    shared: Mapping[str, Any],
    train: Mapping[str, Any],
    overrides: Sequence[str] = (),
    command: str = "",
) -> ComparisonPlan:
    """What to train for a comparison; the graph is stored in the folder.

    Args:
        methods: the parts of each variant, by label; the first one is the baseline.
        seeds: of each variant.
        shared: parts of all variants that do not name their own, `device` and `threads`.
        train, overrides: of all variants, as for `fit.plan`.
        command: makes the same comparison.

    Raises:
        ConfigError: for an unknown part or option, or a part given as an object.
    """
    if not methods:
        raise ConfigError("there is nothing to compare; name one sampler or more")
    tables: dict[str, dict[str, Any]] = {}
    for label, parts in methods.items():
        wanted = plan(graph, {**shared, **parts}, train=train, overrides=overrides)
        if wanted.objects:
            raise ConfigError(
                f"[{next(iter(wanted.objects))}] is an object, which every seed would train on; "
                "give a name, a table or a class"
            )
        tables[label] = wanted.tables
    store.save(graph, folder / GRAPH)
    base = run_tables(next(iter(tables.values())), graph, folder)
    own = (*PARTS, "train")
    variants = {
        label: {name: value for name, value in one.items() if name in own}
        for label, one in tables.items()
    }
    compared = {"seeds": list(seeds), "variants": variants}
    found = check_comparison(graph.name, {**base, "compare": compared})
    return ComparisonPlan(found.name, found.seeds, found.variants, found.extra, command)
