"""Names to parts: what a configuration, `sparring list` and the contract tests know of.

`@register("name")` above a class is all it takes. A class's signature is the schema of its
options. Other packages add parts through the entry point group "sparring": an entry names a module,
and importing that module registers what it holds.
"""

import dataclasses
import difflib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from sparring.option_types import ConfigError, in_words, is_plain, validate_type

Maker = Callable[..., Any]
Part = TypeVar("Part", bound=type)
Made = TypeVar("Made", bound=Maker)
ENTRY_POINTS = "sparring"


@dataclass(frozen=True)
class Alias:
    """A former name of a part.

    Attributes:
        implied: options that the former name stood for.
        renamed: former names of options under this name alone, and what they are called now.
    """

    implied: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A registered part.

    Attributes:
        make: the class or function.
        example: options of one small instance, for contract tests; None for a part that cannot
            be made from options alone.
        renamed: former names of options, and what they are called now.
    """

    make: Maker
    example: Mapping[str, Any] | None
    renamed: Mapping[str, str]


class Registry(Mapping[str, Maker]):
    """The parts of one kind by name.

    Args:
        kind: what the parts are, in the singular: "sampler".
        nested: the kind of the parts that some arguments take; all others that take a part take
            one of this registry.
        renamed: former names of options that many parts take, and what they are called now; they
            apply to parts that take the new name and not the old one.
        default: the part that a table without a name means; None if it must have one.
        base: what parts derive from; None for the class that holds the registry. Without one, no
            part can be named as "module:Class".
    """

    def __init__(
        self,
        kind: str,
        *,
        nested: Mapping[str, str] | None = None,
        renamed: Mapping[str, str] | None = None,
        default: str | None = None,
        base: type | None = None,
    ):
        self.kind, self.nested, self.default = kind, nested or {}, default
        self.renamed = renamed or {}
        self.base = base
        self.entries: dict[str, Entry] = {}
        self.aliases: dict[str, tuple[str, Alias]] = {}
        REGISTRIES[kind] = self

    def __getitem__(self, name: str) -> Maker:
        return self.entries[name].make

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def register(
        self,
        name: str,
        *,
        example: Mapping[str, Any] | None = None,
        aliases: Mapping[str, Alias] | Iterable[str] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> Callable[[Made], Made]:
        """Make a class or function known under a name; to be used as a decorator.

        Args:
            example: options of one small instance, for contract tests.
            aliases: former names, which still load, with a warning.
            renamed: former names of options, which still load, with a warning.

        Raises:
            ValueError: if the name is taken.
        """
        if name in self.entries or name in self.aliases:
            raise ValueError(f"there is a {self.kind} named {name!r} already; choose another name")
        former = aliases if isinstance(aliases, Mapping) else dict.fromkeys(aliases, Alias())

        def known(make: Made) -> Made:
            self.entries[name] = Entry(make, example, renamed or {})
            self.aliases |= {old: (name, alias) for old, alias in former.items()}
            return make

        return known

    def family_of(self, argument: str) -> "Registry":
        """The registry of the parts that this argument takes."""
        return REGISTRIES[self.nested.get(argument, self.kind)]

    def current(self, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The same table with today's names, after a warning for each former one."""
        spec = dict(spec) if self.default is None else {"name": self.default, **spec}
        name, alias = spec.get("name"), Alias()
        if isinstance(name, str) and name in self.aliases:
            former = name
            name, alias = self.aliases[former]
            warn_renamed(where, former, name)
            spec["name"] = name
        maker = self.get(name) if isinstance(name, str) else None
        renamed = {} if maker is None else self.renamed_options(maker)
        spec = with_current_names(spec, {**renamed, **alias.renamed}, where)
        return {**alias.implied, **spec}

    def renamed_options(self, maker: Maker) -> dict[str, str]:
        """Former names of the options that a part takes, and what they are called now."""
        taken = inspect.signature(maker).parameters
        common = {
            old: new for old, new in self.renamed.items() if old not in taken and new in taken
        }
        own = (entry.renamed for entry in self.entries.values() if entry.make is maker)
        return common | dict(next(own, {}))

    def example(self, name: str, **supplied: Any) -> Any:
        """The small instance of a part that contract tests are run on."""
        return build({"name": name, **(self.entries[name].example or {})}, self, name, **supplied)


REGISTRIES: dict[str, Registry] = {}


def register(
    name: str,
    *,
    example: Mapping[str, Any] | None = None,
    aliases: Mapping[str, Alias] | Iterable[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> Callable[[Part], Part]:
    """Make a class known under a name, among the parts of its kind; see `Registry.register`.

    The kind is that of the class it derives from, such as `NegativeSampler`, `Loss`, `KGEModel`.
    """

    def known(part: Part) -> Part:
        registry: Registry = part.registry  # type: ignore[attr-defined]
        registry.base = next(base for base in part.__mro__ if "registry" in vars(base))
        registry.register(name, example=example, aliases=aliases, renamed=renamed)(part)
        return part

    return known


@cache
def load_plugins() -> None:
    """Import what other packages have under the entry point group "sparring", once.

    One that cannot be imported is left out, with a warning that names it.
    """
    for plugin in entry_points(group=ENTRY_POINTS):
        try:
            plugin.load()
        except Exception as error:  # whatever it is, it is that package's own
            owner = plugin.dist.name if plugin.dist else plugin.value
            warnings.warn(
                f"the plugin {plugin.name!r} of {owner} is left out: {error}", stacklevel=2
            )


@cache
def warn_renamed(where: str, old: str, new: str) -> None:
    """Say once that something has another name today."""
    warnings.warn(f"[{where}] {old!r} is now named {new!r}", FutureWarning, stacklevel=2)


def with_current_names(
    given: Mapping[str, Any], renamed: Mapping[str, str], where: str
) -> dict[str, Any]:
    """The same options under today's names; "group.option" leads into a nested table.

    Raises:
        ConfigError: if an option is given under both its names.
    """
    current = {key: value for key, value in given.items() if key not in renamed}
    for old, new in renamed.items():
        if old not in given:
            continue
        *groups, option = new.split(".")
        inside = current
        for group in groups:
            inside[group] = dict(inside.get(group) or {})
            inside = inside[group]
        if option in inside:
            raise ConfigError(f"[{where}] {old!r} is the former name of {new!r}; give one of them")
        warn_renamed(where, old, new)
        inside[option] = given[old]
    return current


def resolve(
    spec: Mapping[str, Any], registry: Registry, where: str, supplied: Iterable[str] = ()
) -> dict[str, Any]:
    """`spec` with every default filled in, nested specs too.

    An option that is annotated with a dataclass is a group: its table holds the fields and needs
    no name.

    Args:
        supplied: arguments that come from elsewhere, such as the graph.

    Raises:
        ConfigError: for an unknown name, an unknown or missing key, a value of another type, or
            one in the place of a table.
    """
    spec = registry.current(spec, where)
    maker = find(spec, registry, where)
    given = {key: value for key, value in spec.items() if key != "name"}
    lead = f"{spec['name']!r}"
    return {"name": spec["name"], **_filled_in(maker, given, registry, where, supplied, lead)}


def _filled_in(
    maker: Maker,
    given: Mapping[str, Any],
    registry: Registry,
    where: str,
    supplied: Iterable[str],
    called: str,
) -> dict[str, Any]:
    """All options of a part or group."""
    options = _options(maker, supplied)
    refuse_unknown(given, options, where, f"{called} does not take")
    missing = [key for key, option in options.items() if _required(option) and key not in given]
    if missing:
        raise ConfigError(f"[{where}] {called} needs {', '.join(missing)}")
    full: dict[str, Any] = {}
    for key, option in options.items():
        place, family, group = f"{where}.{key}", registry.family_of(key), _group(option)
        value = given.get(key, {} if group else option.default)
        takes_parts = family is not registry or not is_plain(option.annotation)
        if group and isinstance(value, Mapping):
            defaults = {} if _required(option) else vars(option.default)
            full[key] = _filled_in(group, {**defaults, **value}, registry, place, (), "this table")
        elif key not in given:
            full[key] = value
        elif takes_parts and isinstance(value, Mapping):
            full[key] = resolve(value, family, place, supplied)
        elif takes_parts and _has_tables(value):
            full[key] = [
                resolve(item, family, f"{place}.{i}", supplied) for i, item in enumerate(value)
            ]
        elif family is not registry and value is not None:
            known = ", ".join(sorted(family))
            raise ConfigError(f"[{place}] is a table with a name, of: {known}; got {value!r}")
        else:
            full[key] = validate_type(value, option.annotation, place)
    return full


def build(spec: Mapping[str, Any], registry: Registry, where: str, **supplied: Any) -> Any:
    """Build `spec["name"]` with its other entries as arguments.

    A nested table is built first, from the same family or from the one that the family names for
    its argument. A name of the form "package.module:Class" reaches code outside the library.

    Raises:
        ConfigError: as `resolve` does, and for values the object itself refuses.
    """
    full = resolve(spec, registry, where, supplied)
    maker = find(full, registry, where)
    options = {key: value for key, value in full.items() if key != "name"}
    return _made(maker, options, registry, where, supplied)


def _made(
    maker: Maker,
    options: Mapping[str, Any],
    registry: Registry,
    where: str,
    supplied: Mapping[str, Any],
) -> Any:
    """A part or group, of options that `resolve` has filled in."""
    accepted = inspect.signature(maker).parameters

    def part(place: str, value: Any, key: str) -> Any:
        if isinstance(value, list):
            return [part(f"{place}.{i}", item, key) for i, item in enumerate(value)]
        if not isinstance(value, Mapping):
            return value
        group = _group(accepted[key])
        if group:
            return _made(group, value, registry, place, {})
        return build(value, registry.family_of(key), place, **supplied)

    given = {key: part(f"{where}.{key}", value, key) for key, value in options.items()}
    given |= {key: value for key, value in supplied.items() if key in accepted}
    try:
        return maker(**given)
    except ConfigError:
        raise
    except (ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and type(error) is not RuntimeError:
            raise  # not one of PyTorch, of numbers that it cannot use
        raise ConfigError(f"[{where}] {error}") from error


def find(spec: Mapping[str, Any], registry: Registry, where: str) -> Any:
    """What `spec["name"]` stands for."""
    if "name" not in spec:
        raise ConfigError(f"[{where}] has no name; known: {', '.join(sorted(registry))}")
    name = spec["name"]
    if not isinstance(name, str):
        raise ConfigError(f"[{where}] a name is a string; got {name!r}")
    if ":" in name:
        return _checked_kind(import_object(name, where), name, registry, where)
    if name not in registry:
        load_plugins()
    if name not in registry:
        raise ConfigError(f"[{where}] unknown name {name!r}; {_suggestion(name, registry)}")
    return registry[name]


def import_object(name: str, where: str) -> Any:
    """The object at "module:attribute".

    The module may lie in the working directory. Installed modules come first, so that no file
    there takes the place of one.

    Raises:
        ConfigError: if there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        with _working_directory_last():
            return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"[{where}] cannot import {name!r}: {error}") from error


@contextmanager
def _working_directory_last() -> Iterator[None]:
    """Search the working directory for modules too, after all other places."""
    added = [os.getcwd()]
    sys.path += added
    try:
        yield
    finally:
        sys.path[:] = [place for place in sys.path if place is not added[0]]


def _checked_kind(found: Any, name: str, registry: Registry, where: str) -> Any:
    """The object, if it is a class of the registry's kind: nothing else is called."""
    base = registry.base
    if base is None:
        known = ", ".join(sorted(registry))
        raise ConfigError(f"[{where}] no code can be named here; known: {known}; got {name!r}")
    if isinstance(found, type) and issubclass(found, base):
        return found
    raise ConfigError(
        f"[{where}] {name!r} is no {registry.kind}: it must be a subclass of "
        f"{base.__module__}.{base.__qualname__}"
    )


def refuse_unknown(
    given: Iterable[str], accepted: Iterable[str], where: str, lead: str = "there is no"
) -> None:
    """Raise ConfigError for the first key that is not accepted, with the nearest one."""
    accepted = list(accepted)
    for key in given:
        if key not in accepted:
            raise ConfigError(f"[{where}] {lead} {key!r}; {_suggestion(key, accepted)}")


def options_of(maker: Callable[..., Any], supplied: Iterable[str] = ()) -> dict[str, str]:
    """Each option with its type and default in words, for listings."""
    return {
        key: in_words(option.annotation) + ("" if _required(option) else f" = {option.default!r}")
        for key, option in _options(maker, supplied).items()
    }


def _options(
    maker: Callable[..., Any], supplied: Iterable[str] = ()
) -> dict[str, inspect.Parameter]:
    hidden = set(supplied) | {"graph", "params"}
    found = inspect.signature(maker).parameters
    return {
        key: option
        for key, option in found.items()
        if key not in hidden and option.kind not in (option.VAR_POSITIONAL, option.VAR_KEYWORD)
    }


def _required(option: inspect.Parameter) -> bool:
    return option.default is option.empty


def _group(option: inspect.Parameter) -> type | None:
    """The dataclass whose fields make up an option; None for options that are no group."""
    kind = option.annotation
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def _has_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _suggestion(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
