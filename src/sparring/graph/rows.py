"""The triples of a graph as ids, each with the place it was read from."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.graph.findings import EXAMPLES, Example, Finding, GraphError, Report, shown
from sparring.graph.names import listed, numbered
from sparring.graph.tables import TRIPLE, place, triple_frames


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
    remedy = "write all of them with names, or all with ids"
    raise GraphError(Finding(str(folder), problem, remedy))


def _table(path: Path, report: Report) -> pl.DataFrame:
    """All rows of a file; strings as categories, which take four bytes each."""
    names = pl.col(TRIPLE).cast(pl.Categorical)
    parts = [
        frame if frame["head"].dtype.is_integer() else frame.with_columns(names)
        for frame in triple_frames(path, report)
    ]
    if not parts:
        remedy = "fill the file, or read one file of facts with a split rule"
        report(Finding(str(path), "no triples", remedy))
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
            remedy = "complete the files entities and relations, or delete the rows"
            report(Finding(str(rows.path), problem, remedy, examples, int(outside.sum())))
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
