"""Types of options: does a value fit the annotation of a parameter, and how is it written?"""

import inspect
import math
import re
import types
import typing
from typing import Any

PLAIN_TYPES = (bool, int, float, str, None, type(None))


class ConfigError(ValueError):
    """A configuration that cannot be built, with the place and the hint."""


def validate_type(value: Any, annotation: Any, place: str) -> Any:
    """`value`, if it fits the annotation; whole numbers pass as float.

    Raises:
        ConfigError: with the type that was expected.
    """
    if annotation is inspect.Parameter.empty or _fits(value, annotation):
        return float(value) if annotation is float else value
    raise ConfigError(f"[{place}] expects {in_words(annotation)}; got {value!r}")


def in_words(annotation: Any) -> str:
    """A type as people write it, without the modules that its names live in."""
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(annotation)))
    return re.sub(r"(\w+\.)+(?=\w)", "", inspect.formatannotation(annotation))


def is_plain(annotation: Any) -> bool:
    """Whether only numbers, words and lists of them fit an annotation."""
    if typing.get_origin(annotation) is typing.Literal:
        return True
    inner = typing.get_args(annotation)
    return all(map(is_plain, inner)) if inner else annotation in PLAIN_TYPES


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
        return (isinstance(value, float) and not math.isnan(value)) or _is_int64(value)
    if annotation is int:
        return _is_int64(value)
    return isinstance(value, annotation) if isinstance(annotation, type) else True


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
