import sqlite3
import threading

import pytest

from sparring.serve.database import Database, DatabaseError

ONE = "CREATE TABLE item (text TEXT NOT NULL) STRICT;"
TWO = "ALTER TABLE item ADD COLUMN size INTEGER; CREATE INDEX sizes ON item (size);"


def add(database, text):
    with database.write() as connection:
        connection.execute("INSERT INTO item (text) VALUES (?)", (text,))


def texts(database):
    with database.read() as connection:
        return [row["text"] for row in connection.execute("SELECT text FROM item ORDER BY text")]


def test_a_schema_grows_and_keeps_what_is_there(tmp_path):
    old = Database(tmp_path / "a.db", 7, [ONE])
    add(old, "a")
    old.close()
    new = Database(tmp_path / "a.db", 7, [ONE, TWO])
    assert texts(new) == ["a"]
    with new.read() as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 2
        assert connection.execute("SELECT size FROM item").fetchone()[0] is None
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_later_version_and_other_files_are_refused(tmp_path):
    Database(tmp_path / "a.db", 7, [ONE, TWO]).close()
    with pytest.raises(DatabaseError, match=r"version 2.*up to 1"):
        Database(tmp_path / "a.db", 7, [ONE])
    with pytest.raises(DatabaseError, match="another program"):
        Database(tmp_path / "a.db", 8, [ONE, TWO])
    (tmp_path / "text.db").write_text("no database at all, but a text of some length" * 40)
    with pytest.raises(DatabaseError, match="not a database"):
        Database(tmp_path / "text.db", 7, [ONE])
    with pytest.raises(DatabaseError, match="unable to open"):
        Database(tmp_path / "no" / "folder.db", 7, [ONE])


def test_a_failed_migration_leaves_the_old_version(tmp_path):
    Database(tmp_path / "a.db", 7, [ONE]).close()
    with pytest.raises(DatabaseError, match="syntax"):
        Database(tmp_path / "a.db", 7, [ONE, TWO + "NONSENSE;"])
    database = Database(tmp_path / "a.db", 7, [ONE, TWO])
    add(database, "a")
    assert texts(database) == ["a"]


def test_a_write_is_kept_as_a_whole_or_not_at_all(tmp_path):
    database = Database(tmp_path / "a.db", 7, [ONE])
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO item VALUES ('a')")
        connection.execute("INSERT INTO item VALUES (NULL)")
    assert texts(database) == []


def test_many_threads_and_two_openings_write_at_once(tmp_path):
    databases = [Database(tmp_path / "a.db", 7, [ONE]) for _ in range(2)]
    wanted = sorted(f"{number:03}" for number in range(200))

    def write(part):
        for text in wanted[part::8]:
            add(databases[part % 2], text)

    threads = [threading.Thread(target=write, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts(databases[0]) == texts(databases[1]) == wanted
