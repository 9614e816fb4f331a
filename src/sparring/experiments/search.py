"""What tuning may change: the ranges of options, for all methods and for each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Suggests(Protocol):
    """The part of an Optuna trial that chooses values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Log:
    """A number from `low` to `high`, uniform on a logarithmic scale."""

    low: float
    high: float

    def suggest(self, trial: Suggests, name: str) -> float:
        """The value of a trial."""
        return trial.suggest_float(name, self.low, self.high, log=True)

    def reaching(self, value: int | float) -> "Log":
        """The same range, widened to a value above 0."""
        return Log(min(self.low, float(value)), max(self.high, float(value)))


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def suggest(self, trial: Suggests, name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, list(self.values))

    def reaching(self, value: Any) -> "Choice":
        """The same values, and a further one."""
        return Choice(tuple(sorted({*self.values, value})))


Range = Log | Choice
NO_RANGES: Mapping[str, Range] = MappingProxyType({})

# Options of all methods; one that a method's parts do not have is left out.
COMMON: Mapping[str, Range] = MappingProxyType(
    {
        "optimizer.lr": Log(3e-3, 0.2),
        "model.dim": Choice((32, 64, 128, 256)),
        "model.n3": Log(1e-4, 0.3),  # the least is as good as none
        "model.dropout": Choice((0.0, 0.1, 0.3)),
        "sampler.k": Choice((8, 16, 32, 64, 128, 256)),
        "train.batch_size": Choice((128, 256, 512, 1024, 2048)),
    }
)
# What else, or what instead, for methods that are named as their sampler is.
OF_METHOD: Mapping[str, Mapping[str, Range]] = MappingProxyType(
    {
        # each draw costs more than a uniform one, and is worth more
        "generator": {"sampler.k": Choice((4, 8, 16, 32, 64))},
        # one list for the batch, so a long one costs little
        "in-batch": {"train.batch_size": Choice((256, 512, 1024, 2048))},
    }
)


@dataclass(frozen=True)
class Method:
    """Parts that stay, and options that are tuned.

    Attributes:
        tables: as in an experiment file; the first trial has just these.
        ranges: by path, such as "optimizer.lr".
    """

    tables: Mapping[str, Any]
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def start(self) -> dict[str, Any]:
        """The value of each range in `tables`."""
        return {path: value_at(self.tables, path) for path in self.ranges}

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """The values of a trial, by path."""
        return {path: one.suggest(trial, path) for path, one in self.ranges.items()}

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The tables of a trial."""
        tables: dict[str, Any] = dict(self.tables)
        for path, value in values.items():
            tables = _replaced(tables, path.split("."), value)
        return tables

    def as_dict(self) -> dict[str, Any]:
        """For a file; `from_dict` reads it."""
        kinds = {
            path: {"kind": type(one).__name__, **asdict(one)} for path, one in self.ranges.items()
        }
        return {"tables": dict(self.tables), "ranges": kinds}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Method":
        """The method that `as_dict` wrote."""
        makers = {"Log": Log, "Choice": lambda values: Choice(tuple(values))}
        ranges = {}
        for path, about in content["ranges"].items():
            about = dict(about)
            ranges[path] = makers[about.pop("kind")](**about)
        return cls(content["tables"], ranges)


def method_of(
    name: str, tables: Mapping[str, Any], further: Mapping[str, Range] = NO_RANGES
) -> Method:
    """A method with the ranges of those options that its parts have.

    A range is widened to the value in the tables, so that the first trial may have it. An option
    that is 0 there, in a range that has no 0, is tuned all the same: its first value is the least.

    Args:
        name: one in `OF_METHOD` has ranges of its own.
        tables: resolved, so that they hold every option.
        further: ranges that take the place of others, by path.
    """
    ranges: dict[str, Range] = {**COMMON, **OF_METHOD.get(name, {}), **further}
    has = lambda path: value_at(tables, path) is not None
    ranges = {path: one for path, one in ranges.items() if has(path)}
    method = Method(tables, ranges)
    least = {path: one.low for path, one in ranges.items() if isinstance(one, Log)}
    values: dict[str, Any] = {
        path: value or least.get(path, value) for path, value in method.start().items()
    }
    reached = {path: one.reaching(values[path]) for path, one in ranges.items()}
    return Method(method.with_values(values), reached)


def value_at(tables: Mapping[str, Any], path: str) -> Any:
    """The option at a path such as "model.dim" or "sampler.inner.k"; None where there is none."""
    found: Any = tables
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _replaced(tables: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**tables, name: _replaced(tables[name], rest, value) if rest else value}
