"""Validates parsed splits: duplicates, overlaps, look-alike names, names unseen in train, columns
that may be permuted, and a first line that may be a header.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.data.columns import TRIPLE
from sparring.data.diagnostics import EXAMPLES, Diagnostic, Example, GraphError, Report, shorten
from sparring.data.formats import TEXT, file_format
from sparring.data.index import triple_keys
from sparring.data.options import ReadOptions
from sparring.data.tables import ParsedGraph, SplitRows, location

Unseen = Literal["keep", "drop", "error"]
HELD_OUT = ("valid", "test")
MANY = 10  # relations of a small graph say nothing about the order of columns
FEW = 4  # a column with this many times fewer names than another
UNSEEN_HINTS = {
    "keep": 'kept; pass unseen="drop" to leave their triples out',
    "drop": "their triples were dropped",
    "error": 'add them to train, or pass unseen="keep" or unseen="drop"',
}


def without_duplicates(parsed: ParsedGraph, report: Report) -> ParsedGraph:
    """Drop duplicate triples from train; report those of valid and test, but keep them.

    Raises:
        GraphError: if the graph is too large for keys of triples.
    """
    splits = dict(parsed.splits)
    for split, rows in parsed.splits.items():
        repeated = _repeated(_keys(parsed, rows))
        if repeated.any():
            held_out = split in HELD_OUT
            hint = "each counts in evaluation" if held_out else "all but the first were dropped"
            _warn(parsed, rows, repeated, f"duplicate triples in {split}", hint, report)
            splits[split] = rows if held_out else rows.select(~repeated)
    return replace(parsed, splits=splits)


def report_overlaps(parsed: ParsedGraph, report: Report) -> None:
    """Report distinct triples that two splits have in common."""
    keys = {split: _keys(parsed, rows) for split, rows in parsed.splits.items()}
    for first, second in combinations(parsed.splits, 2):
        common = _is_in(keys[second], keys[first]) & ~_repeated(keys[second])
        if common.any():
            problem = f"triples of {second} also in {first}"
            hint = f"remove them from {second}, where they reward memory"
            _warn(parsed, parsed.splits[second], common, problem, hint, report)


def report_blanks(names: pl.Series, which: str, folder: Path, report: Report) -> None:
    """Report names that differ from others only in blanks at their ends, usually by mistake."""
    stripped = names.str.strip_chars()
    twins = names.filter(stripped.is_duplicated() & (names != stripped))
    if len(twins):
        examples = tuple(Example(value=shorten(name)) for name in twins.head(EXAMPLES))
        problem = f"{which} that differ from others only in blanks at their ends"
        hint = "remove the blanks, unless they are intended"
        report(Diagnostic(str(folder), problem, hint, examples, len(twins), "warning"))


def report_columns(parsed: ParsedGraph, options: ReadOptions, report: Report) -> None:
    """Report many relations, which may be a column of entities, and a fact that may be a header."""
    rows = parsed.splits.get("train")
    if rows is None or not len(rows):
        return
    sizes = [int(ids.bincount().count_nonzero()) for ids in rows.triples.unbind(1)]
    fewest = min(range(3), key=sizes.__getitem__)
    permuted = options.columns is None and sizes[fewest] * FEW < sizes[1]
    if sizes[1] > MANY and (permuted or sizes[1] > len(rows) / 10):
        hint = "one relation in ten facts at most is usual; check the order of the columns"
        if permuted:
            order = [1, 2, 3]
            order[1], order[fewest] = fewest + 1, 2
            hint = (
                f"the {TRIPLE[fewest]} has only {sizes[fewest]:,} names: if that column holds the "
                f"relations, set columns = {order} (--columns {','.join(map(str, order))})"
            )
        example = Example(value=f"{sizes[1]:,} in {len(rows):,} facts")
        report(Diagnostic(str(rows.path), "many relations", hint, (example,), severity="warning"))
    if options.header == "auto" and file_format(rows.path) in TEXT and len(rows) > MANY:
        _report_header(parsed, rows, report)


def _report_header(parsed: ParsedGraph, rows: SplitRows, report: Report) -> None:
    """Report a first line whose names occur nowhere else."""
    if rows.line[0] != 1:
        return
    triples = torch.cat([each.triples for each in parsed.splits.values()])
    ends, (head, relation, tail) = triples[:, [0, 2]], rows.triples[0]
    alone = [(ends == head).sum() == 1, (ends == tail).sum() == 1]
    alone.append((triples[:, 1] == relation).sum() == 1)
    if all(alone):
        hint = (
            "if it is, set columns to the names of head, relation and tail (--columns); if it is a "
            "fact, set header = false (--no-header)"
        )
        problem, first = "a first line that may be a header", torch.arange(len(rows)) == 0
        _warn(parsed, rows, first, problem, hint, report)


def with_unseen(parsed: ParsedGraph, unseen: Unseen, report: Report) -> ParsedGraph:
    """Report names of valid and test that train lacks; keep, drop or refuse their triples.

    Names that occur only in dropped triples are dropped from the vocabulary too.
    """
    if "train" not in parsed.splits:  # reported before; only `check_folder` goes on
        return parsed
    train = parsed.splits["train"].triples
    new_entity = _absent(train[:, [0, 2]], len(parsed.entities))
    new_relation = _absent(train[:, 1], len(parsed.relations))
    splits = dict(parsed.splits)
    for split in [name for name in HELD_OUT if name in splits]:
        rows = splits[split]
        head, relation, tail = rows.triples.unbind(1)
        new = new_entity[head] | new_entity[tail] | new_relation[relation]
        if not new.any():
            continue
        for which, columns, is_new, names in (
            ("entities", [0, 2], new_entity, parsed.entities),
            ("relations", [1], new_relation, parsed.relations),
        ):
            _report_new(rows, columns, is_new, names, f"{which} of {split}", unseen, report)
        problem = f"triples of {split} with names unseen in train"
        _warn(parsed, rows, new, problem, UNSEEN_HINTS[unseen], report)
        splits[split] = rows.select(~new)
    return _compact(parsed, splits) if unseen == "drop" else parsed


def _report_new(
    rows: SplitRows,
    columns: list[int],
    is_new: Bool[Tensor, "M"],
    names: pl.Series,
    which: str,
    unseen: Unseen,
    report: Report,
) -> None:
    """Report the new names in some columns, each at its first occurrence."""
    ids = rows.triples[:, columns]
    new = ids[is_new[ids]].unique()
    if not len(new):
        return
    examples = []
    for name_id in new[:EXAMPLES].tolist():
        line = rows.line[int((ids == name_id).any(1).nonzero()[0])]
        examples.append(Example(location(rows.path, line), shorten(names[name_id])))
    severity = "error" if unseen == "error" else "warning"
    problem, hint = f"{which} unseen in train", UNSEEN_HINTS[unseen]
    report(Diagnostic(str(rows.path), problem, hint, tuple(examples), len(new), severity))


def _compact(parsed: ParsedGraph, splits: dict[str, SplitRows]) -> ParsedGraph:
    """The graph with fewer rows, without the names that occurred only in the dropped rows."""
    before = torch.cat([rows.triples for rows in parsed.splits.values()])
    after = torch.cat([rows.triples for rows in splits.values()])
    keep_entity, keep_relation = (
        ~_absent(after[:, columns], size) | _absent(before[:, columns], size)
        for columns, size in (([0, 2], len(parsed.entities)), ([1], len(parsed.relations)))
    )
    new_entity, new_relation = keep_entity.cumsum(0) - 1, keep_relation.cumsum(0) - 1
    for split, rows in splits.items():
        head, relation, tail = rows.triples.unbind(1)
        triples = torch.stack([new_entity[head], new_relation[relation], new_entity[tail]], 1)
        splits[split] = replace(rows, triples=triples)
    kept = keep_entity.numpy()
    return replace(
        parsed,
        entities=parsed.entities.filter(kept),
        relations=parsed.relations.filter(keep_relation.numpy()),
        splits=splits,
        kind=None if parsed.kind is None else parsed.kind.filter(kept),
    )


def _warn(
    parsed: ParsedGraph,
    rows: SplitRows,
    where: Bool[Tensor, "T"],
    problem: str,
    hint: str,
    report: Report,
) -> None:
    """Report a warning about the marked rows of one split."""
    examples, count = parsed.examples(rows, where), int(where.sum())
    report(Diagnostic(str(rows.path), problem, hint, examples, count, "warning"))


def _absent(ids: Int[Tensor, "..."], size: int) -> Bool[Tensor, "M"]:
    """True for the ids below `size` that do not occur."""
    absent = torch.ones(size, dtype=torch.bool)
    absent[ids.flatten()] = False
    return absent


def _keys(parsed: ParsedGraph, rows: SplitRows) -> Int[Tensor, "T"]:
    try:
        return triple_keys(rows.triples, len(parsed.entities), len(parsed.relations))
    except ValueError as error:
        hint = "leave out some entities or relations"
        raise GraphError(Diagnostic(str(rows.path), str(error), hint)) from error


def _is_in(few: Int[Tensor, "T"], many: Int[Tensor, "U"]) -> Bool[Tensor, "T"]:
    """True where a key of the shorter list occurs in the longer one, which need not be sorted."""
    if not len(few):
        return torch.zeros(0, dtype=torch.bool)
    value = few.unique(sorted=True)
    index = torch.searchsorted(value, many).clamp_(max=len(value) - 1)
    found = torch.zeros(len(value), dtype=torch.bool)
    found[index[value[index] == many]] = True
    return found[torch.searchsorted(value, few)]


def _repeated(key: Int[Tensor, "T"]) -> Bool[Tensor, "T"]:
    """True for all but the first of equal keys."""
    value, index = key.sort(stable=True)
    repeated = torch.zeros(len(key), dtype=torch.bool)
    repeated[index[1:][value[1:] == value[:-1]]] = True
    return repeated
