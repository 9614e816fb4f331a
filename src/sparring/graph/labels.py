"""Readable labels and entity types that lie next to the triples."""

from pathlib import Path

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.graph.files import find
from sparring.graph.findings import Example, Finding, Report, shown
from sparring.graph.tables import frames, place


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
        problem, remedy = f"rows of {stem} about unknown names", "nothing to do: they are left out"
        report(Finding(str(path), problem, remedy, examples, len(strange), "note"))
    return table.filter(table["name"].is_in(names.implode()))


def _with_ids(names: pl.Series, name: str, number: str) -> pl.DataFrame:
    return names.to_frame(name).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(number))
