"""What people decided about triples that the graph lacks: decisions, undo, verdicts, progress."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from sparring.serve.database import Database

Decision = Literal["accept", "reject", "unsure"]
Verdict = Literal["accepted", "rejected", "disputed", "unsure"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
APPLICATION = 0x53505247  # "SPRG"

MIGRATIONS = (
    """
    CREATE TABLE review (
        id INTEGER PRIMARY KEY,
        head TEXT NOT NULL,
        relation TEXT NOT NULL,
        tail TEXT NOT NULL,
        reviewer TEXT NOT NULL,
        decision TEXT NOT NULL CHECK (decision IN ('accept', 'reject', 'unsure')),
        probability REAL,
        model TEXT NOT NULL DEFAULT '',
        decided_at TEXT NOT NULL,
        undone_at TEXT,
        replaced_by INTEGER REFERENCES review (id)
    ) STRICT;
    CREATE UNIQUE INDEX one_decision_per_reviewer ON review (head, relation, tail, reviewer)
        WHERE undone_at IS NULL AND replaced_by IS NULL;
    CREATE INDEX latest_of_reviewer ON review (reviewer, id);
    CREATE VIEW current AS
        SELECT * FROM review WHERE undone_at IS NULL AND replaced_by IS NULL;
    CREATE VIEW verdict AS
        SELECT head, relation, tail, accepts, rejects, unsure, reviewers, probability, decided_at,
            CASE WHEN accepts > rejects THEN 'accepted' WHEN rejects > accepts THEN 'rejected'
                WHEN accepts > 0 THEN 'disputed' ELSE 'unsure' END AS verdict
        FROM (
            SELECT head, relation, tail, sum(decision = 'accept') AS accepts,
                sum(decision = 'reject') AS rejects, sum(decision = 'unsure') AS unsure,
                count(*) AS reviewers, avg(probability) AS probability,
                max(decided_at) AS decided_at
            FROM current GROUP BY head, relation, tail
        );
    CREATE TABLE candidate (
        model TEXT NOT NULL,
        head TEXT NOT NULL,
        relation TEXT NOT NULL,
        tail TEXT NOT NULL,
        probability REAL NOT NULL,
        reserved_by TEXT NOT NULL DEFAULT '',
        reserved_until REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (model, head, relation, tail)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX by_probability ON candidate (model, probability);
    CREATE INDEX by_uncertainty ON candidate (model, abs(probability - 0.5));
    CREATE INDEX by_relation ON candidate (model, relation, probability);
    """,
    """
    CREATE TABLE scan (model TEXT PRIMARY KEY, queries INTEGER NOT NULL) STRICT;
    """,
)


class Triple(NamedTuple):
    """Head, relation and tail by name."""

    head: str
    relation: str
    tail: str


@dataclass(frozen=True)
class Reviewed:
    """A triple that somebody has decided on, and what the reviewers say together.

    Attributes:
        accepts, rejects, unsure: how many reviewers decided so; the last decision of each counts.
        verdict: that of the majority; "disputed" for as many accepts as rejects.
        probability: mean of those that the reviewers saw; None without a calibration.
        decided_at: time of the last decision, in UTC.
    """

    head: str
    relation: str
    tail: str
    verdict: Verdict
    accepts: int
    rejects: int
    unsure: int
    probability: float | None
    decided_at: str

    @property
    def triple(self) -> Triple:
        """Head, relation and tail."""
        return Triple(self.head, self.relation, self.tail)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON can hold them."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """How far the review has come.

    Attributes:
        verdicts: reviewed triples by verdict.
        reviewers: decisions by reviewer and kind.
        waiting: candidates in the queue that nobody has decided on.
        precision: triples that reviewers agreed on, by the probability that the model gave them:
            lower bound, upper bound, number, and the fraction that was accepted.
    """

    verdicts: dict[str, int]
    reviewers: dict[str, dict[str, int]]
    waiting: int
    precision: tuple[tuple[float, float, int, float], ...]


class Reviews:
    """Decisions of reviewers in a database of their own.

    Args:
        path: the SQLite file; made where it is missing.

    Raises:
        DatabaseError: for a file of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.database = Database(path, APPLICATION, MIGRATIONS)

    def record(
        self,
        decisions: Sequence[tuple[Triple, Decision]],
        reviewer: str,
        *,
        probabilities: Sequence[float | None] | None = None,
        model: str = "",
    ) -> list[int]:
        """Keep decisions; all of them are on disk when this returns, or none.

        A decision replaces an earlier one of the same reviewer on the same triple.

        Args:
            probabilities: what the model said of each triple.
            model: identity of the model.

        Returns:
            the number of each decision.
        """
        probabilities = [None] * len(decisions) if probabilities is None else probabilities
        with self.database.write() as connection:
            numbers = []
            for (triple, decision), probability in zip(decisions, probabilities, strict=True):
                (number,) = connection.execute(
                    "SELECT ifnull(max(id), 0) + 1 FROM review"
                ).fetchone()
                former = connection.execute(
                    "SELECT id FROM current WHERE (head, relation, tail, reviewer) = (?, ?, ?, ?)",
                    (*triple, reviewer),
                ).fetchone()
                if former:  # for a moment it replaces itself, since the new one is not there yet
                    connection.execute(
                        "UPDATE review SET replaced_by = id WHERE id = ?", (former["id"],)
                    )
                connection.execute(
                    "INSERT INTO review (id, head, relation, tail, reviewer, decision, probability,"
                    " model, decided_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, *triple, reviewer, decision, probability, model, _now()),
                )
                if former:
                    connection.execute(
                        "UPDATE review SET replaced_by = ? WHERE id = ?", (number, former["id"])
                    )
                numbers.append(number)
        return numbers

    def undo(self, reviewer: str) -> tuple[Triple, Decision] | None:
        """Take back the reviewer's last decision; the one that it replaced holds again.

        Returns:
            what was taken back; None if there was nothing.
        """
        with self.database.write() as connection:
            last = connection.execute(LAST, (reviewer,)).fetchone()
            if last is None:
                return None
            connection.execute("UPDATE review SET undone_at = ? WHERE id = ?", (_now(), last["id"]))
            connection.execute(
                "UPDATE review SET replaced_by = NULL WHERE replaced_by = ?", (last["id"],)
            )
        return Triple(last["head"], last["relation"], last["tail"]), last["decision"]

    def last(self, reviewer: str) -> tuple[Triple, Decision] | None:
        """The decision that `undo` would take back."""
        with self.database.read() as connection:
            last = connection.execute(LAST, (reviewer,)).fetchone()
        return last and (Triple(last["head"], last["relation"], last["tail"]), last["decision"])

    def reviewed(
        self, verdict: Verdict | None = None, *, limit: int = -1, offset: int = 0
    ) -> list[Reviewed]:
        """Triples that somebody has decided on, in the order of head, relation and tail.

        Args:
            verdict: only these.
            limit: how many, at most; all by default.
        """
        return list(self.each_reviewed(verdict, limit=limit, offset=offset))

    def each_reviewed(
        self, verdict: Verdict | None = None, *, limit: int = -1, offset: int = 0
    ) -> Iterator[Reviewed]:
        """The same, one by one."""
        columns = ", ".join(Reviewed.__dataclass_fields__)
        query = (
            f"SELECT {columns} FROM verdict WHERE ?1 IS NULL OR verdict = ?1 "
            "ORDER BY head, relation, tail LIMIT ?2 OFFSET ?3"
        )
        with self.database.read() as connection:
            for row in connection.execute(query, (verdict, limit, offset)):
                yield Reviewed(**row)

    def decisions_on(self, triples: Sequence[Triple]) -> dict[Triple, Reviewed]:
        """What was decided on some triples; those without a decision are left out."""
        columns = ", ".join(Reviewed.__dataclass_fields__)
        query = f"SELECT {columns} FROM verdict WHERE (head, relation, tail) = (?, ?, ?)"
        found: dict[Triple, Reviewed] = {}
        with self.database.read() as connection:
            for triple in triples:
                if row := connection.execute(query, tuple(triple)).fetchone():
                    found[triple] = Reviewed(**row)
        return found

    def progress(self, model: str = "") -> Progress:
        """How far the review has come.

        Args:
            model: whose candidates are counted.
        """
        with self.database.read() as connection:
            verdicts: dict[str, int] = {name: 0 for name in VERDICTS} | {
                row["verdict"]: row["number"]
                for row in connection.execute(
                    "SELECT verdict, count(*) AS number FROM verdict GROUP BY verdict"
                )
            }
            reviewers: dict[str, dict[str, int]] = {}
            for reviewer, decision, number in connection.execute(
                "SELECT reviewer, decision, count(*) FROM current GROUP BY 1, 2 ORDER BY 1"
            ):
                reviewers.setdefault(reviewer, dict.fromkeys(DECISIONS, 0))[decision] = number
            (waiting,) = connection.execute(
                f"SELECT count(*) FROM candidate AS c WHERE model = ? AND NOT {DECIDED}",
                (model,),
            ).fetchone()
            precision = connection.execute(
                "SELECT min(CAST(probability * 5 AS INTEGER), 4) AS bin, count(*), "
                "avg(verdict = 'accepted') FROM verdict WHERE probability IS NOT NULL "
                "AND verdict IN ('accepted', 'rejected') GROUP BY bin ORDER BY bin DESC"
            ).fetchall()
        bins = tuple((bin / 5, (bin + 1) / 5, number, share) for bin, number, share in precision)
        return Progress(verdicts, reviewers, waiting, bins)

    def close(self) -> None:
        """Close the file."""
        self.database.close()


LAST = (
    "SELECT id, head, relation, tail, decision FROM current WHERE reviewer = ? "
    "ORDER BY id DESC LIMIT 1"
)
# of a candidate c: whether somebody has accepted or rejected it
DECIDED = (
    "EXISTS (SELECT 1 FROM current AS r WHERE (r.head, r.relation, r.tail) = "
    "(c.head, c.relation, c.tail) AND r.decision != 'unsure')"
)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
