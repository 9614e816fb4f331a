"""Names in checkpoints of format 1, and what they are called today."""

import re
from collections.abc import Iterable
from typing import Any

RENAMED: tuple[tuple[str, str], ...] = (("^batch$", "batch_size"),)
"""Pairs of a pattern and its replacement.

They apply in order to the path of every entry: the keys that lead to it, joined by "/", such as
"step/sampler._extra_state/rate". Only the last key of a path may change.
"""


def convert(state: Any, renamed: Iterable[tuple[str, str]] = RENAMED, path: str = "") -> Any:
    """The same state under today's names; the order of its entries stays."""
    if isinstance(state, dict):
        return {
            _current(path, key, renamed): convert(value, renamed, f"{path}{key}/")
            for key, value in state.items()
        }
    if isinstance(state, list | tuple):
        return type(state)(convert(value, renamed, path) for value in state)
    return state


def _current(path: str, key: Any, renamed: Iterable[tuple[str, str]]) -> Any:
    if not isinstance(key, str):
        return key
    name = path + key
    for pattern, replacement in renamed:
        name = re.sub(pattern, replacement, name)
    return name.removeprefix(path)
