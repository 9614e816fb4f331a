"""Options of all commands that read the files of a graph, under the names that `[graph]` has."""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

PANEL = "How files are read"


def _option(*words: str, help: str, metavar: str | None = None) -> Any:
    shown = {"help": help, "metavar": metavar, "show_default": False}
    return typer.Option(*words, rich_help_panel=PANEL, **shown)


Columns = Annotated[
    str | None,
    _option(
        "--columns",
        metavar="NAMES",
        help="Those of head, relation and tail: `source,kind,target`, or positions: `1,3,2`.",
    ),
]
Separator = Annotated[
    str | None,
    _option("--separator", metavar="TEXT", help='Between fields, such as ";"; `tab` for a tab.'),
]
Quoting = Annotated[
    bool | None,
    _option("--quoting/--no-quoting", help="Fields may be in double quotes; default for .csv."),
]
Header = Annotated[
    bool | None,
    _option("--header/--no-header", help="The first line names the columns; found out by default."),
]
ExtraColumns = Annotated[bool, _option("--ignore-extra-columns", help="Leave further columns out.")]
OnDefect = Annotated[
    Literal["error", "drop"] | None,
    _option(
        "--on-defect",
        metavar="WORD",
        help="`error` stops at a row that cannot be read; `drop` counts and lists it.",
    ),
]
Query = Annotated[
    str | None,
    _option("--query", metavar="SQL", help="A SELECT statement, for a database."),
]
TypeFacts = Annotated[
    bool | None,
    _option("--type-facts/--no-type-facts", help="Statements of rdf:type are facts; the default."),
]


def reads_files(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `ReadOptions`.

    Args:
        command: receives, as `read`, overrides such as `graph.separator=";"`.
    """
    own = inspect.signature(command).parameters.values()
    shared = inspect.signature(_overrides).parameters

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        read = _overrides(**{name: given.pop(name) for name in shared})
        command(**given, read=read)

    kept = [parameter for parameter in own if parameter.name != "read"]
    with_options.__signature__ = inspect.Signature([*kept, *shared.values()])  # type: ignore
    return with_options


def _overrides(
    *,
    columns: Columns = None,
    separator: Separator = None,
    quoting: Quoting = None,
    header: Header = None,
    ignore_extra_columns: ExtraColumns = False,
    on_defect: OnDefect = None,
    query: Query = None,
    type_facts: TypeFacts = None,
) -> list[str]:
    given = {
        "columns": None if columns is None else _columns(columns),
        "separator": "\t" if separator in {"tab", "\\t"} else separator,
        "quoting": quoting,
        "header": header,
        "extra_columns": "ignore" if ignore_extra_columns else None,
        "on_defect": on_defect,
        "query": query,
        "type_facts": type_facts,
    }
    return [f"graph.{key}={_toml(value)}" for key, value in given.items() if value is not None]


def _columns(text: str) -> list[str | int]:
    parts = text.split(",")
    return [int(part) for part in parts] if all(map(str.isdecimal, parts)) else list(parts)


def _toml(value: Any) -> str:
    """Strings, truth values and lists are written as in JSON."""
    return json.dumps(value, ensure_ascii=False)
