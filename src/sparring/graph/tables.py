"""One file in, frames of rows out, whatever kind of file it is."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from sparring.graph.files import PARQUET, RDF, TEXT, kind
from sparring.graph.findings import Example, Finding, Report, shown
from sparring.graph.rdf import rdf_frames
from sparring.graph.text import text_frames

TRIPLE = ("head", "relation", "tail")
HEADERS = (TRIPLE, ("subject", "predicate", "object"))
ROWS = 1_000_000
PLACE = {PARQUET: "row", **dict.fromkeys(TEXT, "line"), **dict.fromkeys(RDF, "statement")}


def place(path: Path, line: int) -> str:
    """Where a row stands, in words: "line 17", "row 17" or "statement 17", counted from 1."""
    return f"{PLACE[kind(path)]} {line}"


def triple_frames(path: Path, report: Report) -> Iterator[pl.DataFrame]:
    """Columns line, head, relation and tail: names as strings or, from Parquet, ids as integers.

    A first line that reads head, relation, tail or subject, predicate, object is left out.
    """
    first = True
    for frame in frames(path, TRIPLE, report):
        if first and kind(path) in TEXT and frame.row(0)[1:] in HEADERS:
            remedy = "nothing to do: it was left out"
            example = Example(place(path, 1), shown(list(frame.row(0)[1:])))
            report(Finding(str(path), "header line", remedy, (example,), severity="note"))
            frame = frame[1:]
        first = False
        if len(frame):
            yield frame


def frames(
    path: Path, columns: tuple[str, ...], report: Report, more: bool = False
) -> Iterator[pl.DataFrame]:
    """The rows of a file under the given column names, with a column "line" in front.

    Args:
        more: whether the file may have further columns, which are ignored.
    """
    if kind(path) in TEXT:
        return text_frames(path, columns, report, more)
    if kind(path) == PARQUET:
        return _parquet_frames(path, columns, report, more)
    return rdf_frames(path, columns, report)


def _parquet_frames(
    path: Path, columns: tuple[str, ...], report: Report, more: bool
) -> Iterator[pl.DataFrame]:
    table = parquet(path, report)
    names = tuple(table.columns)
    fits = names in HEADERS if columns == TRIPLE else len(names) >= len(columns)
    ids = all(dtype.is_integer() for dtype in table.dtypes)
    strings = all(_holds_names(column) for column in table.get_columns()[: len(columns)])
    if not fits or not (strings or (ids and columns == TRIPLE)):
        wanted = f"give the columns {', '.join(columns)}"
        types = "all of strings" if columns != TRIPLE else "all of strings or all of integer ids"
        found = ", ".join(f"{name} ({dtype})" for name, dtype in table.schema.items()) or "nothing"
        report(Finding(str(path), "unfit columns", f"{wanted}, {types}", (Example(value=found),)))
        return
    table = table.select(table.columns[: len(columns)]).with_row_index("line", offset=1)
    table.columns = ["line", *columns]
    if strings:
        table = table.with_columns(pl.col(columns).cast(pl.String))
    for frame in table.iter_slices(ROWS):
        yield _filled(path, frame, columns, report)


def parquet(path: Path, report: Report) -> pl.DataFrame:
    """A whole Parquet file; an empty frame where it is not one, which is reported."""
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        why = (Example(value=shown(str(error))),)
        report(Finding(str(path), "no readable Parquet file", "write it again", why))
        return pl.DataFrame()


def _holds_names(column: pl.Series) -> bool:
    return column.dtype == pl.String or isinstance(column.dtype, pl.Categorical | pl.Enum)


def _filled(
    path: Path, frame: pl.DataFrame, columns: tuple[str, ...], report: Report
) -> pl.DataFrame:
    """The rows without an empty field; the others are reported."""
    for column in columns:
        empty = frame[column].is_null()
        if frame[column].dtype == pl.String:
            empty |= frame[column] == ""
        if not empty.any():
            continue
        for row in frame.filter(empty).iter_rows():
            example = Example(place(path, row[0]), shown(list(row[1:])))
            remedy = "name it, or delete the row"
            report(Finding(str(path), f"empty {column}", remedy, (example,)))
        frame = frame.filter(~empty)
    return frame
