"""Reads files into a checked `KnowledgeGraph`.

A graph is a folder with the tables `train`, `valid` and `test`, or one file or database and a rule
that splits it. Files are text, JSON lines, RDF (plain, .gz or .zst), or Parquet with names, or with
ids whose names are in the tables `entities` and `relations`. The tables `labels`, `relation_labels`
and `entity_types` may lie next to them. `ReadOptions` say how the rows are read.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.columns import TRIPLE
from sparring.data.diagnostics import (
    CollectDiagnostics,
    Diagnostic,
    DropDefects,
    Example,
    GraphError,
    RaiseOnError,
    Report,
    shorten,
)
from sparring.data.formats import (
    RDF,
    READABLE,
    as_path,
    file_format,
    find_table,
    list_names,
    require_path,
)
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.options import ReadOptions
from sparring.data.rdf import TYPE
from sparring.data.split import SplitRule
from sparring.data.tables import (
    DEFAULT,
    NO_TRIPLES,
    ParsedGraph,
    location,
    parse_files,
    read_frames,
    read_triple_frames,
)
from sparring.data.validation import (
    Unseen,
    report_blanks,
    report_columns,
    report_overlaps,
    with_unseen,
    without_duplicates,
)
from sparring.data.vocabulary import Vocabulary


def read_labels(
    folder: Path, stem: str, names: pl.Series, report: Report, known: pl.DataFrame | None = None
) -> pl.Series | None:
    """The label of each name, or the name itself where it has none; None if there are no labels.

    The file has a name and a label per row. The first label of a name counts. Without a file,
    labels come from `known`, a frame with the columns name and label.
    """
    table = _known_pairs(folder, stem, ("name", "label"), names, report)
    if table is None:
        table = known
    if table is None or not len(table):
        return None
    first = table.unique("name", keep="first", maintain_order=True)
    found = names.to_frame("name").join(first, on="name", how="left", maintain_order="left")
    return found["label"].fill_null(found["name"])


def read_types(
    folder: Path, parsed: ParsedGraph, report: Report
) -> tuple[tuple[str, ...], Int[Tensor, "P 2"] | None]:
    """Sorted names of types, and distinct (entity, type) pairs; None where there are no types.

    The file `entity_types` has an entity and a type per row. Without it, types come from the list
    of entities, or from RDF.
    """
    entities = parsed.entities
    table = _known_pairs(folder, "entity_types", ("name", "type"), entities, report)
    if table is None:
        table = _own_types(parsed)
    if table is None:
        return (), None
    names = table["type"].unique().sort()
    pairs = table.join(_with_ids(entities, "name", "entity"), on="name")
    pairs = pairs.join(_with_ids(names, "type", "id"), on="type")
    pairs = pairs.select("entity", "id").unique().sort("entity", "id")
    return tuple(names), torch.from_numpy(pairs.to_numpy().copy())


def _own_types(parsed: ParsedGraph) -> pl.DataFrame | None:
    """Types that come with the triples. Those that are facts are taken from train only."""
    if parsed.kind is not None:
        return pl.DataFrame({"name": parsed.entities, "type": parsed.kind})
    known = parsed.annotations.type_table()
    tables = [known.filter(known["name"].is_in(parsed.entities.implode()))]
    train = parsed.splits.get("train")
    if train is not None and file_format(train.path) in RDF and TYPE in parsed.relations:
        head, relation, tail = train.triples.unbind(1)
        is_type = relation == parsed.relations.index_of(TYPE)
        ends = (parsed.entities.gather(ids[is_type].numpy()) for ids in (head, tail))
        tables.append(pl.DataFrame(dict(zip(("name", "type"), ends))))
    table = pl.concat(tables)
    return table if len(table) else None


def _known_pairs(
    folder: Path, stem: str, columns: tuple[str, str], names: pl.Series, report: Report
) -> pl.DataFrame | None:
    """The rows with names of the graph. Other rows are left out and counted."""
    path = find_table(folder, stem, report)
    if path is None:
        return None
    parts = list(read_frames(path, columns, report, extra_columns=True))
    if not parts:
        return None
    table = pl.concat(parts)
    unknown = table.filter(~table["name"].is_in(names.implode()))
    if len(unknown):
        few = unknown.head(1).iter_rows()
        examples = tuple(Example(location(path, row[0]), shorten(row[1])) for row in few)
        problem, hint = f"rows of {stem} about unknown names", "no action needed: they are left out"
        report(Diagnostic(str(path), problem, hint, examples, len(unknown), "note"))
    return table.filter(table["name"].is_in(names.implode()))


def _with_ids(names: pl.Series, name: str, number: str) -> pl.DataFrame:
    return names.to_frame(name).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(number))


logger = logging.getLogger(__name__)


def read_graph(
    path: str | Path,
    *,
    unseen: Unseen = "keep",
    split: SplitRule | None = None,
    name: str | None = None,
    options: ReadOptions = DEFAULT,
    brief: bool = False,
) -> KnowledgeGraph:
    """Read a folder of splits, or one file that `split` divides.

    Names are kept as they are: blanks count, and nan, NULL and 1 are names. Ids number the names in
    order of their code points, or as the tables `entities` and `relations` say. Duplicates are
    dropped from train. Everything that is unusual, but no error, is logged and counted in `notes`.

    Args:
        path: a folder with the tables train, valid and test, one file of triples, or a database.
        unseen: what to do with triples of valid and test whose names do not occur in train: "keep",
            "drop", or raise an "error".
        split: how to divide one file; None for a folder.
        name: name of the graph; that of the folder or file if None.
        options: columns, separator and so on.
        brief: log all warnings in one line.

    Returns:
        The graph, with labels and types where there are such tables, or in RDF.

    Raises:
        GraphError: for the first error, with file, line, value and a hint.
    """
    path, collected = require_path(as_path(path)), RaiseOnError(brief=brief)
    if path.is_file() and split is None:
        hint = "pass split=SplitRule(valid=0.05, test=0.05), or a folder of three files"
        raise GraphError(Diagnostic(str(path), "one file, and no rule that splits it", hint))
    if path.is_dir() and split is not None:
        hint = "leave split out, or pass the one file that is to be split"
        raise GraphError(Diagnostic(str(path), "a folder has splits of its own", hint))
    folder = _folder(path)
    with _defects(collected, options, options.dropped_path(path)) as report:
        parsed = _parse(path, report, options)
        parsed = (
            with_unseen(parsed, unseen, report) if split is None else split_parsed(parsed, split)
        )
        type_names, entity_type = read_types(folder, parsed, report)
        entity_label, relation_label = _labels(folder, parsed, report)
    collected.log_summary(path)
    return KnowledgeGraph(
        name or (path.name.split(".")[0] if path.is_file() else path.absolute().name),
        Vocabulary(parsed.entities, entity_label),
        Vocabulary(parsed.relations, relation_label, "relation"),
        *(parsed.splits[part].triples for part in SPLITS),
        types=type_names,
        entity_type=entity_type,
        notes=dict(collected.notes),
    )


def check_folder(path: str | Path, options: ReadOptions = DEFAULT) -> list[Diagnostic]:
    """All errors and warnings about a folder of splits, or about one file of triples.

    Each diagnostic counts one kind of problem in one file and shows its first few places.

    Args:
        path: as `read_graph` takes it.
        options: as `read_graph` takes them; rows that would be dropped are warnings.
    """
    path, collected = as_path(path), CollectDiagnostics()
    try:
        with _defects(collected, options, None) as report:
            parsed = _parse(require_path(path), report, options)
            with_unseen(parsed, "keep", report)
            report_blanks(parsed.entities, "entities", path, report)
            report_blanks(parsed.relations, "relations", path, report)
            read_types(_folder(path), parsed, report)
            _labels(_folder(path), parsed, report)
    except GraphError as error:
        collected(error.args[0])
    found = collected.diagnostics
    unread = {one.file for one in found if one.severity == "error" and one.problem != NO_TRIPLES}
    return [one for one in found if one.problem != NO_TRIPLES or one.file not in unread]


def read_triples(
    graph: KnowledgeGraph,
    path: str | Path,
    *,
    label: str | None = None,
    options: ReadOptions = DEFAULT,
) -> Int[Tensor, "T 3"]:
    """Triples of another file, such as true facts or curated negatives, as ids of the graph.

    Rows with names or ids that the graph does not have are left out, and their number is logged.

    Args:
        graph: the graph whose vocabulary applies.
        path: a file with the columns head, relation and tail.
        label: if given, the file has a fourth column, and only rows with this label are read.
        options: how to read the file, if it has no label.

    Raises:
        GraphError: for the first error, with file, line, value and a hint.
    """
    path, report = require_path(as_path(path)), RaiseOnError()
    if label is None:
        parts = read_triple_frames(path, report, options)
    else:
        labeled = read_frames(path, (*TRIPLE, "label"), report)
        parts = (frame.filter(frame["label"] == label) for frame in labeled)
    found = [_known_ids(graph, part) for part in parts]
    triples = torch.cat([torch.zeros(0, 3, dtype=torch.long), *(ids for ids, _ in found)])
    if unknown := sum(count for _, count in found):
        logger.warning("%s: %d rows with names unknown to %s left out", path, unknown, graph.name)
    return triples


def _folder(path: Path) -> Path:
    """The folder in which labels and types are looked for."""
    return path.parent if path.is_file() else path


@contextmanager
def _defects(report: Report, options: ReadOptions, file: Path | None) -> Iterator[Report]:
    """The report that readers get: one that leaves out rows with defects, if that is wanted."""
    if options.on_defect == "error":
        yield report
        return
    with DropDefects(report, file).reading() as dropping:
        yield dropping


def _labels(
    folder: Path, parsed: ParsedGraph, report: Report
) -> tuple[pl.Series | None, pl.Series | None]:
    """Labels of entities and of relations."""
    known = parsed.annotations.label_table()
    return (
        read_labels(folder, "labels", parsed.entities, report, known),
        read_labels(folder, "relation_labels", parsed.relations, report, known),
    )


def _parse(path: Path, report: Report, options: ReadOptions) -> ParsedGraph:
    files = {"train": path} if path.is_file() else _files(path, report)
    parsed = parse_files(files, _folder(path), report, options)
    parsed = without_duplicates(parsed, report)
    report_columns(parsed, options, report)
    report_overlaps(parsed, report)
    return parsed


def _files(folder: Path, report: Report) -> dict[str, Path]:
    """The file of each split that has one."""
    found = {split: find_table(folder, split, report) for split in SPLITS}
    for split, path in found.items():
        if path is None:
            hint = f"expected train, valid and test, each as {READABLE}; found {list_names(folder)}"
            report(Diagnostic(str(folder), f"no file {split}", hint))
    return {split: path for split, path in found.items() if path is not None}


def split_parsed(parsed: ParsedGraph, rule: SplitRule) -> ParsedGraph:
    """The triples of train, split by a rule."""
    rows = parsed.splits["train"]
    parts = rule.rows(rows.triples, len(parsed.entities), len(parsed.relations))
    return replace(parsed, splits={name: rows.select(part) for name, part in zip(SPLITS, parts)})


def _known_ids(graph: KnowledgeGraph, frame: pl.DataFrame) -> tuple[Int[Tensor, "T 3"], int]:
    """Ids of the rows that the graph has names for, and the number of the other rows."""
    names = (graph.entities, graph.relations, graph.entities)
    table = pl.DataFrame(
        {
            column: frame[column].cast(pl.Int64).set(_outside(frame[column], len(known)), None)
            if frame[column].dtype.is_integer()
            else known.find(frame[column])
            for column, known in zip(TRIPLE, names)
        }
    )
    ids = table.drop_nulls()
    return torch.from_numpy(ids.to_numpy().copy()), len(table) - len(ids)


def _outside(ids: pl.Series, size: int) -> pl.Series:
    return (ids < 0) | (ids >= size)
