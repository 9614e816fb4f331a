"""A SQLite file that several processes may write to, with a versioned schema."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue

WAIT = 30.0  # seconds for another writer


class DatabaseError(ValueError):
    """A file that is no database of this kind; the message names it."""


class Database:
    """Connections to one SQLite file in WAL mode.

    A write is acknowledged once it is on disk. A process that is killed loses only what it has not
    acknowledged. Any number of threads and processes may use the file at once.

    Args:
        path: the file; made where it is missing.
        application: a number in the header of the file, which says what the file is for.
        migrations: SQL scripts. Script i leads from version i of the schema to version i + 1.

    Raises:
        DatabaseError: for a file of another kind, or of a later version.
    """

    def __init__(self, path: str | Path, application: int, migrations: Sequence[str]) -> None:
        self.path = Path(path)
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        try:
            self._migrate(application, migrations)
        except sqlite3.Error as error:
            raise DatabaseError(f"{self.path}: {error}; name another file") from None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.put(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk afterwards, or none of it."""
        with self.read() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close all connections; the last one merges the log into the file."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=WAIT, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _migrate(self, application: int, migrations: Sequence[str]) -> None:
        with self.read() as connection:
            version, found = self._version(connection), _pragma(connection, "application_id")
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and found != application:
                raise DatabaseError(f"{self.path} is a database of another program; name another")
            if version > len(migrations):
                raise DatabaseError(
                    f"{self.path} has version {version}, but this version of sparring reads up to "
                    f"{len(migrations)}; install the version that wrote it, or a later one"
                )
            connection.execute("PRAGMA journal_mode = WAL")
        if version == len(migrations):
            return
        with self.write() as connection:
            # another process may have done it meanwhile
            for number in range(self._version(connection), len(migrations)):
                for statement in _statements(migrations[number]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute(f"PRAGMA application_id = {application}")

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would end the transaction."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""
