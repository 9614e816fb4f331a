"""Databases: the result of a query as a data frame, from SQLite or DuckDB.

SQLite is part of Python; DuckDB needs the extra `duckdb`. A query reads its database and nothing
else: the folder of a run may hold one of somebody else's.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from sparring.data.diagnostics import Diagnostic, Example, GraphError, shorten
from sparring.data.formats import import_reader

SQLITE_START = b"SQLite format 3\0"
DUCKDB_START, DUCKDB_AT = b"DUCK", 8
LIST_TABLES = {
    "sqlite": "select name from sqlite_master where type in ('table', 'view') order by name",
    "duckdb": "select table_name from information_schema.tables order by table_name",
}

READS = {
    *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ),
    *(sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE),
}
# no COPY to other files, no extensions, no network, and no way back
CLOSED = {"enable_external_access": "false", "lock_configuration": "true"}


def read_query(path: Path, query: str | None) -> pl.DataFrame:
    """The result of a query; numbers become strings, and NULL stays null.

    Raises:
        GraphError: if there is no query, the file is no database, or the query fails; lists the
            tables of the database.
    """
    kind = _kind(path)
    connect, error_type = _sqlite(path) if kind == "sqlite" else _duckdb(path)
    try:
        with closing(connect()) as connection:
            tables = ", ".join(name for (name,) in connection.execute(LIST_TABLES[kind]).fetchall())
            if not query:
                hint = 'set query = "SELECT head, relation, tail FROM ..." (--query)'
                example = (Example(value=f"it has the tables {tables or 'none'}"),)
                raise GraphError(Diagnostic(str(path), "a database, and no query", hint, example))
            return _frame(connection, query, path, tables, error_type)
    except error_type as error:
        example = (Example(value=shorten(str(error), 200)),)
        hint = "check that it is whole, and that no other program writes to it"
        raise GraphError(Diagnostic(str(path), "no readable database", hint, example)) from error


def _frame(
    connection: Any, query: str, path: Path, tables: str, error_type: type[Exception]
) -> pl.DataFrame:
    try:
        result = connection.execute(query)
        names = [column[0] for column in result.description or ()]
        rows = result.fetchall()
    except error_type as error:
        example = (Example(value=str(error).splitlines()[0]),)
        hint = f"correct the query; the database has the tables {tables or 'none'}"
        raise GraphError(Diagnostic(str(path), "the query failed", hint, example)) from error
    if len(set(names)) != len(names):
        example = (Example(value=", ".join(names)),)
        hint = "name each column once, as in SELECT a.id AS head, b.id AS tail"
        raise GraphError(Diagnostic(str(path), "columns of the same name", hint, example))
    columns = zip(*rows) if rows else [()] * len(names)
    return pl.DataFrame({name: _strings(values) for name, values in zip(names, columns)})


def _strings(values: Any) -> pl.Series:
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)


def _kind(path: Path) -> str:
    """The kind of a database, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(16)
    if start == SQLITE_START:
        return "sqlite"
    if start[DUCKDB_AT:].startswith(DUCKDB_START):
        return "duckdb"
    hint = "give a database file of SQLite or DuckDB"
    raise GraphError(Diagnostic(str(path), "neither SQLite nor DuckDB", hint))


def _sqlite(path: Path) -> tuple[Any, type[Exception]]:
    address = f"{path.absolute().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True)
        allow = lambda action, *about: sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY
        connection.set_authorizer(allow)  # VACUUM INTO and ATTACH write elsewhere in any mode
        return connection

    return connect, sqlite3.Error


def _duckdb(path: Path) -> tuple[Any, type[Exception]]:
    duckdb = import_reader("duckdb", path, "duckdb")
    return lambda: duckdb.connect(str(path), read_only=True, config=CLOSED), duckdb.Error
