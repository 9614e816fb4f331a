"""Graphs from data frames and from triples in memory, and graphs that gain facts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.columns import TRIPLE, table_columns
from sparring.data.diagnostics import GraphError, RaiseOnError
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.options import ReadOptions
from sparring.data.read import split_parsed
from sparring.data.split import SplitRule
from sparring.data.tables import parse_names, without_empty
from sparring.data.validation import Unseen, report_overlaps, with_unseen, without_duplicates
from sparring.data.vocabulary import Vocabulary


def graph_from_frames(
    splits: Mapping[str, Any],
    *,
    split: SplitRule | None = None,
    unseen: Unseen = "keep",
    name: str = "graph",
) -> KnowledgeGraph:
    """A graph from triples in memory; ids number the names in order of their code points.

    Args:
        splits: the triples of train and, where `split` is None, of valid and test; each as
            `triple_frame` takes them.
        split: splits train, if it holds all facts.
        unseen: what to do with triples of valid and test whose names train lacks.

    Raises:
        GraphError: for triples that cannot be read, with row and remedy.
    """
    if "train" not in splits or not set(splits) <= set(SPLITS):
        given = ", ".join(map(repr, splits)) or "none"
        raise GraphError(f"splits are named train, valid and test; got {given}")
    report = RaiseOnError()
    tables = {}
    for part in SPLITS:
        rows = triple_frame(splits.get(part, ())).with_row_index("line", offset=1)
        rows = without_empty(Path(part), rows, TRIPLE, report)
        tables[part] = rows.with_columns(pl.col(TRIPLE).cast(pl.Categorical))
    parsed = without_duplicates(parse_names({part: Path(part) for part in SPLITS}, tables), report)
    if not len(parsed.splits["train"]):
        raise GraphError("there are no training triples")
    report_overlaps(parsed, report)
    parsed = with_unseen(parsed, unseen, report) if split is None else split_parsed(parsed, split)
    train, valid, test = (parsed.splits[part].triples for part in SPLITS)
    return KnowledgeGraph(
        name,
        Vocabulary(parsed.entities),
        Vocabulary(parsed.relations, kind="relation"),
        train,
        valid,
        test,
        notes=dict(report.notes),
    )


def triple_frame(triples: Any) -> pl.DataFrame:
    """Triples as a frame of the columns head, relation and tail, all of them strings.

    Args:
        triples: a Polars or pandas frame that has these columns, or subject, predicate and object,
            or just three; or an iterable of (head, relation, tail). Numbers become names: 1 is "1".

    Raises:
        GraphError: for anything else.
    """
    if hasattr(triples, "columns"):
        return _from_columns(triples)
    rows = [tuple(row) for row in triples]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3:
            raise GraphError(f"row {number} is {row}; give triples of head, relation and tail")
    columns = zip(*rows) if rows else ((), (), ())
    return pl.DataFrame({name: _names(values) for name, values in zip(TRIPLE, columns)})


def triple_ids(graph: KnowledgeGraph, triples: Any) -> Int[Tensor, "T 3"]:
    """Triples as ids of a graph.

    Args:
        triples: as `triple_frame` takes them, by name or by a label that is unique; or a tensor of
            ids.

    Raises:
        UnknownNameError: for a name that the graph does not have; suggests similar ones.
        ValueError: for ids outside the graph.
    """
    names = (graph.entities, graph.relations, graph.entities)
    if isinstance(triples, Tensor):
        limit = torch.tensor([len(column) for column in names])
        if triples.dim() != 2 or ((triples.cpu() < 0) | (triples.cpu() >= limit)).any():
            raise ValueError("ids of triples are a tensor of shape (T, 3), within the graph")
        return triples.long()
    frame = triple_frame(triples)
    columns = zip(TRIPLE, names)
    return torch.stack([known.ids(frame[column].to_list()) for column, known in columns], 1)


def with_facts(graph: KnowledgeGraph, facts: Any) -> KnowledgeGraph:
    """The graph with further facts to train on. Present ids stay; new names are numbered from N on.

    Facts that the graph has already, in any split, are left out.

    Args:
        facts: as `triple_frame` takes them.
    """
    frame = without_empty(
        Path("facts"), triple_frame(facts).with_row_index("line", offset=1), TRIPLE, RaiseOnError()
    )
    entities = _extended(graph.entities, pl.concat([frame["head"], frame["tail"]]))
    relations = _extended(graph.relations, frame["relation"])
    ids = [
        torch.from_numpy(names.find(frame[column]).to_numpy().copy())
        for column, names in zip(TRIPLE, (entities, relations, entities))
    ]
    known = pl.concat([_id_frame(getattr(graph, part)) for part in SPLITS])
    new = _id_frame(torch.stack(ids, 1)).unique(maintain_order=True)
    new = new.join(known, on=TRIPLE, how="anti", maintain_order="left")
    train = torch.cat([graph.train, torch.from_numpy(new.to_numpy().copy())])
    return replace(graph, entities=entities, relations=relations, train=train)


def with_rejected(graph: KnowledgeGraph, triples: Any) -> KnowledgeGraph:
    """The graph with triples that are known to be false, besides those that it has already.

    Facts of the graph, in any split, stay facts.

    Args:
        triples: as `triple_ids` takes them.

    Raises:
        UnknownNameError: for a name that the graph does not have; suggests similar ones.
    """
    ids = triple_ids(graph, triples)
    ids = ids[~graph.known.contains_triples(ids)]
    before = graph.train[:0] if graph.rejected is None else graph.rejected
    rejected = torch.cat([before, ids]).unique(dim=0)
    return replace(graph, rejected=rejected if len(rejected) else None)


def _from_columns(frame: Any) -> pl.DataFrame:
    names = [str(name) for name in frame.columns]
    options = ReadOptions(extra_columns="ignore")
    positions = table_columns(Path("frame"), names, options, ordered=True)
    if positions is None:
        raise GraphError(
            f"a frame of triples has the columns {', '.join(TRIPLE)}, or three columns; "
            f"got {', '.join(names)}"
        )
    own = [frame.columns[at] for at in positions]
    columns = {new: frame[old].to_list() for new, old in zip(TRIPLE, own)}
    return pl.DataFrame({name: _names(values) for name, values in columns.items()})


def _names(values: Iterable[Any]) -> pl.Series:
    """Values as names; None, and the NaN that pandas writes for a missing value, are no names."""
    missing = lambda value: value is None or value != value
    return pl.Series([None if missing(value) else str(value) for value in values], dtype=pl.String)


def _id_frame(triples: Int[Tensor, "T 3"]) -> pl.DataFrame:
    return pl.DataFrame(triples.numpy(), schema=dict.fromkeys(TRIPLE, pl.Int64))


def _extended(names: Vocabulary, more: pl.Series) -> Vocabulary:
    """The vocabulary with the names that it lacks, in order of their code points."""
    new = more.filter(~more.is_in(names.names.implode())).unique().sort()
    if not len(new):
        return names
    joined = lambda present: pl.concat([present, new.rename(present.name)])
    return Vocabulary(joined(names.names), joined(names.labels), names.kind)
