"""Turns files of any format into triples of ids, each with the line it was read from.

`read_frames` and `read_triple_frames` read one file as data frames. `parse_files` reads all splits
of a graph and numbers its entities and relations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.data.columns import TRIPLE, Layout, table_columns, text_layout
from sparring.data.database import read_query
from sparring.data.diagnostics import EXAMPLES, Diagnostic, Example, GraphError, Report, shorten
from sparring.data.formats import (
    DATABASES,
    JSON_LINES,
    PARQUET,
    RDF,
    TEXT,
    file_format,
    find_table,
    read_blocks,
)
from sparring.data.options import ReadOptions
from sparring.data.rdf import Annotations, read_rdf_frames
from sparring.data.text import read_text_frames

ROWS_PER_FRAME = 1_000_000
DEFAULT = ReadOptions()
NO_TRIPLES = "no triples"
ROW_NAMES = {
    **dict.fromkeys(TEXT, "line"),
    **dict.fromkeys(JSON_LINES, "line"),
    **dict.fromkeys(RDF, "statement"),
}


def location(path: Path, line: int) -> str:
    """The location of a row in words: "line 17", "row 17" or "statement 17", counted from 1."""
    return f"{ROW_NAMES.get(file_format(path), 'row')} {line}"


def read_triple_frames(
    path: Path,
    report: Report,
    options: ReadOptions = DEFAULT,
    annotations: Annotations | None = None,
) -> Iterator[pl.DataFrame]:
    """Frames with the columns line, head, relation and tail.

    Head, relation and tail are names or, from Parquet, may be ids.

    Args:
        path: the file.
        report: receives diagnostics.
        options: how to read it.
        annotations: receives labels and types from RDF.
    """
    suffix = file_format(path)
    if suffix in TEXT:
        find = lambda first: _triple_layout(path, first, report, options)
        return read_text_frames(path, TRIPLE, report, options, find)
    if suffix in RDF:
        found = Annotations() if annotations is None else annotations
        return read_rdf_frames(path, TRIPLE, report, options, found)
    return _triples_of_table(path, report, options)


def _triple_layout(path: Path, first: list[str], report: Report, options: ReadOptions) -> Layout:
    layout = text_layout(path, first, options)
    if layout.header:
        order = ", ".join(str(position + 1) for position in layout.positions)
        hint = f"left out; head, relation and tail are its columns {order}"
        example = Example(location(path, 1), shorten(first))
        report(Diagnostic(str(path), "header line", hint, (example,), severity="note"))
    return layout


def read_frames(
    path: Path, columns: tuple[str, ...], report: Report, extra_columns: bool = False
) -> Iterator[pl.DataFrame]:
    """The rows of a file under the given column names, with a column "line" in front.

    The first columns are read, and text has no header.

    Args:
        path: the file.
        columns: names of the columns.
        report: receives diagnostics.
        extra_columns: whether the file may have more columns, which are ignored.
    """
    suffix = file_format(path)
    if suffix in TEXT:
        places = tuple(range(len(columns)))
        layout = Layout(places, len(columns), exact=not extra_columns)
        return read_text_frames(path, columns, report, DEFAULT, lambda _: layout)
    if suffix in RDF:
        return read_rdf_frames(path, columns, report, DEFAULT, Annotations())
    return _rows_of_table(path, columns, report)


def _triples_of_table(path: Path, report: Report, options: ReadOptions) -> Iterator[pl.DataFrame]:
    """Triples from a table whose columns have names."""
    table = _read_named(path, report, options)
    ordered = file_format(path) in DATABASES
    positions = table_columns(path, table.columns, options, ordered=ordered)
    found = table if positions is None else table[:, list(positions)]
    ids = file_format(path) == PARQUET and all(dtype.is_integer() for dtype in found.dtypes)
    if positions is None or not (ids or all(map(_is_text, found.get_columns()))):
        _report_unfit(path, table, TRIPLE, "all of strings or all of integer ids", report)
        return
    yield from _numbered_rows(path, found, TRIPLE, report)


def _rows_of_table(path: Path, columns: tuple[str, ...], report: Report) -> Iterator[pl.DataFrame]:
    table = _read_named(path, report, DEFAULT)
    found = table[:, : len(columns)]
    if len(found.columns) < len(columns) or not all(map(_is_text, found.get_columns())):
        _report_unfit(path, table, columns, "all of strings", report)
        return
    yield from _numbered_rows(path, found, columns, report)


def _numbered_rows(
    path: Path, table: pl.DataFrame, columns: tuple[str, ...], report: Report
) -> Iterator[pl.DataFrame]:
    table = table.with_row_index("line", offset=1)
    table.columns = ["line", *columns]
    if not table[columns[0]].dtype.is_integer():
        table = table.with_columns(pl.col(columns).cast(pl.String))
    for frame in table.iter_slices(ROWS_PER_FRAME):
        if len(rows := without_empty(path, frame, columns, report)):
            yield rows


def _report_unfit(
    path: Path, table: pl.DataFrame, columns: tuple[str, ...], types: str, report: Report
) -> None:
    found = ", ".join(f"{name} ({dtype})" for name, dtype in table.schema.items()) or "nothing"
    hint = f"give the columns {', '.join(columns)}, {types}"
    if columns == TRIPLE:
        hint += "; or choose them by name with columns (--columns)"
    report(Diagnostic(str(path), "unfit columns", hint, (Example(value=found),)))


def _read_named(path: Path, report: Report, options: ReadOptions) -> pl.DataFrame:
    """A table whose columns have names: Parquet, JSON lines, or the result of a query."""
    if file_format(path) == PARQUET:
        return read_parquet(path, report)
    if file_format(path) in JSON_LINES:
        return _read_json_lines(path, report)
    return read_query(path, options.query)


def _read_json_lines(path: Path, report: Report) -> pl.DataFrame:
    """Objects, one a line; numbers become strings."""
    content = b"".join(read_blocks(path, report))
    if not content.strip():
        return pl.DataFrame(schema=dict.fromkeys(TRIPLE, pl.String))
    try:
        table = pl.read_ndjson(content, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        hint = "write one object a line, with the same keys in each"
        why = (Example(value=shorten(str(error), 200)),)
        raise GraphError(Diagnostic(str(path), "no readable JSON lines", hint, why)) from error
    plain = [name for name, dtype in table.schema.items() if not dtype.is_nested()]
    return table.with_columns(pl.col(plain).cast(pl.String))


def read_parquet(path: Path, report: Report) -> pl.DataFrame:
    """A whole Parquet file; reports a file that is none, and returns an empty frame."""
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        why = (Example(value=shorten(str(error))),)
        report(Diagnostic(str(path), "no readable Parquet file", "write it again", why))
        return pl.DataFrame()


def _is_text(column: pl.Series) -> bool:
    return column.dtype == pl.String or isinstance(column.dtype, pl.Categorical | pl.Enum)


def without_empty(
    path: Path, frame: pl.DataFrame, columns: tuple[str, ...], report: Report
) -> pl.DataFrame:
    """The rows without an empty field. Other rows are reported."""
    for column in columns:
        empty = frame[column].is_null()
        if frame[column].dtype == pl.String:
            empty |= frame[column] == ""
        if not empty.any():
            continue
        for row in frame.filter(empty).iter_rows():
            example = Example(location(path, row[0]), shorten(list(row[1:])))
            hint = "name it, or delete the row"
            text = "\t".join("" if cell is None else str(cell) for cell in row[1:])
            report(Diagnostic(str(path), f"empty {column}", hint, (example,), row=text))
        frame = frame.filter(~empty)
    return frame


def number_names(columns: Sequence[pl.Series]) -> tuple[pl.Series, list[Int[Tensor, "T"]]]:
    """All distinct names, sorted by code point, and the ids of each column.

    Because names are sorted, ids depend neither on the order of rows nor on the number of threads.

    Args:
        columns: categorical columns that share one global table of codes.
    """
    none = pl.Series(dtype=pl.Categorical)
    seen = pl.concat([none, *(column.unique() for column in columns)]).unique()
    text = seen.cast(pl.String)
    order = text.arg_sort().to_numpy()
    code = seen.to_physical().to_numpy()[order]
    rank = np.zeros(int(code.max(initial=0)) + 1, dtype=np.int64)
    rank[code] = np.arange(len(code))
    ids = [torch.from_numpy(rank[column.to_physical().to_numpy()]) for column in columns]
    return text.gather(order), ids


def read_names(folder: Path, stem: str, report: Report) -> pl.DataFrame:
    """Names by id, as listed in a file: a frame with the columns name and kind.

    Each line of a text file has a name, whose id is its position from 0, or an id and a name.
    Parquet has a column name, or the columns kind and key, which make the name kind:key; it may
    have a column id. Where there is no kind, it is null.

    Raises:
        GraphError: if there is no such file, or its ids are not 0, 1, 2, ... of distinct names.
    """
    path = find_table(folder, stem, report)
    if path is None:
        hint = f"put a file {stem}.tsv with the columns id and name next to the triples"
        problem = f"triples hold ids, but no file {stem} names them"
        raise GraphError(Diagnostic(str(folder), problem, hint))
    read = _read_name_rows if file_format(path) == PARQUET else _read_name_lines
    return _sorted_by_id(path, read(path, report))


def _read_name_lines(path: Path, report: Report) -> pl.DataFrame:
    first = next(read_blocks(path, report), b"").partition(b"\n")[0].decode(errors="replace")
    has_ids = file_format(path) not in TEXT or TEXT[file_format(path)] in first
    columns = ("id", "name") if has_ids else ("name",)
    parts = list(read_frames(path, columns, report))
    schema = {"line": pl.UInt32, **dict.fromkeys(columns, pl.String)}
    table = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    if not has_ids:
        return _with_positions(table)
    ids = table["id"].cast(pl.Int64, strict=False)
    for line, number in table.filter(ids.is_null()).select("line", "id").iter_rows():
        example = Example(location(path, line), shorten(number))
        hint = "give whole numbers from 0 in the first column and names in the second"
        report(Diagnostic(str(path), "an id that is not a number", hint, (example,)))
    table = table.with_columns(ids.alias("id"), kind=pl.lit(None, pl.String))
    return table.filter(pl.col("id").is_not_null())


def _read_name_rows(path: Path, report: Report) -> pl.DataFrame:
    table = read_parquet(path, report)
    if {"kind", "key"} <= set(table.columns):
        text = pl.col("kind", "key").cast(pl.String)
        table = table.with_columns(text).with_columns(name=pl.format("{}:{}", "kind", "key"))
    if "name" not in table.columns:
        example = Example(value=", ".join(table.columns) or "nothing")
        hint = "give a column name, or the columns kind and key; and id, unless in order from 0"
        raise GraphError(Diagnostic(str(path), "unfit columns", hint, (example,)))
    if "kind" not in table.columns:
        table = table.with_columns(kind=pl.lit(None, pl.String))
    table = table.with_row_index("line", offset=1).with_columns(pl.col("name").cast(pl.String))
    return table if "id" in table.columns else _with_positions(table)


def _with_positions(table: pl.DataFrame) -> pl.DataFrame:
    """The table with positions from 0 as ids."""
    if "kind" not in table.columns:
        table = table.with_columns(kind=pl.lit(None, pl.String))
    return table.with_columns(id=pl.int_range(pl.len(), dtype=pl.Int64))


def _sorted_by_id(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    """Names and kinds in the order of ids; raises if ids are not 0, 1, 2, ... of distinct names."""
    problems = {
        "a name that is empty": pl.col("name").fill_null("") == "",
        "a name that occurs twice": pl.col("name").is_duplicated(),
        "an id that occurs twice": pl.col("id").is_duplicated(),
        "an id beyond the number of names": ~pl.col("id").is_between(0, pl.len() - 1),
    }
    for problem, condition in problems.items():
        rows = table.filter(condition).sort("line").select("line", "id", "name")
        if not len(rows):
            continue
        examples = tuple(
            Example(location(path, line), shorten([number, name]))
            for line, number, name in rows.head(EXAMPLES).iter_rows()
        )
        hint = "number distinct names 0, 1, 2, ... without gaps"
        raise GraphError(Diagnostic(str(path), problem, hint, examples, len(rows)))
    return table.sort("id").select("name", "kind")


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Triples of one split, in the order of the file.

    Attributes:
        path: the file.
        line: line, row or statement of the file that each triple comes from.
        triples: ids of head, relation and tail.
    """

    path: Path
    line: pl.Series
    triples: Int[Tensor, "T 3"]

    def __len__(self) -> int:
        return len(self.triples)

    def select(self, rows: Bool[Tensor, "T"] | Int[Tensor, "M"]) -> "SplitRows":
        """The selected rows."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        return SplitRows(self.path, self.line.gather(rows.numpy()), self.triples[rows])


@dataclass(frozen=True, eq=False)
class ParsedGraph:
    """The content of the files, before validation.

    Attributes:
        entities: names of the entities, by id.
        relations: names of the relations, by id.
        splits: triples of each split that has a file.
        kind: type of each entity, if the list of entities gives it; else None.
        annotations: labels and types from RDF.
    """

    entities: pl.Series
    relations: pl.Series
    splits: dict[str, SplitRows]
    kind: pl.Series | None = None
    annotations: Annotations = field(default_factory=Annotations)

    def examples(self, rows: SplitRows, where: Bool[Tensor, "T"]) -> tuple[Example, ...]:
        """The first few of the marked rows, with names instead of ids."""
        few = rows.select(where.nonzero().squeeze(1)[:EXAMPLES])
        return tuple(
            Example(
                location(rows.path, line),
                shorten([self.entities[head], self.relations[relation], self.entities[tail]]),
            )
            for line, (head, relation, tail) in zip(few.line, few.triples.tolist())
        )


def parse_files(
    files: dict[str, Path], folder: Path, report: Report, options: ReadOptions = DEFAULT
) -> ParsedGraph:
    """Read the file of each split, and number entities and relations.

    Args:
        files: the file of each split.
        folder: where the tables `entities` and `relations` are, if triples hold ids.
        report: receives diagnostics.
        options: how to read the files of triples.

    Raises:
        GraphError: if some files hold ids and others names, or if ids have no names.
    """
    found = Annotations()
    tables = {split: _read_table(path, report, options, found) for split, path in files.items()}
    holds_ids = {split: table["head"].dtype.is_integer() for split, table in tables.items()}
    if not any(holds_ids.values()):
        return replace(parse_names(files, tables), annotations=found)
    if all(holds_ids.values()):
        return _parse_ids(files, tables, folder, report)
    ids, names = (
        ", ".join(files[split].name for split in files if holds_ids[split] == wanted)
        for wanted in (True, False)
    )
    problem = f"{ids} hold ids, but {names} hold names"
    hint = "write all of them with names, or all with ids"
    raise GraphError(Diagnostic(str(folder), problem, hint))


def _read_table(
    path: Path, report: Report, options: ReadOptions, annotations: Annotations
) -> pl.DataFrame:
    """All rows of a file, with names as categories, which take four bytes each."""
    names = pl.col(TRIPLE).cast(pl.Categorical)
    parts = [
        frame if frame["head"].dtype.is_integer() else frame.with_columns(names)
        for frame in read_triple_frames(path, report, options, annotations)
    ]
    if not parts:
        hint = "fill the file, or read one file of facts with a split rule"
        report(Diagnostic(str(path), NO_TRIPLES, hint))
        return pl.DataFrame(schema={"line": pl.UInt32, **dict.fromkeys(TRIPLE, pl.Categorical)})
    return pl.concat(parts, rechunk=True)


def parse_names(files: dict[str, Path], tables: dict[str, pl.DataFrame]) -> ParsedGraph:
    """Tables of names, as `read_triple_frames` gives them but with categories, by split."""
    ends = [table[column] for table in tables.values() for column in ("head", "tail")]
    entities, end_ids = number_names(ends)
    relations, relation_ids = number_names([table["relation"] for table in tables.values()])
    splits = {}
    for number, (split, table) in enumerate(tables.items()):
        head, tail = end_ids[2 * number : 2 * number + 2]
        triples = torch.stack([head, relation_ids[number], tail], 1)
        splits[split] = SplitRows(files[split], table["line"], triples)
    return ParsedGraph(entities, relations, splits)


def _parse_ids(
    files: dict[str, Path], tables: dict[str, pl.DataFrame], folder: Path, report: Report
) -> ParsedGraph:
    entities, relations = (read_names(folder, stem, report) for stem in ("entities", "relations"))
    limit = torch.tensor([len(entities), len(relations), len(entities)])
    splits = {}
    for split, table in tables.items():
        triples = torch.from_numpy(table.select(pl.col(TRIPLE).cast(pl.Int64)).to_numpy().copy())
        rows = SplitRows(files[split], table["line"], triples)
        outside = ((triples < 0) | (triples >= limit)).any(1)
        if outside.any():
            few = rows.select(outside.nonzero().squeeze(1)[:EXAMPLES])
            places = zip(few.line, few.triples.tolist())
            examples = tuple(Example(location(rows.path, line), str(ids)) for line, ids in places)
            problem = f"ids outside the {len(entities)} entities and {len(relations)} relations"
            hint = "complete the files entities and relations, or delete the rows"
            report(Diagnostic(str(rows.path), problem, hint, examples, int(outside.sum())))
            rows = rows.select(~outside)
        splits[split] = rows
    kind = None if entities["kind"].null_count() else entities["kind"]
    return ParsedGraph(entities["name"], relations["name"], splits, kind)
