"""Answers to queries by name, as tables, files and text."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import polars as pl

from sparring.evaluation.display import Result
from sparring.printing import cell, to_json


@dataclass(frozen=True)
class Answer:
    """One entity or relation that answers one query.

    Attributes:
        query: position of the query, from 0.
        head, relation, tail: the query, by name; "?" for what is predicted.
        rank: 1 is best; among the candidates that were not left out.
        name, label: the answer, by name and by label.
        score: of the model, in its own units; higher is more plausible.
        known: whether this is a fact of the graph, in any split.
        probability: that the triple is true; None without a calibration. See `fit_calibration`.
    """

    query: int
    head: str
    relation: str
    tail: str
    rank: int
    name: str
    label: str
    score: float
    known: bool
    probability: float | None = None


@dataclass(frozen=True, repr=False)
class Prediction(Result):
    """Answers in the order of the queries, best first.

    Attributes:
        answers: those of all queries.
        left_out: what is not among the answers, in words.
    """

    answers: tuple[Answer, ...]
    left_out: tuple[str, ...] = ()

    def to_polars(self) -> pl.DataFrame:
        """One row per answer, one column per field of `Answer`."""
        return pl.DataFrame([asdict(answer) for answer in self.answers], schema=_SCHEMA)

    def shown(self) -> pl.DataFrame:
        """Each query once, in one column; labels and probabilities only where there are any."""
        query = pl.format("{}  {}  {}", "head", "relation", "tail")
        query = pl.when(pl.col("rank") == 1).then(query).otherwise(pl.lit("")).alias("query")
        frame = self.to_polars()
        label = ["label"] if (frame["label"] != frame["name"]).any() else []
        probability = ["probability"] if frame["probability"].count() else []
        return frame.select(query, "rank", "name", *label, "score", *probability, "known")

    def caption(self) -> str:
        """What is left out, as a sentence; empty for nothing."""
        return f"Left out: {', '.join(self.left_out)}." if self.left_out else ""

    def csv(self) -> str:
        """Comma-separated values with a header; strings are quoted (RFC 4180).

        Control characters of names are written out, as `printable` does, and names that a
        spreadsheet would take for formulas begin with an apostrophe. `json` changes no name.
        """
        return to_csv(list(_SCHEMA), [list(asdict(answer).values()) for answer in self.answers])

    def json(self) -> str:
        """A list of objects, one per answer; an infinite score is null."""
        rows = [asdict(answer) for answer in self.answers]
        for row in rows:
            row["score"] = row["score"] if math.isfinite(row["score"]) else None
        return to_json(rows, allow_nan=False)


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Comma-separated values; strings are quoted, and safe to show as `cell` makes them."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [cell(value) if isinstance(value, str) else value for value in row] for row in rows
    )
    return text.getvalue()


_SCHEMA: dict[str, Any] = {
    field.name: pl.Float64 if field.name == "probability" else field.type
    for field in fields(Answer)
}
