"""Type-ahead over names and labels, answered within milliseconds at a million names."""

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparring.serve.database import Database

Kind = Literal["entity", "relation", "type"]
APPLICATION = 0x5350524C  # "SPRL"
WORDS = re.compile(r"\w+")

MIGRATIONS = (
    """
    CREATE TABLE source (digest TEXT NOT NULL) STRICT;
    CREATE TABLE label (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, label TEXT NOT NULL
    ) STRICT;
    CREATE INDEX whole_name ON label (name COLLATE NOCASE);
    CREATE INDEX whole_label ON label (label COLLATE NOCASE);
    CREATE VIRTUAL TABLE words USING fts5 (
        kind, name, label, content = 'label', content_rowid = 'id', columnsize = 0,
        detail = 'column', prefix = '1 2 3', tokenize = "unicode61 remove_diacritics 2"
    );
    """,
)


@dataclass(frozen=True)
class Label:
    """A name, and the label that it is shown by.

    Attributes:
        text: what to type for it: the label, if it means nothing else; the name otherwise.
    """

    name: str
    label: str
    text: str


class LabelIndex:
    """Names and labels of a graph, in a SQLite file that can be rebuilt at any time.

    Rows are numbered by how often a name is used, so that the most used matches come first without
    sorting.

    Args:
        path: the file; made where it is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.database = Database(path, APPLICATION, MIGRATIONS)

    def build(self, digest: str, labels: Iterable[tuple[Kind, str, str]]) -> bool:
        """Index (kind, name, label) rows, the most used first, unless the file has them already.

        Args:
            digest: of the rows; a file with the same digest stays as it is.

        Returns:
            whether anything was written.
        """
        with self.database.write() as connection:
            found = connection.execute("SELECT digest FROM source").fetchone()
            if found and found["digest"] == digest:
                return False
            connection.execute("DELETE FROM source")
            connection.execute("DELETE FROM label")
            connection.executemany("INSERT INTO label (kind, name, label) VALUES (?, ?, ?)", labels)
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            connection.execute("INSERT INTO source VALUES (?)", (digest,))
        return True

    def search(self, text: str, kind: Kind, count: int = 10) -> list[Label]:
        """Names that begin with the text or contain words that begin with its words.

        Those that equal the text come first, then the most used ones.
        """
        with self.database.read() as connection:
            whole = connection.execute(
                "SELECT name, label FROM label WHERE kind = ?1 AND id IN ("
                "SELECT id FROM label WHERE name = ?2 COLLATE NOCASE UNION "
                "SELECT id FROM label WHERE label = ?2 COLLATE NOCASE) ORDER BY id LIMIT ?3",
                (kind, text, count),
            ).fetchall()
            rows: list[sqlite3.Row] = []
            words = WORDS.findall(text.replace("_", " "))
            if words:
                match = " ".join([*(f'"{word}"' for word in words[:-1]), f'"{words[-1]}"*'])
                rows = connection.execute(
                    "SELECT label.name, label.label FROM words JOIN label ON label.id = words.rowid"
                    " WHERE words MATCH ? ORDER BY words.rowid LIMIT ?",
                    (f'kind : "{kind}" AND {{name label}} : ({match})', count + len(whole)),
                ).fetchall()
            elif not text:
                rows = connection.execute(
                    "SELECT name, label FROM label WHERE kind = ? ORDER BY id LIMIT ?",
                    (kind, count),
                ).fetchall()
            found = list(dict.fromkeys((row["name"], row["label"]) for row in (*whole, *rows)))
            return [
                Label(name, label, _text(connection, name, label, kind))
                for name, label in found[:count]
            ]

    def text(self, name: str, label: str, kind: Kind) -> str:
        """What to type for a name: its label, if it means nothing else; the name otherwise."""
        with self.database.read() as connection:
            return _text(connection, name, label, kind)

    def close(self) -> None:
        """Close the file."""
        self.database.close()


def _text(connection: sqlite3.Connection, name: str, label: str, kind: Kind) -> str:
    if label in ("", name):
        return name
    others = connection.execute(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM label WHERE label = ?1 COLLATE NOCASE"
        " AND label = ?1 AND kind = ?2 LIMIT 2)) + (SELECT count(*) FROM label"
        " WHERE name = ?1 COLLATE NOCASE AND name = ?1 AND kind = ?2)",
        (label, kind),
    ).fetchone()
    return label if others[0] == 1 else name
