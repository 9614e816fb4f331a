"""One training from Python objects or a few words: what was asked for becomes an experiment."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from torch import nn

from sparring.data.diagnostics import GraphError
from sparring.data.graph import KnowledgeGraph
from sparring.experiments.assembly import build_part
from sparring.experiments.callbacks import progress_callbacks
from sparring.experiments.config import (
    OBJECT,
    PARTS,
    check_config,
    merged,
    override_value,
    resolve_part,
)
from sparring.experiments.recipe import choose_recipe, still_rising
from sparring.experiments.run_folder import GRAPH, Run
from sparring.experiments.sharded import run_experiment
from sparring.registry import ConfigError, validate_type

AUTO = "auto"
CALLER = 4  # of warnings: who called `fit`, above `fitted` and `train_plan`


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    Attributes:
        tables: as in an experiment file, without the graph.
        objects: parts that were given as objects, by table.
        reasons: one sentence for each choice that was left open, by table.
        warnings: about the graph.
    """

    tables: dict[str, Any]
    objects: dict[str, nn.Module] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def explain(self, console: Console) -> None:
        """Print what was chosen, and why."""
        for name, reason in self.reasons.items():
            console.print(Text.assemble((f"{name}: ", "bold"), reason), soft_wrap=True)
        for name, part in self.objects.items():
            text = f"a {type(part).__name__} of yours; no file can hold it, so pass it to load too"
            console.print(Text.assemble((f"{name}: ", "bold"), text), soft_wrap=True)


def plan(
    graph: KnowledgeGraph,
    given: Mapping[str, Any],
    *,
    train: Mapping[str, Any],
    overrides: Sequence[str] = (),
) -> Plan:
    """Fill in what is not given with what suits the graph.

    Args:
        given: parts by table: a name, a table, a class, an object, or "auto"; and `seed`, `device`,
            `threads`, `start`.
        train: entries of the table `train`.
        overrides: `path=value` as on the command line.

    Raises:
        ConfigError: for a part that is none of these.
    """
    recipe = choose_recipe(graph, *_limits(train, overrides))
    tables: dict[str, Any] = dict(recipe.tables)
    objects: dict[str, nn.Module] = {}
    left_open = lambda name: given.get(name, AUTO) in (AUTO, recipe.tables[name].get("name"))
    open_parts = {name for name in recipe.reasons if left_open(name)}
    open_parts -= {"train"} if "epochs" in train else set()
    for name, part in given.items():
        if part == AUTO:
            continue
        if name in PARTS and isinstance(part, nn.Module):
            objects[name] = _checked(name, part)
            tables[name] = {"name": OBJECT, "class": _path(type(part))}
        else:
            tables = merged(tables, {name: _as_table(name, part) if name in PARTS else part})
    tables = merged(tables, {"train": dict(train)})
    for override in overrides:
        override_value(tables, override)
        open_parts.discard(override.partition(".")[0])
    tables = _with_k(tables, recipe.tables["sampler"]["k"])
    if "loss" in open_parts and "sampler" not in open_parts:
        tables["loss"] = _loss_for(tables, objects, graph)
        open_parts.discard("loss")
    return Plan(
        tables,
        objects,
        {name: recipe.reasons[name] for name in recipe.reasons if name in open_parts},
        recipe.warnings,
    )


def train_plan(
    wanted: Plan,
    graph: KnowledgeGraph,
    folder: Path,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> Run | None:
    """Train a plan in a folder, which receives its graph too.

    Args:
        folder: of the run.
        resume: continue the run in the folder.
        console: where a progress bar is shown, if anywhere.

    Returns:
        The finished run; None if training was stopped early.

    Raises:
        GraphError: if there are no facts to rank.
    """
    for warning in wanted.warnings:
        warnings.warn(warning, stacklevel=CALLER)
    result = run_experiment(
        check_config(run_tables(wanted.tables, graph, folder)),
        folder,
        graph=graph,
        resume=resume,
        objects=wanted.objects,
        callbacks=lambda trainer: progress_callbacks(trainer, console, graph.name),
        console=console,
    )
    if result is None:
        return None
    done = Run(folder, trust=True)
    if warning := still_rising([row["mrr"] for row in done.log() if row["kind"] == "validation"]):
        warnings.warn(warning, stacklevel=CALLER)
    return done


def run_tables(tables: Mapping[str, Any], graph: KnowledgeGraph, folder: Path) -> dict[str, Any]:
    """The tables of a run that keeps its graph in its folder and ranks its test facts.

    Raises:
        GraphError: if there are no facts to rank.
    """
    if not len(graph.test) + len(graph.valid):
        raise GraphError(
            f"{graph.name} has no test or valid facts to rank; hold some out, as "
            "load_graph(..., split=(0.05, 0.05)) does for triples without splits"
        )
    source = {"name": graph.name, "path": str(folder / GRAPH), "hold_out": graph.hold_out}
    split = "test" if len(graph.test) else "valid"
    return merged({"evaluate": {"split": split}}, {**tables, "graph": source})


def _limits(train: Mapping[str, Any], overrides: Sequence[str]) -> tuple[float, int | None]:
    """Minutes (0 for none given) and epochs, which decide what suits the graph."""
    tables: dict[str, Any] = {"train": dict(train)}
    for override in overrides:
        override_value(tables, override)
    found = tables["train"]
    minutes = validate_type(found.get("minutes", 0.0), float, "train.minutes")
    epochs = found.get("epochs")
    return minutes, None if epochs is None else validate_type(epochs, int, "train.epochs")


def _as_table(name: str, part: Any) -> dict[str, Any]:
    """The table of a part that is given by name, by class or as a table."""
    table = dict(part) if isinstance(part, Mapping) else {"name": part}
    if isinstance(table.get("name"), type):
        table["name"] = _name_of(name, table["name"])
    if not isinstance(table.get("name", ""), str):
        kind = PARTS[name][0].kind
        raise ConfigError(
            f"[{name}] is a name, a table, a class or an object of a {kind}; got {part!r}"
        )
    return table


def _name_of(name: str, part: type) -> str:
    """The name under which a class is registered, else where it can be imported from."""
    registered = PARTS[name][0].items()
    return next((known for known, maker in registered if maker is part), _path(part))


def _path(part: type) -> str:
    return f"{part.__module__}:{part.__qualname__}"


def _checked(name: str, part: nn.Module) -> nn.Module:
    base = PARTS[name][0].base
    if base is None or not isinstance(part, base):
        kind = PARTS[name][0].kind
        raise ConfigError(f"[{name}] a {type(part).__name__} is no {kind}")
    return part


def _with_k(tables: dict[str, Any], k: int) -> dict[str, Any]:
    """The tables with a number of negatives for a sampler that needs one and has none."""
    try:
        resolve_part("sampler", tables["sampler"])
    except ConfigError:
        more = {**tables, "sampler": {**tables["sampler"], "k": k}}
        try:
            resolve_part("sampler", more["sampler"])
        except ConfigError:
            return tables  # the message about what was given is the better one
        return more
    return tables


def _loss_for(
    tables: Mapping[str, Any], objects: Mapping[str, nn.Module], graph: KnowledgeGraph
) -> dict[str, Any]:
    """Sampled softmax with all the correction that the sampler's densities allow."""
    table = resolve_part("sampler", tables["sampler"])
    known = build_part("sampler", table, graph.training, objects).capabilities
    both = known.has_log_q and known.has_answer_log_q
    correction = "both" if both else "negatives" if known.has_log_q else "none"
    return {"name": "sampled-softmax", "correction": correction}
