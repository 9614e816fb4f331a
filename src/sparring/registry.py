"""From names and numbers to objects: a class's signature is the schema of its options."""

import difflib
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Table = Mapping[str, Callable[..., Any]]


class ConfigError(ValueError):
    """A configuration that cannot be built, with the place and the remedy."""


class Family(dict[str, Callable[..., Any]]):
    """Names to makers, and which other family a nested table under some argument belongs to.

    Args:
        others: families by name of the argument; all other nested tables are of this family.
    """

    def __init__(self, table: Table, **others: Table):
        super().__init__(table)
        self.others = others


def family_of(argument: str, table: Table) -> Table:
    """The family that a nested table under this argument is of."""
    return table.others.get(argument, table) if isinstance(table, Family) else table


def resolve(
    spec: Mapping[str, Any], table: Table, where: str, supplied: Iterable[str] = ()
) -> dict[str, Any]:
    """`spec` with every default filled in, nested specs too.

    Args:
        supplied: arguments that come from elsewhere, such as the graph.

    Raises:
        ConfigError: for an unknown name, an unknown or missing key, a value of another type, or
            one in the place of a table.
    """
    maker = find(spec, table, where)
    options = _options(maker, supplied)
    given = {key: value for key, value in spec.items() if key != "name"}
    refuse_unknown(given, options, where, f"{spec['name']!r} does not take")
    missing = [key for key, option in options.items() if _required(option) and key not in given]
    if missing:
        raise ConfigError(f"[{where}] {spec['name']!r} needs {', '.join(missing)}")
    full: dict[str, Any] = {"name": spec["name"]}
    for key, option in options.items():
        if key not in given:
            full[key] = option.default
            continue
        value, place, family = given[key], f"{where}.{key}", family_of(key, table)
        if isinstance(value, Mapping):
            full[key] = resolve(value, family, place, supplied)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            full[key] = [
                resolve(item, family, f"{place}.{i}", supplied) for i, item in enumerate(value)
            ]
        elif family is not table and value is not None:
            known = ", ".join(sorted(family))
            raise ConfigError(f"[{place}] is a table with a name, of: {known}; got {value!r}")
        else:
            full[key] = checked(value, option.annotation, place)
    return full


def build(spec: Mapping[str, Any], table: Table, where: str, **supplied: Any) -> Any:
    """Build `spec["name"]` with its other entries as arguments.

    A nested table is built first, from the same family or from the one that the family names for
    its argument. A name of the form "package.module:Class" reaches code outside the library.

    Raises:
        ConfigError: as `resolve` does, and for values the object itself refuses.
    """
    full = resolve(spec, table, where, supplied)
    maker = find(spec, table, where)

    def part(place: str, value: Any, family: Table) -> Any:
        if isinstance(value, Mapping):
            return build(value, family, place, **supplied)
        if isinstance(value, list):
            return [part(f"{place}.{i}", item, family) for i, item in enumerate(value)]
        return value

    given = {
        key: part(f"{where}.{key}", value, family_of(key, table))
        for key, value in full.items()
        if key != "name"
    }
    accepted = inspect.signature(maker).parameters
    given |= {key: value for key, value in supplied.items() if key in accepted}
    try:
        return maker(**given)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"[{where}] {error}") from error


def find(spec: Mapping[str, Any], table: Table, where: str) -> Any:
    """What `spec["name"]` stands for."""
    if "name" not in spec:
        raise ConfigError(f"[{where}] has no name; known: {', '.join(sorted(table))}")
    name = spec["name"]
    if not isinstance(name, str):
        raise ConfigError(f"[{where}] a name is a string; got {name!r}")
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"[{where}] cannot import {name!r}: {error}") from error
    if name not in table:
        raise ConfigError(f"[{where}] unknown name {name!r}; {_suggestion(name, table)}")
    return table[name]


def refuse_unknown(
    given: Iterable[str], accepted: Iterable[str], where: str, lead: str = "there is no"
) -> None:
    """Raise ConfigError for the first key that is not accepted, with the nearest one."""
    accepted = list(accepted)
    for key in given:
        if key not in accepted:
            raise ConfigError(f"[{where}] {lead} {key!r}; {_suggestion(key, accepted)}")


def checked(value: Any, annotation: Any, place: str) -> Any:
    """`value`, if it fits the annotation; whole numbers pass as float.

    Raises:
        ConfigError: with the type that was expected.
    """
    if annotation is inspect.Parameter.empty or _fits(value, annotation):
        return float(value) if annotation is float else value
    raise ConfigError(f"[{place}] expects {in_words(annotation)}; got {value!r}")


def options_of(maker: Callable[..., Any], supplied: Iterable[str] = ()) -> dict[str, str]:
    """Each option with its type and default in words, for listings."""
    return {
        key: in_words(option.annotation) + ("" if _required(option) else f" = {option.default!r}")
        for key, option in _options(maker, supplied).items()
    }


def in_words(annotation: Any) -> str:
    """A type as people write it, without the modules that its names live in."""
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(annotation)))
    return re.sub(r"(\w+\.)+(?=\w)", "", inspect.formatannotation(annotation))


def _options(
    maker: Callable[..., Any], supplied: Iterable[str] = ()
) -> dict[str, inspect.Parameter]:
    hidden = set(supplied) | {"graph", "params"}
    found = inspect.signature(maker).parameters
    return {key: option for key, option in found.items() if key not in hidden}


def _required(option: inspect.Parameter) -> bool:
    return option.default is option.empty


def _fits(value: Any, annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(annotation))
    if annotation in (None, type(None)):
        return value is None
    if typing.get_origin(annotation) is typing.Literal:
        return value in typing.get_args(annotation)
    if typing.get_origin(annotation) is list:
        inner = typing.get_args(annotation)[0]
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation) if isinstance(annotation, type) else True


def _suggestion(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
