"""Finds the columns of head, relation and tail by name, by position, or from a header line.

Headers of other tools are known too, in any order: subject, predicate, object; source, type,
target; from, to; `_start,_type,_end` and `:START_ID,:TYPE,:END_ID` of Neo4j.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.data.diagnostics import Diagnostic, Example, GraphError, shorten
from sparring.data.options import ReadOptions

TRIPLE = ("head", "relation", "tail")
KNOWN = {
    "head": "head subject source src from start startid",
    "relation": "relation predicate type rel relationship edge label property "
    "relationtype relationshiptype edgetype",
    "tail": "tail object target dst to end endid",
}
NEO4J = re.compile(r"\w*:(START_ID|END_ID|TYPE)(?:\(.*\))?$")
LETTERS = ({"h", "r", "t"}, {"s", "p", "o"})
ROLES = {name: role for role, names in KNOWN.items() for name in names.split()}
# head_id, relation label, target node, ...; but not source_type, which is about an entity
ROLES |= {
    name + suffix: role
    for name, role in ROLES.items()
    for suffix in (("id", "name", "label") if role == "relation" else ("id", "entity", "node"))
}


@dataclass(frozen=True)
class Layout:
    """Where the wanted columns are in the rows of a text file.

    Attributes:
        positions: of the wanted columns, from 0.
        width: fields of a row.
        exact: whether rows with more fields are refused.
        header: whether the first row holds the names of the columns.
    """

    positions: tuple[int, ...]
    width: int
    exact: bool = True
    header: bool = False


def role_of(name: str) -> str | None:
    """What a column of this name holds: "head", "relation" or "tail"; None if that is not known."""
    if special := NEO4J.match(name):
        name = special[1]
    return ROLES.get(re.sub(r"[ _-]", "", name.strip().lower()))


def text_layout(path: Path, first: Sequence[str], options: ReadOptions) -> Layout:
    """The layout of a text file of triples, whose first row is given.

    Raises:
        GraphError: if the first row may be a header or not, or does not have the wanted columns.
    """
    exact = options.extra_columns == "refuse"
    if options.columns is not None:
        by_name = isinstance(options.columns[0], str)
        positions = _given(path, first, options.columns)
        header = by_name or (options.header if options.header != "auto" else _detect(path, first))
        width = len(first) if exact else max(positions) + 1
        return Layout(positions, width, exact, header)
    if options.header is False:
        return Layout((0, 1, 2), 3, exact)
    if (found := _known(first)) is not None:
        _refuse_extra(path, first, found, options)
        return Layout(found, len(first) if exact else max(found) + 1, exact, header=True)
    if options.header is True:
        raise _unsure(path, first, "a header with unknown names")
    return Layout((0, 1, 2), 3, exact, _detect(path, first))


def table_columns(
    path: Path, names: Sequence[str], options: ReadOptions, *, ordered: bool = False
) -> tuple[int, ...] | None:
    """Positions of head, relation and tail among the named columns of a table, from 0.

    Args:
        path: of the table, for messages.
        names: of all columns.
        options: may name the columns.
        ordered: whether three columns with unknown names are taken as head, relation and tail.

    Returns:
        The positions; None if the names do not say.

    Raises:
        GraphError: if there are no columns as wanted, or further ones that are not to be ignored.
    """
    if options.columns is not None:
        return _given(path, names, options.columns)
    if (found := _known(names)) is not None:
        _refuse_extra(path, names, found, options)
        return found
    roles = [role_of(name) for name in names]
    fits = len(names) == 3 and all(role in (None, known) for role, known in zip(roles, TRIPLE))
    return (0, 1, 2) if ordered and fits else None


def _given(path: Path, first: Sequence[str], columns: Sequence[str | int]) -> tuple[int, ...]:
    """Positions from 0 of columns that the user chose."""
    positions = []
    for column in columns:
        if isinstance(column, int) and column <= len(first):
            positions.append(column - 1)
        elif list(first).count(str(column)) == 1 and not isinstance(column, int):
            positions.append(list(first).index(column))
        else:
            few = "no" if isinstance(column, int) or column not in first else "more than one"
            hint = "correct columns (--columns); the first row is shown here"
            raise GraphError(_diagnostic(path, first, f"{few} column {column!r}", hint))
    return tuple(positions)


def _known(names: Sequence[str]) -> tuple[int, ...] | None:
    """Positions of head, relation and tail, if each is the known name of just one column."""
    roles = [role_of(name) for name in names]
    if any(roles.count(role) != 1 for role in TRIPLE):
        return None
    return tuple(roles.index(role) for role in TRIPLE)


def _detect(path: Path, first: Sequence[str]) -> bool:
    """Whether the first row is a header; an error if it may be one."""
    if _known(first) is not None:
        return True
    roles = {role_of(field) for field in first} - {None}
    if len(roles) > 1 or {field.strip().lower() for field in first} in LETTERS:
        raise _unsure(path, first, "perhaps a header, perhaps a fact")
    return False


def _unsure(path: Path, first: Sequence[str], problem: str) -> GraphError:
    example = ",".join(list(first)[:3])
    hint = (
        "if it is a header, set columns to the names of head, relation and tail "
        f"(--columns {example}); if it is a fact, set header = false (--no-header)"
    )
    return GraphError(_diagnostic(path, first, problem, hint))


def _refuse_extra(
    path: Path, names: Sequence[str], found: Sequence[int], options: ReadOptions
) -> None:
    if options.extra_columns == "refuse" and len(names) > len(found):
        hint = 'set extra_columns = "ignore" (--ignore-extra-columns) to leave the others out'
        raise GraphError(_diagnostic(path, names, "more columns than head, relation, tail", hint))


def _diagnostic(path: Path, first: Sequence[str], problem: str, hint: str) -> Diagnostic:
    return Diagnostic(str(path), problem, hint, (Example("line 1", shorten(list(first), 200)),))
