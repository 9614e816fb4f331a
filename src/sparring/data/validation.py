"""What is odd about splits that can be read: duplicates, overlaps, names unseen in training."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.data.diagnostics import EXAMPLES, Diagnostic, Example, Report, shown
from sparring.data.tables import Draft, Rows, keys, place

Unseen = Literal["keep", "drop", "error"]
HELD_OUT = ("valid", "test")
UNSEEN_REMEDY = {
    "keep": 'kept; pass unseen="drop" to leave their triples out',
    "drop": "their triples were dropped",
    "error": 'add them to train, or pass unseen="keep" or unseen="drop"',
}


def without_duplicates(draft: Draft, report: Report) -> Draft:
    """Distinct triples in train; duplicates in valid and test are reported, but stay."""
    splits = dict(draft.splits)
    for split, rows in draft.splits.items():
        again = _repeated(_keys(draft, rows))
        if again.any():
            held_out = split in HELD_OUT
            fate = "each counts in evaluation" if held_out else "all but the first were dropped"
            _tell(draft, rows, again, f"duplicate triples in {split}", fate, report)
            splits[split] = rows if held_out else rows.pick(~again)
    return replace(draft, splits=splits)


def tell_overlaps(draft: Draft, report: Report) -> None:
    """Report the distinct triples that two splits have in common."""
    key = {split: _keys(draft, rows) for split, rows in draft.splits.items()}
    for first, second in combinations(draft.splits, 2):
        common = _is_in(key[second], key[first]) & ~_repeated(key[second])
        if common.any():
            problem = f"triples of {second} also in {first}"
            fate = f"remove them from {second}, where they reward memory"
            _tell(draft, draft.splits[second], common, problem, fate, report)


def tell_blanks(names: pl.Series, which: str, folder: Path, report: Report) -> None:
    """Report names that are others but for blanks at their ends: as a rule, an accident."""
    bare = names.str.strip_chars()
    twins = names.filter(bare.is_duplicated() & (names != bare))
    if len(twins):
        examples = tuple(Example(value=shown(name)) for name in twins.head(EXAMPLES))
        problem = f"{which} that differ from others only in blanks at their ends"
        hint = "remove the blanks, unless they are meant"
        report(Diagnostic(str(folder), problem, hint, examples, len(twins), "warning"))


def with_unseen(draft: Draft, unseen: Unseen, report: Report) -> Draft:
    """Report names of valid and test that train lacks; keep, drop or refuse their triples.

    Names whose triples are dropped leave the vocabulary.
    """
    if "train" not in draft.splits:  # which only a check survives
        return draft
    fate = UNSEEN_REMEDY[unseen]
    train = draft.splits["train"].triples
    new_entity = _absent(train[:, [0, 2]], len(draft.entities))
    new_relation = _absent(train[:, 1], len(draft.relations))
    splits = dict(draft.splits)
    for split in [name for name in HELD_OUT if name in splits]:
        rows = splits[split]
        head, relation, tail = rows.triples.unbind(1)
        strange = new_entity[head] | new_entity[tail] | new_relation[relation]
        if not strange.any():
            continue
        _tell_new(rows, [0, 2], new_entity, draft.entities, f"entities of {split}", unseen, report)
        _tell_new(rows, [1], new_relation, draft.relations, f"relations of {split}", unseen, report)
        problem = f"triples of {split} with names unseen in train"
        _tell(draft, rows, strange, problem, fate, report)
        splits[split] = rows.pick(~strange)
    return _compact(draft, splits) if unseen == "drop" else draft


def _tell_new(
    rows: Rows,
    columns: list[int],
    new: Bool[Tensor, "M"],
    names: pl.Series,
    which: str,
    unseen: Unseen,
    report: Report,
) -> None:
    """Report the names in some columns that are new, each at its first use."""
    ids = rows.triples[:, columns]
    strangers = ids[new[ids]].unique()
    if not len(strangers):
        return
    examples = []
    for stranger in strangers[:EXAMPLES].tolist():
        line = rows.line[int((ids == stranger).any(1).nonzero()[0])]
        examples.append(Example(place(rows.path, line), shown(names[stranger])))
    severity = "error" if unseen == "error" else "warning"
    problem = f"{which} unseen in train"
    hint = UNSEEN_REMEDY[unseen]
    report(Diagnostic(str(rows.path), problem, hint, tuple(examples), len(strangers), severity))


def _compact(draft: Draft, splits: dict[str, Rows]) -> Draft:
    """The draft with fewer rows, without the names that only the missing rows had."""
    before = torch.cat([rows.triples for rows in draft.splits.values()])
    after = torch.cat([rows.triples for rows in splits.values()])
    keep_entity, keep_relation = (
        ~_absent(after[:, columns], size) | _absent(before[:, columns], size)
        for columns, size in (([0, 2], len(draft.entities)), ([1], len(draft.relations)))
    )
    entity, relation = keep_entity.cumsum(0) - 1, keep_relation.cumsum(0) - 1
    for split, rows in splits.items():
        head, link, tail = rows.triples.unbind(1)
        triples = torch.stack([entity[head], relation[link], entity[tail]], 1)
        splits[split] = replace(rows, triples=triples)
    kept = keep_entity.numpy()
    return Draft(
        draft.entities.filter(kept),
        draft.relations.filter(keep_relation.numpy()),
        splits,
        None if draft.kind is None else draft.kind.filter(kept),
    )


def _tell(
    draft: Draft, rows: Rows, where: Bool[Tensor, "T"], problem: str, fate: str, report: Report
) -> None:
    """Warn about the marked rows of one split."""
    examples, count = draft.examples(rows, where), int(where.sum())
    report(Diagnostic(str(rows.path), problem, fate, examples, count, "warning"))


def _absent(ids: Int[Tensor, "..."], size: int) -> Bool[Tensor, "M"]:
    """True for the ids below `size` that do not occur."""
    absent = torch.ones(size, dtype=torch.bool)
    absent[ids.flatten()] = False
    return absent


def _keys(draft: Draft, rows: Rows) -> Int[Tensor, "T"]:
    return keys(rows.triples, len(draft.entities), len(draft.relations))


def _is_in(few: Int[Tensor, "T"], many: Int[Tensor, "U"]) -> Bool[Tensor, "T"]:
    """True where a key of the shorter list occurs in the longer one, which is not sorted."""
    if not len(few):
        return torch.zeros(0, dtype=torch.bool)
    value = few.unique(sorted=True)
    spot = torch.searchsorted(value, many).clamp_(max=len(value) - 1)
    found = torch.zeros(len(value), dtype=torch.bool)
    found[spot[value[spot] == many]] = True
    return found[torch.searchsorted(value, few)]


def _repeated(key: Int[Tensor, "T"]) -> Bool[Tensor, "T"]:
    """True for all but the first of equal keys."""
    value, place = key.sort(stable=True)
    again = torch.zeros(len(key), dtype=torch.bool)
    again[place[1:][value[1:] == value[:-1]]] = True
    return again
