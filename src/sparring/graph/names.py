"""Which names a graph has and which id each gets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.graph.files import PARQUET, TEXT, blocks, find, kind
from sparring.graph.findings import EXAMPLES, Example, Finding, GraphError, Report, shown
from sparring.graph.tables import frames, parquet, place


def numbered(columns: Sequence[pl.Series]) -> tuple[pl.Series, list[Int[Tensor, "T"]]]:
    """All distinct names, sorted by code point, and each column of names as ids.

    Sorting makes ids independent of the order of rows and of the number of threads.

    Args:
        columns: categorical columns, which share one global table of codes.
    """
    none = pl.Series(dtype=pl.Categorical)
    seen = pl.concat([none, *(column.unique() for column in columns)]).unique()
    spelled = seen.cast(pl.String)
    order = spelled.arg_sort().to_numpy()
    code = seen.to_physical().to_numpy()[order]
    rank = np.zeros(int(code.max(initial=0)) + 1, dtype=np.int64)
    rank[code] = np.arange(len(code))
    ids = [torch.from_numpy(rank[column.to_physical().to_numpy()]) for column in columns]
    return spelled.gather(order), ids


def listed(folder: Path, stem: str, report: Report) -> pl.DataFrame:
    """The names that ids speak of, as given in a file: columns name and kind, by id.

    Text has lines of a name, whose id is its place from 0, or of an id and a name. Parquet has
    a column name, or the columns kind and key, which make the name kind:key, and may have a
    column id. Where there is no kind, it is null.

    Raises:
        GraphError: if there is no such file, or its ids are not 0, 1, 2, ... of distinct names.
    """
    path = find(folder, stem, report)
    if path is None:
        remedy = f"put a file {stem}.tsv with the columns id and name next to the triples"
        problem = f"triples hold ids, but no file {stem} names them"
        raise GraphError(Finding(str(folder), problem, remedy))
    table = _named_rows(path, report) if kind(path) == PARQUET else _named_lines(path, report)
    return _in_order(path, table)


def _named_lines(path: Path, report: Report) -> pl.DataFrame:
    first = next(blocks(path, report), b"").partition(b"\n")[0].decode(errors="replace")
    numbered = kind(path) not in TEXT or TEXT[kind(path)] in first
    columns = ("id", "name") if numbered else ("name",)
    parts = list(frames(path, columns, report))
    schema = {"line": pl.UInt32, **dict.fromkeys(columns, pl.String)}
    table = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    if not numbered:
        return _with_place(table)
    ids = table["id"].cast(pl.Int64, strict=False)
    for line, number in table.filter(ids.is_null()).select("line", "id").iter_rows():
        example = Example(place(path, line), shown(number))
        remedy = "give whole numbers from 0 in the first column and names in the second"
        report(Finding(str(path), "an id that is no number", remedy, (example,)))
    table = table.with_columns(ids.alias("id"), kind=pl.lit(None, pl.String))
    return table.filter(pl.col("id").is_not_null())


def _named_rows(path: Path, report: Report) -> pl.DataFrame:
    table = parquet(path, report)
    if {"kind", "key"} <= set(table.columns):
        text = pl.col("kind", "key").cast(pl.String)
        table = table.with_columns(text).with_columns(name=pl.format("{}:{}", "kind", "key"))
    if "name" not in table.columns:
        example = Example(value=", ".join(table.columns) or "nothing")
        remedy = "give a column name, or the columns kind and key; and id, unless in order from 0"
        raise GraphError(Finding(str(path), "unfit columns", remedy, (example,)))
    if "kind" not in table.columns:
        table = table.with_columns(kind=pl.lit(None, pl.String))
    table = table.with_row_index("line", offset=1).with_columns(pl.col("name").cast(pl.String))
    return table if "id" in table.columns else _with_place(table)


def _with_place(table: pl.DataFrame) -> pl.DataFrame:
    """Ids counted from 0."""
    if "kind" not in table.columns:
        table = table.with_columns(kind=pl.lit(None, pl.String))
    return table.with_columns(id=pl.int_range(pl.len(), dtype=pl.Int64))


def _in_order(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    """Names and kinds by id."""
    bad = {
        "a name that is empty": pl.col("name").fill_null("") == "",
        "a name that occurs twice": pl.col("name").is_duplicated(),
        "an id that occurs twice": pl.col("id").is_duplicated(),
        "an id beyond the number of names": ~pl.col("id").is_between(0, pl.len() - 1),
    }
    for problem, condition in bad.items():
        rows = table.filter(condition).sort("line").select("line", "id", "name")
        if not len(rows):
            continue
        examples = tuple(
            Example(place(path, line), shown([number, name]))
            for line, number, name in rows.head(EXAMPLES).iter_rows()
        )
        remedy = "number distinct names 0, 1, 2, ... without gaps"
        raise GraphError(Finding(str(path), problem, remedy, examples, len(rows)))
    return table.sort("id").select("name", "kind")
