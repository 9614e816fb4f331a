"""Databases: the result of a query becomes a graph."""

import re
import sqlite3
import sys

import pytest
from data.reading import named

from sparring.api import load_graph
from sparring.data.diagnostics import GraphError

ROWS = [("a", 1, "b", "x"), ("b", 2, "c", None)]
FACTS = [("a", "1", "b"), ("b", "2", "c")]
SELECT = "SELECT origin, kind, goal FROM links"


def sqlite(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE links (origin, kind INTEGER, goal, note)")
        database.executemany("INSERT INTO links VALUES (?, ?, ?, ?)", ROWS)
    database.close()


def duckdb(path):
    module = pytest.importorskip("duckdb", reason="the extra duckdb is not installed")
    with module.connect(str(path)) as database:
        database.execute("CREATE TABLE links (origin TEXT, kind INTEGER, goal TEXT, note TEXT)")
        database.executemany("INSERT INTO links VALUES (?, ?, ?, ?)", ROWS)


@pytest.fixture(params=[sqlite, duckdb])
def database(request, tmp_path):
    request.param(tmp_path / "facts.db")
    return tmp_path / "facts.db"


def refused(message, path, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        load_graph(path, split=(0.0, 0.0), **options)


@pytest.mark.parametrize(
    "query, columns",
    [
        (SELECT, None),
        ("SELECT goal AS tail, origin AS head, kind AS relation FROM links", None),
        ("SELECT * FROM links", ["origin", "kind", "goal"]),
        ("SELECT goal, kind, origin FROM links", [3, 2, 1]),
    ],
)
def test_a_query_gives_triples(database, query, columns):
    graph = load_graph(database, query=query, columns=columns, split=(0.0, 0.0))
    assert named(graph) == FACTS and graph.name == "facts"


def test_a_database_may_be_given_as_an_address(database):
    for scheme in ("sqlite", "duckdb"):
        assert named(load_graph(f"{scheme}:///{database}", query=SELECT, split=(0.0, 0.0))) == FACTS


def test_without_a_query_the_tables_are_listed(database):
    refused("a database, and no query: it has the tables links; set query", database)


def test_a_query_that_fails(database):
    refused("the query failed", database, query="SELECT x FROM links")
    refused("the database has the tables links", database, query="SELECT x FROM links")


def test_a_query_cannot_write(database):
    refused("the query failed", database, query="DELETE FROM links")
    assert named(load_graph(database, query=SELECT, split=(0.0, 0.0))) == FACTS


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{other}' AS other",
        "VACUUM INTO '{other}'",
        "COPY (SELECT 'x') TO '{other}'",
        "EXPORT DATABASE '{other}'",
        "SELECT * FROM read_csv('{secret}')",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ],
)
def test_a_query_reaches_no_other_file(database, tmp_path, query):
    secret, other = tmp_path / "secret.csv", tmp_path / "other"
    secret.write_text("head,relation,tail\na,1,b\n")
    refused("the query failed", database, query=query.format(secret=secret, other=other))
    assert not other.exists()


def test_a_query_with_other_columns(database):
    refused("unfit columns: origin (String)", database, query="SELECT origin, goal FROM links")
    refused("unfit columns", database, query="SELECT origin source, goal target, kind x FROM links")
    refused("columns of the same name", database, query="SELECT kind, kind, kind FROM links")


def test_a_value_that_is_null(database):
    refused("row 2: empty tail", database, query="SELECT origin, kind, note FROM links")


def test_rows_with_null_may_be_dropped(database, tmp_path):
    query = "SELECT origin, kind, note FROM links"
    options = {"on_defect": "drop", "dropped_file": str(tmp_path / "dropped.tsv")}
    graph = load_graph(database, query=query, split=(0.0, 0.0), **options)
    assert named(graph) == [("a", "1", "x")] and graph.notes == {"dropped: empty tail": 1}


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "facts.db").write_text("a\tr\tb\n")
    refused("facts.db: neither SQLite nor DuckDB", tmp_path / "facts.db", query=SELECT)


def test_without_duckdb_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "facts.duckdb").write_bytes(b"00000000DUCK0000")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    refused("reading it needs duckdb; run pip install", tmp_path / "facts.duckdb", query=SELECT)
