"""Readable labels and entity types that lie next to the triples.

Files in, a checked KnowledgeGraph out.

A graph is a folder with the tables `train`, `valid` and `test`, or one file and a rule that
splits it. Tables are text (.tsv or .txt with tabs, .csv), plain, .gz or .zst; or Parquet, of
names, or of ids whose names the tables `entities` and `relations` give; or RDF (.nt, .ttl).
The tables `labels`, `relation_labels` and `entity_types` may lie next to them."""

import logging
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.diagnostics import (
    CollectDiagnostics,
    Diagnostic,
    Example,
    GraphError,
    RaiseOnError,
    Report,
    shown,
)
from sparring.data.formats import READABLE, contents, find, required
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.split import SplitRule
from sparring.data.tables import TRIPLE, Draft, draft, frames, place, triple_frames
from sparring.data.validation import (
    Unseen,
    tell_blanks,
    tell_overlaps,
    with_unseen,
    without_duplicates,
)
from sparring.data.vocabulary import Vocabulary


def labels(folder: Path, stem: str, names: pl.Series, report: Report) -> pl.Series | None:
    """The label of each name, or the name where it has none; None without such a file.

    The file has a name and a label per row; the first label of a name counts.
    """
    table = _known_pairs(folder, stem, ("name", "label"), names, report)
    if table is None:
        return None
    first = table.unique("name", keep="first", maintain_order=True)
    found = names.to_frame("name").join(first, on="name", how="left", maintain_order="left")
    return found["label"].fill_null(found["name"])


def types(
    folder: Path, entities: pl.Series, kind: pl.Series | None, report: Report
) -> tuple[tuple[str, ...], Int[Tensor, "P 2"] | None]:
    """Names of types, sorted, and distinct (entity, type) pairs; None without any.

    The file `entity_types` has an entity and a type per row, or `kind` has one per entity.
    """
    table = _known_pairs(folder, "entity_types", ("name", "type"), entities, report)
    if table is None and kind is not None:
        table = pl.DataFrame({"name": entities, "type": kind})
    if table is None:
        return (), None
    names = table["type"].unique().sort()
    pairs = table.join(_with_ids(entities, "name", "entity"), on="name")
    pairs = pairs.join(_with_ids(names, "type", "id"), on="type")
    pairs = pairs.select("entity", "id").unique().sort("entity", "id")
    return tuple(names), torch.from_numpy(pairs.to_numpy().copy())


def _known_pairs(
    folder: Path, stem: str, columns: tuple[str, str], names: pl.Series, report: Report
) -> pl.DataFrame | None:
    """Rows about names of the graph; the others are left out and counted."""
    path = find(folder, stem, report)
    if path is None:
        return None
    parts = list(frames(path, columns, report, more=True))
    if not parts:
        return None
    table = pl.concat(parts)
    strange = table.filter(~table["name"].is_in(names.implode()))
    if len(strange):
        few = strange.head(1).iter_rows()
        examples = tuple(Example(place(path, row[0]), shown(row[1])) for row in few)
        problem, hint = f"rows of {stem} about unknown names", "nothing to do: they are left out"
        report(Diagnostic(str(path), problem, hint, examples, len(strange), "note"))
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
) -> KnowledgeGraph:
    """Read a folder of splits, or one file that `split` splits.

    Names are kept as they are: blanks count, and nan, NULL and 1 are names. Ids number them in
    order of their code points, or as the tables `entities` and `relations` say. Duplicates are
    dropped from train. What was odd but bearable is logged and counted in `notes`.

    Args:
        unseen: what to do with triples of valid and test whose names train lacks.
        name: name of the graph; that of the folder or file where None.

    Raises:
        GraphError: for the first defect, with file, line, value and remedy.
    """
    path, report = required(Path(path)), RaiseOnError()
    if path.is_file() and split is None:
        hint = "pass split=SplitRule(valid=0.05, test=0.05), or a folder of three files"
        raise GraphError(Diagnostic(str(path), "one file, and no rule that splits it", hint))
    if path.is_dir() and split is not None:
        hint = "leave split out, or pass the one file that is to be split"
        raise GraphError(Diagnostic(str(path), "a folder has splits of its own", hint))
    read = _judged(path, report)
    read = with_unseen(read, unseen, report) if split is None else _split(read, split)
    folder = _folder(path)
    type_names, entity_type = types(folder, read.entities, read.kind, report)
    entity_label = labels(folder, "labels", read.entities, report)
    relation_label = labels(folder, "relation_labels", read.relations, report)
    return KnowledgeGraph(
        name or (path.name.split(".")[0] if path.is_file() else path.absolute().name),
        Vocabulary(read.entities, entity_label),
        Vocabulary(read.relations, relation_label, "relation"),
        *(read.splits[part].triples for part in SPLITS),
        types=type_names,
        entity_type=entity_type,
        notes=dict(report.notes),
    )


def check_folder(path: str | Path) -> list[Diagnostic]:
    """Everything that is wrong or odd with a folder of splits, or with one file of facts.

    Each finding counts one kind of problem in one file and shows its first few places.
    """
    path, report = Path(path), CollectDiagnostics()
    try:
        read = _judged(required(path), report)
        with_unseen(read, "keep", report)
        tell_blanks(read.entities, "entities", path, report)
        tell_blanks(read.relations, "relations", path, report)
        types(_folder(path), read.entities, read.kind, report)
        labels(_folder(path), "labels", read.entities, report)
        labels(_folder(path), "relation_labels", read.relations, report)
    except GraphError as error:
        report(error.args[0])
    return report.findings


def read_triples(
    graph: KnowledgeGraph, path: str | Path, *, label: str | None = None
) -> Int[Tensor, "T 3"]:
    """Triples of a further file, such as known truths or curated negatives, as ids of the graph.

    Rows with names or ids that the graph does not know are left out and their number is logged.

    Args:
        label: the file has a fourth column, and only the rows with this label in it are wanted.

    Raises:
        GraphError: for the first defect, with file, line, value and remedy.
    """
    path, report = required(Path(path)), RaiseOnError()
    if label is None:
        parts = triple_frames(path, report)
    else:
        labelled = frames(path, (*TRIPLE, "label"), report)
        parts = (frame.filter(frame["label"] == label) for frame in labelled)
    found = [_known_ids(graph, part) for part in parts]
    triples = torch.cat([torch.zeros(0, 3, dtype=torch.long), *(ids for ids, _ in found)])
    if strange := sum(count for _, count in found):
        logger.warning("%s: %d rows with names unknown to %s left out", path, strange, graph.name)
    return triples


def _folder(path: Path) -> Path:
    """Where labels and types may lie."""
    return path.parent if path.is_file() else path


def _judged(path: Path, report: Report) -> Draft:
    files = {"train": path} if path.is_file() else _files(path, report)
    read = without_duplicates(draft(files, _folder(path), report), report)
    tell_overlaps(read, report)
    return read


def _files(folder: Path, report: Report) -> dict[str, Path]:
    """The file of each split that has one."""
    found = {split: find(folder, split, report) for split in SPLITS}
    for split, path in found.items():
        if path is None:
            hint = f"expected train, valid and test, each as {READABLE}; found {contents(folder)}"
            report(Diagnostic(str(folder), f"no file {split}", hint))
    return {split: path for split, path in found.items() if path is not None}


def _split(read: Draft, rule: SplitRule) -> Draft:
    rows = read.splits["train"]
    parts = rule.rows(rows.triples, len(read.entities), len(read.relations))
    return replace(read, splits={name: rows.pick(part) for name, part in zip(SPLITS, parts)})


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
