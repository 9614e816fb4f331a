"""The queue of probably missing facts that reviewers go through."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from sparring.serve.reviews import DECIDED, Reviews, Triple

Order = Literal["probability", "uncertainty", "relation"]
ORDERS: tuple[Order, ...] = get_args(Order)
ORDER_BY = {
    "probability": "probability DESC",
    "uncertainty": "abs(probability - 0.5)",
    "relation": "relation, probability DESC",
}
RESERVED_FOR = 300.0  # seconds
PER_RELATION = 100  # candidates that are kept however improbable they are


@dataclass(frozen=True)
class Candidate:
    """A triple that the graph lacks.

    Attributes:
        probability: that it is true; see `fit_calibration`.
    """

    head: str
    relation: str
    tail: str
    probability: float

    @property
    def triple(self) -> Triple:
        """Head, relation and tail."""
        return Triple(self.head, self.relation, self.tail)


class ReviewQueue:
    """Candidates of one model, in the database of the reviews.

    Args:
        reviews: where decisions are kept.
        model: identity of the model.
    """

    def __init__(self, reviews: Reviews, model: str) -> None:
        self.reviews, self.model = reviews, model

    def add(self, candidates: Iterable[Candidate]) -> int:
        """Add candidates; those that are there already keep their place.

        Returns:
            how many were new.
        """
        rows = [(self.model, *each.triple, each.probability) for each in candidates]
        with self.reviews.database.write() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO candidate (model, head, relation, tail, probability) "
                "VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            return connection.total_changes - before

    def trim(self, most: int) -> None:
        """Drop all but the most probable candidates.

        Args:
            most: how many stay; `PER_RELATION` of each relation stay on top of that.
        """
        with self.reviews.database.write() as connection:
            connection.execute(
                """
                DELETE FROM candidate WHERE model = ?1 AND (head, relation, tail) IN (
                    SELECT head, relation, tail FROM (
                        SELECT head, relation, tail,
                            row_number() OVER (ORDER BY probability DESC) AS place,
                            row_number() OVER (PARTITION BY relation ORDER BY probability DESC)
                                AS own_place
                        FROM candidate WHERE model = ?1
                    ) WHERE place > ?2 AND own_place > ?3)""",
                (self.model, most, PER_RELATION),
            )

    @property
    def asked(self) -> int:
        """How many queries the candidates come from."""
        with self.reviews.database.read() as connection:
            query = "SELECT queries FROM scan WHERE model = ?"
            found = connection.execute(query, (self.model,)).fetchone()
        return found["queries"] if found else 0

    @asked.setter
    def asked(self, queries: int) -> None:
        with self.reviews.database.write() as connection:
            connection.execute(
                "INSERT INTO scan VALUES (?1, ?2) ON CONFLICT (model) "
                "DO UPDATE SET queries = max(queries, ?2)",
                (self.model, queries),
            )

    def next(
        self,
        reviewer: str,
        *,
        order: Order = "probability",
        relation: str | None = None,
        count: int = 1,
        reserve: bool = True,
    ) -> list[Candidate]:
        """What a reviewer should decide on next.

        Left out are candidates that somebody has accepted or rejected, that this reviewer was
        unsure of, or that another reviewer has on the screen.

        Args:
            relation: only candidates of this relation.
            count: how many, at most.
            reserve: keep them from others for `RESERVED_FOR` seconds.
        """
        now = time.time()
        query = f"""
            SELECT head, relation, tail, probability FROM candidate AS c
            WHERE model = ? {"" if relation is None else "AND relation = ?"}
                AND (reserved_until < ? OR reserved_by = ?) AND NOT {DECIDED}
                AND NOT EXISTS (SELECT 1 FROM current AS r WHERE (r.head, r.relation, r.tail,
                    r.reviewer) = (c.head, c.relation, c.tail, ?))
            ORDER BY {ORDER_BY[order]} LIMIT ?"""
        which = () if relation is None else (relation,)
        with self.reviews.database.write() as connection:
            if reserve:
                connection.execute(
                    "UPDATE candidate SET reserved_by = '', reserved_until = 0 "
                    "WHERE model = ? AND reserved_by = ?",
                    (self.model, reviewer),
                )
            rows = connection.execute(
                query, (self.model, *which, now, reviewer, reviewer, count)
            ).fetchall()
            if reserve:
                connection.executemany(
                    "UPDATE candidate SET reserved_by = ?, reserved_until = ? "
                    "WHERE (model, head, relation, tail) = (?, ?, ?, ?)",
                    [(reviewer, now + RESERVED_FOR, self.model, *tuple(row)[:3]) for row in rows],
                )
        return [Candidate(**row) for row in rows]

    def relations(self) -> list[tuple[str, int]]:
        """Relations of the candidates, with the number of each; the most frequent first."""
        with self.reviews.database.read() as connection:
            return [
                (row[0], row[1])
                for row in connection.execute(
                    "SELECT relation, count(*) FROM candidate WHERE model = ? "
                    "GROUP BY relation ORDER BY 2 DESC, 1",
                    (self.model,),
                )
            ]

    def __len__(self) -> int:
        with self.reviews.database.read() as connection:
            query = "SELECT count(*) FROM candidate WHERE model = ?"
            return int(connection.execute(query, (self.model,)).fetchone()[0])
