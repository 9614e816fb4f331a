"""What the files of a run may name without being trusted: registered parts, and nothing else.

A configuration can name a class as "module:Class", and building it runs its code. In a file that a
user gives, this is what the user asked for. A folder of a run may come from somebody else.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparring.files import json_digest

REMEDY = (
    "reading it would run that code. If you trust whoever made the folder, add --trust (in Python "
    "trust=True; for a teacher, `trust = true` in its table)"
)


class UntrustedError(ValueError):
    """A file that names code outside of sparring, in a folder that is not trusted."""


def refuse_foreign_code(tables: Any, path: Path) -> None:
    """Check that a stored configuration names registered parts only.

    Raises:
        UntrustedError: if it names anything else; says what and how to trust it.
    """
    if found := list(foreign_code(tables)):
        raise UntrustedError(f"{path} names code outside of sparring: {', '.join(found)}; {REMEDY}")


def foreign_code(value: Any, place: str = "") -> Iterator[str]:
    """All that nested tables name as "module:Class", and the folders of runs that they trust."""
    if isinstance(value, Mapping):
        name = value.get("name")
        if isinstance(name, str) and ":" in name and place != "graph":
            yield f"[{place}] {name!r}"
        if value.get("trust") is True:
            yield f"[{place}] trust = true"
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if isinstance(item, Mapping | list):
            yield from foreign_code(item, f"{place}.{key}" if place else str(key))


def config_digest(tables: Mapping[str, Any]) -> str:
    """BLAKE2 digest of a configuration; checkpoints keep it."""
    return json_digest(tables)


def check_config_digest(state: Mapping[str, Any], tables: Mapping[str, Any], path: Path) -> None:
    """Check that a configuration is the one that a checkpoint was trained with.

    Checkpoints of earlier versions have no digest and are not checked.

    Args:
        state: of the checkpoint.
        tables: content of the file at `path`.

    Raises:
        UntrustedError: if it was altered.
    """
    if state.get("config", config_digest(tables)) != config_digest(tables):
        raise UntrustedError(
            f"{path} was altered after training; restore it from a copy (a finished run has one in "
            'result.json, under "resolved"), and change options with --set'
        )
