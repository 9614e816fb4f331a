"""One file in, frames of rows out, whatever kind of file it is.

Which names a graph has and which id each gets.

The triples of a graph as ids, each with the place it was read from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.data.diagnostics import EXAMPLES, Diagnostic, Example, GraphError, Report, shown
from sparring.data.formats import PARQUET, RDF, TEXT, blocks, find, kind, rdf_frames, text_frames

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
            hint = "nothing to do: it was left out"
            example = Example(place(path, 1), shown(list(frame.row(0)[1:])))
            report(Diagnostic(str(path), "header line", hint, (example,), severity="note"))
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
        report(
            Diagnostic(str(path), "unfit columns", f"{wanted}, {types}", (Example(value=found),))
        )
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
        report(Diagnostic(str(path), "no readable Parquet file", "write it again", why))
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
            hint = "name it, or delete the row"
            report(Diagnostic(str(path), f"empty {column}", hint, (example,)))
        frame = frame.filter(~empty)
    return frame


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
        hint = f"put a file {stem}.tsv with the columns id and name next to the triples"
        problem = f"triples hold ids, but no file {stem} names them"
        raise GraphError(Diagnostic(str(folder), problem, hint))
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
        hint = "give whole numbers from 0 in the first column and names in the second"
        report(Diagnostic(str(path), "an id that is no number", hint, (example,)))
    table = table.with_columns(ids.alias("id"), kind=pl.lit(None, pl.String))
    return table.filter(pl.col("id").is_not_null())


def _named_rows(path: Path, report: Report) -> pl.DataFrame:
    table = parquet(path, report)
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
        hint = "number distinct names 0, 1, 2, ... without gaps"
        raise GraphError(Diagnostic(str(path), problem, hint, examples, len(rows)))
    return table.sort("id").select("name", "kind")


@dataclass(frozen=True, eq=False)
class Rows:
    """Triples of one split, in the order of the file.

    Attributes:
        line: line, row or statement of the file that each triple comes from.
    """

    path: Path
    line: pl.Series
    triples: Int[Tensor, "T 3"]

    def __len__(self) -> int:
        return len(self.triples)

    def pick(self, rows: Bool[Tensor, "T"] | Int[Tensor, "M"]) -> "Rows":
        """The chosen rows."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        return Rows(self.path, self.line.gather(rows.numpy()), self.triples[rows])


@dataclass(frozen=True, eq=False)
class Draft:
    """What the files say, before anything is judged.

    Attributes:
        kind: type of each entity where the list of entities gives it, else None.
    """

    entities: pl.Series
    relations: pl.Series
    splits: dict[str, Rows]
    kind: pl.Series | None = None

    def examples(self, rows: Rows, where: Bool[Tensor, "T"]) -> tuple[Example, ...]:
        """The first few of the marked rows, with their names."""
        few = rows.pick(where.nonzero().squeeze(1)[:EXAMPLES])
        return tuple(
            Example(
                place(rows.path, line),
                shown([self.entities[head], self.relations[relation], self.entities[tail]]),
            )
            for line, (head, relation, tail) in zip(few.line, few.triples.tolist())
        )


def draft(files: dict[str, Path], folder: Path, report: Report) -> Draft:
    """Read all files.

    Raises:
        GraphError: if what they hold cannot be numbered.
    """
    tables = {split: _table(path, report) for split, path in files.items()}
    holds_ids = {split: table["head"].dtype.is_integer() for split, table in tables.items()}
    if not any(holds_ids.values()):
        return _from_names(files, tables)
    if all(holds_ids.values()):
        return _from_ids(files, tables, folder, report)
    ids, names = (
        ", ".join(files[split].name for split in files if holds_ids[split] == wanted)
        for wanted in (True, False)
    )
    problem = f"{ids} hold ids, but {names} hold names"
    hint = "write all of them with names, or all with ids"
    raise GraphError(Diagnostic(str(folder), problem, hint))


def _table(path: Path, report: Report) -> pl.DataFrame:
    """All rows of a file; strings as categories, which take four bytes each."""
    names = pl.col(TRIPLE).cast(pl.Categorical)
    parts = [
        frame if frame["head"].dtype.is_integer() else frame.with_columns(names)
        for frame in triple_frames(path, report)
    ]
    if not parts:
        hint = "fill the file, or read one file of facts with a split rule"
        report(Diagnostic(str(path), "no triples", hint))
        return pl.DataFrame(schema={"line": pl.UInt32, **dict.fromkeys(TRIPLE, pl.Categorical)})
    return pl.concat(parts, rechunk=True)


def _from_names(files: dict[str, Path], tables: dict[str, pl.DataFrame]) -> Draft:
    ends = [table[column] for table in tables.values() for column in ("head", "tail")]
    entities, end_ids = numbered(ends)
    relations, relation_ids = numbered([table["relation"] for table in tables.values()])
    splits = {}
    for number, (split, table) in enumerate(tables.items()):
        head, tail = end_ids[2 * number : 2 * number + 2]
        triples = torch.stack([head, relation_ids[number], tail], 1)
        splits[split] = Rows(files[split], table["line"], triples)
    return Draft(entities, relations, splits)


def _from_ids(
    files: dict[str, Path], tables: dict[str, pl.DataFrame], folder: Path, report: Report
) -> Draft:
    entities, relations = listed(folder, "entities", report), listed(folder, "relations", report)
    limit = torch.tensor([len(entities), len(relations), len(entities)])
    splits = {}
    for split, table in tables.items():
        triples = torch.from_numpy(table.select(pl.col(TRIPLE).cast(pl.Int64)).to_numpy().copy())
        rows = Rows(files[split], table["line"], triples)
        outside = ((triples < 0) | (triples >= limit)).any(1)
        if outside.any():
            few = rows.pick(outside.nonzero().squeeze(1)[:EXAMPLES])
            places = zip(few.line, few.triples.tolist())
            examples = tuple(Example(place(rows.path, line), str(ids)) for line, ids in places)
            problem = f"ids outside the {len(entities)} entities and {len(relations)} relations"
            hint = "complete the files entities and relations, or delete the rows"
            report(Diagnostic(str(rows.path), problem, hint, examples, int(outside.sum())))
            rows = rows.pick(~outside)
        splits[split] = rows
    kind = None if entities["kind"].null_count() else entities["kind"]
    return Draft(entities["name"], relations["name"], splits, kind)


def keys(triples: Int[Tensor, "T 3"], num_entities: int, num_relations: int) -> Int[Tensor, "T"]:
    """One integer per triple, equal for equal triples only.

    Raises:
        GraphError: if the graph is too large for 63-bit keys.
    """
    if num_entities**2 * num_relations >= 2**63:
        raise GraphError(
            f"{num_entities} entities and {num_relations} relations overflow a 64-bit key; "
            "leave out some entities or relations"
        )
    head, relation, tail = triples.unbind(1)
    return (head * num_relations + relation) * num_entities + tail
