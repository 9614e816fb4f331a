"""The configuration of an experiment: one TOML file, checked before anything is built."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sparring.experiments.pretrained  # noqa: F401  (registers models of finished runs)
import sparring.generators  # noqa: F401  (registers generators)
from sparring.corruption import CORRUPTIONS
from sparring.experiments.graphs import GraphSource, source_of
from sparring.experiments.loggers import LogOptions
from sparring.losses.base import LOSSES
from sparring.models.base import MODELS
from sparring.registry import (
    ConfigError,
    Registry,
    refuse_unknown,
    resolve,
    validate_type,
    with_current_names,
)
from sparring.samplers.base import SAMPLERS
from sparring.training import OPTIMIZERS, SCHEDULES, FitOptions

Split = Literal["test", "valid"]
MOST_RESAMPLES = 100_000


@dataclass(frozen=True)
class EvaluateOptions:
    """How the trained model is evaluated.

    Attributes:
        split: the triples that are ranked.
        max_scores: scores held in memory at once.
        precision: of matrix products; "bfloat16" is for GPUs.
        bootstrap: resamples behind each interval.
    """

    split: Split = "test"
    max_scores: int = 2**25
    precision: Literal["float32", "bfloat16"] = "float32"
    bootstrap: int = 1000

    def __post_init__(self) -> None:
        for name in ("max_scores", "bootstrap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.bootstrap > MOST_RESAMPLES:
            raise ValueError(
                f"bootstrap must be at most {MOST_RESAMPLES:,}; got {self.bootstrap}; 1,000 give "
                "an interval whose ends are known well enough"
            )


@dataclass(frozen=True)
class General:
    """Options of the whole run.

    Attributes:
        seed: root of all random streams.
        device: "cpu", "cuda" or another device that PyTorch knows.
        threads: CPU threads; 0 for PyTorch's default.
        start: folder of a run whose vectors the model starts from, by name of entity and relation;
            empty to start anew.
    """

    seed: int = 0
    device: str = "cpu"
    threads: int = 0
    start: str = ""

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"threads must not be negative; got {self.threads}")


@dataclass(frozen=True)
class DistributedOptions:
    """How a run is spread over processes; see docs/howto/distributed.md.

    Attributes:
        virtual_workers: parts that queries and entities are divided into; the number of processes
            divides it, and results depend on it instead of that number. 0 trains in one process
            without such parts.
        timeout: seconds that processes wait for another one before they give it up.
        tables: what trains them: "sharded" is the library's own, "torchrec" is TorchRec.
    """

    virtual_workers: int = 0
    timeout: float = 600.0
    tables: Literal["sharded", "torchrec"] = "sharded"

    def __post_init__(self) -> None:
        if self.virtual_workers < 0 or self.timeout <= 0:
            raise ValueError(
                "virtual_workers is at least 0 and timeout above 0; got "
                f"virtual_workers={self.virtual_workers}, timeout={self.timeout}"
            )
        if self.tables != "sharded" and not self.virtual_workers:
            raise ValueError(
                f'tables = "{self.tables}" is for sharded runs; set virtual_workers too, for '
                "example to 64"
            )


PARTS: dict[str, tuple[Registry, dict[str, Any]]] = {
    "corruption": (CORRUPTIONS, {"name": "both"}),
    "model": (MODELS, {}),
    "sampler": (SAMPLERS, {}),
    "loss": (LOSSES, {}),
    "optimizer": (OPTIMIZERS, {"name": "adam"}),
    "schedule": (SCHEDULES, {"name": "constant"}),
}
OBJECT = "object"  # names a part that was given as an object, which no file can hold
FORMER_SECTIONS = {"sides": "corruption"}
PLAIN = {
    "graph": GraphSource,
    "train": FitOptions,
    "evaluate": EvaluateOptions,
    "log": LogOptions,
    "distributed": DistributedOptions,
}


@dataclass(frozen=True)
class Config:
    """A checked experiment with all defaults filled in.

    Attributes:
        parts: the resolved table of each pluggable part.
    """

    general: General
    graph: GraphSource
    train: FitOptions
    evaluate: EvaluateOptions
    log: LogOptions
    distributed: DistributedOptions
    parts: Mapping[str, Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration as nested tables."""
        plain = {name: dataclasses.asdict(getattr(self, name)) for name in PLAIN}
        return {**dataclasses.asdict(self.general), **plain, **self.parts}


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment file and apply `path=value` overrides.

    Raises:
        ConfigError: with file and place, for anything that is wrong.
    """
    tables = read_tables(path, overrides)
    try:
        return check_config(tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_tables(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The tables of a TOML file with `path=value` overrides applied, not checked yet.

    Raises:
        ConfigError: if the file cannot be read, or an override cannot be applied.
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
        ConfigError: for unknown or missing keys and wrong values.
    """
    tables = with_current_sections(tables)
    general = {field.name for field in dataclasses.fields(General)}
    refuse_unknown(tables, [*general, *PLAIN, *PARTS], "experiment")
    plain = {name: check_section(kind, tables.get(name, {}), name) for name, kind in PLAIN.items()}
    top = {key: value for key, value in tables.items() if key in general}
    parts = {}
    for name, (_, default) in PARTS.items():
        parts[name] = resolve_part(name, tables.get(name, default))
    return Config(general=check_section(General, top, "experiment"), parts=parts, **plain)


def resolve_part(name: str, spec: Any) -> Mapping[str, Any]:
    """The table of one part with every default filled in.

    Raises:
        ConfigError: for an unknown name, unknown or missing keys and wrong values.
    """
    registry, default = PARTS[name]
    if not isinstance(spec, Mapping):
        raise ConfigError(f"[{name}] is a table with a name; got {spec!r}")
    if spec.get("name") == OBJECT:
        return spec
    return resolve(spec if "name" in spec else {**default, **spec}, registry, name)


def with_current_sections(tables: Mapping[str, Any], where: str = "experiment") -> dict[str, Any]:
    """The same tables, with a warning for each that is under a former name."""
    return with_current_names(tables, FORMER_SECTIONS, where)


def graph_source(text: str, overrides: Sequence[str] = ()) -> GraphSource:
    """The source that a name or path stands for, with `graph.key=value` overrides.

    Raises:
        ConfigError: for a wrong override.
    """
    tables: dict[str, Any] = {"graph": dataclasses.asdict(source_of(text))}
    for override in overrides:
        override_value(tables, override)
    return check_section(GraphSource, tables["graph"], "graph")


def check_section(kind: type, spec: Any, where: str) -> Any:
    """A frozen dataclass from a table.

    Raises:
        ConfigError: for unknown keys and wrong values.
    """
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
