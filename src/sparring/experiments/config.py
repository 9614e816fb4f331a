"""Which graph an experiment is about.

Main models by name, fresh or as a finished run left them.

One TOML file per experiment, checked before anything is built."""

import dataclasses
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

import sparring.generators  # noqa: F401  (registers its parts)
from sparring.corruption import CORRUPTIONS
from sparring.data.datasets import downloads, load_benchmark, load_embedded
from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.data.read import read_graph
from sparring.data.split import SplitRule
from sparring.data.validation import Unseen
from sparring.losses.base import LOSSES
from sparring.models.base import MODELS, KGEModel
from sparring.registry import (
    ConfigError,
    Registry,
    build,
    refuse_unknown,
    resolve,
    validate_type,
    with_current_names,
)
from sparring.samplers.base import SAMPLERS
from sparring.training import OPTIMIZERS, SCHEDULES, FitOptions, checkpoint


@dataclass(frozen=True)
class GraphSource:
    """A graph by name or by path.

    Attributes:
        name: "atlas" for the graph that comes with the package, or a known benchmark.
        path: a folder with train, valid and test, or one file of triples, as seen from the
            working directory; stands before `name`.
        unseen: what to do with triples of valid and test whose names train lacks.
        valid, test: shares split off where `path` is a single file.
        split_seed: seed of that split.
        hold_out: share of the training facts that is not trained on, by which a generator
            calibrates its estimate of what is missing; 0 unless it asks for some.
    """

    name: str = ""
    path: str = ""
    unseen: Unseen = "keep"
    valid: float = 0.05
    test: float = 0.05
    split_seed: int = 0
    hold_out: float = 0.0

    def __post_init__(self):
        if not (self.name or self.path):
            raise ValueError('say which graph: name = "atlas" or path = "folder"')


def load_graph(source: GraphSource) -> KnowledgeGraph:
    """The graph that a source speaks of."""
    return replace(_whole(source), hold_out=source.hold_out)


def _whole(source: GraphSource) -> KnowledgeGraph:
    if source.path:
        rule = SplitRule(valid=source.valid, test=source.test, seed=source.split_seed)
        path = Path(source.path)
        return read_graph(path, unseen=source.unseen, split=rule if path.is_file() else None)
    if source.name == "atlas":
        return load_embedded()
    return load_benchmark(source.name)


def known_graphs() -> dict[str, str]:
    """Where each graph that can be named comes from; SPARRING_DATA stands before the network."""
    root = os.environ.get("SPARRING_DATA")
    folders = (
        {path.name: str(path) for path in Path(root).iterdir() if path.is_dir()} if root else {}
    )
    remote = {name: f"downloaded from {about['repository']}" for name, about in downloads().items()}
    return {"atlas": "comes with sparring", **dict(sorted({**remote, **folders}.items()))}


PRETRAINED = Registry("pretrained")


@PRETRAINED.register("run")
def trained_model(graph: TrainGraph, *, folder: str) -> KGEModel:
    """The model of a finished run, as its best epoch left it; it learns no more.

    Args:
        folder: that of the run, as seen from the working directory.

    Raises:
        ValueError: if there is no finished run, or its training graph was another one.
        CheckpointError: if the checkpoint is missing or altered.
    """
    place = Path(folder)
    if not (place / "result.json").exists():
        raise ValueError(
            f"{folder} is no folder of a finished run: it has no result.json; train the model "
            "first, with `sparring run`"
        )
    about = json.loads((place / "graph.json").read_text())
    if about.get("training_hash") != graph.content_hash:
        raise ValueError(
            f"{folder} was trained on another graph, {about['name']}; train the model on the "
            "graph of this experiment"
        )
    with torch.random.fork_rng():  # what is drawn to initialise it is overwritten
        spec = json.loads((place / "config.json").read_text())["model"]
        model = build(spec, MODELS, "model", graph=graph)
    name = "best" if checkpoint.exists(place, "best") else "last"
    state = checkpoint.load(place, name)["step"]
    lead = "model."
    own = {key.removeprefix(lead): state[key] for key in state if key.startswith(lead)}
    model.load_state_dict(own)
    return model.to(graph.triples.device).eval().requires_grad_(False)


Split = Literal["test", "valid"]


@dataclass(frozen=True)
class EvaluateOptions:
    """How the trained model is judged.

    Attributes:
        max_scores: scores held at once.
        precision: of products: "bfloat16" is for GPUs.
        bootstrap: resamples behind each interval.
    """

    split: Split = "test"
    max_scores: int = 2**25
    precision: Literal["float32", "bfloat16"] = "float32"
    bootstrap: int = 1000

    def __post_init__(self):
        for name in ("max_scores", "bootstrap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")


@dataclass(frozen=True)
class General:
    """What holds for the whole run.

    Attributes:
        seed: root of all random streams.
        device: "cpu", "cuda" or another device that PyTorch knows.
        threads: CPU threads; 0 leaves PyTorch's own choice.
    """

    seed: int = 0
    device: str = "cpu"
    threads: int = 0

    def __post_init__(self):
        if self.threads < 0:
            raise ValueError(f"threads must not be negative; got {self.threads}")


PARTS: dict[str, tuple[Registry, dict[str, Any]]] = {
    "corruption": (CORRUPTIONS, {"name": "both"}),
    "model": (MODELS, {}),
    "sampler": (SAMPLERS, {}),
    "loss": (LOSSES, {}),
    "optimizer": (OPTIMIZERS, {"name": "adam"}),
    "schedule": (SCHEDULES, {"name": "constant"}),
}
FORMER_SECTIONS = {"sides": "corruption"}
PLAIN = {"graph": GraphSource, "train": FitOptions, "evaluate": EvaluateOptions}


@dataclass(frozen=True)
class Config:
    """A checked experiment; every default is spelled out.

    Attributes:
        parts: the resolved table of each pluggable part.
    """

    general: General
    graph: GraphSource
    train: FitOptions
    evaluate: EvaluateOptions
    parts: Mapping[str, Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration as nested tables."""
        plain = {name: dataclasses.asdict(getattr(self, name)) for name in PLAIN}
        return {**dataclasses.asdict(self.general), **plain, **self.parts}


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment file and apply `path=value` overrides.

    Raises:
        ConfigError: with file and place, for anything that cannot work.
    """
    tables = read_tables(path, overrides)
    try:
        return check_config(tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_tables(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The tables of a TOML file with `path=value` overrides applied, not checked yet.

    Raises:
        ConfigError: if the file cannot be read, or an override not be applied.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no experiment file {path}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; an experiment is a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for override in overrides:
        override_value(tables, override)
    return tables


def override_value(tables: dict[str, Any], override: str) -> None:
    """Apply one `model.dim=100`; the value is TOML, or a bare word taken as a string.

    Raises:
        ConfigError: if the override has no `=` or its path leads through a plain value.
    """
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"an override has the form path=value; got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, key = path.strip().split(".")
    table = tables
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a table")
    table[key] = value


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `over` in place of its own, table by table.

    A table that names another part replaces the whole table, because the options of one part
    mean nothing to another.
    """
    both = dict(base)
    for key, value in over.items():
        below = both.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            same = value.get("name", below.get("name")) == below.get("name")
            both[key] = merged(below, value) if same else value
        else:
            both[key] = value
    return both


def check_config(tables: Mapping[str, Any]) -> Config:
    """Nested tables, checked and with every default filled in.

    Raises:
        ConfigError: for unknown or missing keys and values that cannot work.
    """
    tables = with_current_names(tables, FORMER_SECTIONS, "experiment")
    general = {field.name for field in dataclasses.fields(General)}
    refuse_unknown(tables, [*general, *PLAIN, *PARTS], "experiment")
    plain = {name: _plain(kind, tables.get(name, {}), name) for name, kind in PLAIN.items()}
    top = {key: value for key, value in tables.items() if key in general}
    parts = {}
    for name, (table, default) in PARTS.items():
        spec = tables.get(name, default)
        if not isinstance(spec, Mapping):
            raise ConfigError(f"[{name}] is a table with a name; got {spec!r}")
        parts[name] = resolve(spec if "name" in spec else {**default, **spec}, table, name)
    return Config(general=_plain(General, top, "experiment"), parts=parts, **plain)


def _plain(kind: type, spec: Any, where: str) -> Any:
    """A frozen dataclass from a table."""
    if not isinstance(spec, Mapping):
        raise ConfigError(f"[{where}] is a table; got {spec!r}")
    spec = with_current_names(spec, getattr(kind, "renamed", {}), where)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    refuse_unknown(spec, fields, where)
    values = {
        key: validate_type(value, fields[key].type, f"{where}.{key}") for key, value in spec.items()
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"[{where}] {error}") from error
