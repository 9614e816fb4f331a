"""Queries by name: what to predict, how files hold it, and the ids it stands for."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import UnknownNameError, Vocabulary

WANTED = "?"  # stands for what to predict, in files and tables
STDIN = "-"  # stands for standard input
PARTS = ("head", "relation", "tail")


@dataclass(frozen=True)
class PredictionQuery:
    """A triple to complete: the part that is None is predicted.

    Entities and relations are given by name, or by a label that only one of them has.

    Attributes:
        head, relation, tail: names or labels; None for the part to predict.
        source: where the query comes from, for messages; such as "queries.tsv, line 3".

    Raises:
        ValueError: unless exactly one of head, relation and tail is None.
    """

    head: str | None = None
    relation: str | None = None
    tail: str | None = None
    source: str = "query"

    def __post_init__(self) -> None:
        missing = [part for part in PARTS if getattr(self, part) is None]
        if len(missing) != 1:
            found = " and ".join(missing) or "nothing"
            raise ValueError(
                f"{self.source} asks for {found}; ask for one of head, relation and tail"
            )

    @property
    def anchor(self) -> str:
        """The entity that is given; the head, where both are."""
        return cast(str, self.tail if self.head is None else self.head)


def read_queries(path: Path | str) -> list[PredictionQuery]:
    """Read queries from a file; what to predict is written as "?".

    - `.csv`: a header that names head, relation and tail; an empty cell or a missing column is
      what to predict, and other columns are skipped.
    - `.jsonl` and `.ndjson`: an object per line with head, relation and tail; null, or none, is
      what to predict.
    - any other name, and standard input: head, relation and tail per line, separated by tabs.

    Names are kept as they are; empty lines are skipped.

    Args:
        path: the file; "-" for standard input.

    Raises:
        ValueError: for a line of another form, or if there are no queries; names the line.
    """
    name, content = str(path), _content(path)
    rows = _READERS.get(Path(path).suffix.lower(), _tab_rows)(name, content)
    queries = [
        PredictionQuery(*(None if part == WANTED else part for part in parts), source=source)
        for source, parts in rows
    ]
    if not queries:
        raise ValueError(f"{name} holds no queries; give lines such as France\tcapital\t{WANTED}")
    return queries


def entity_queries(
    queries: Sequence[PredictionQuery], graph: KnowledgeGraph, device: torch.device
) -> Queries:
    """Queries for entities as ids; their answers are unknown, and the anchors stand in for them.

    Raises:
        UnknownNameError: for a name that the graph does not have; suggests similar names.
    """
    sources = [query.source for query in queries]
    anchor = _ids(graph.entities, [query.anchor for query in queries], sources)
    relation = _ids(graph.relations, [cast(str, query.relation) for query in queries], sources)
    head = torch.tensor([query.head is None for query in queries], dtype=torch.long)
    relation = relation + head * len(graph.relations)
    anchor, relation = anchor.to(device), relation.to(device)
    return Queries(anchor, relation, anchor, torch.ones(len(anchor), device=device))


def entity_pairs(
    queries: Sequence[PredictionQuery], graph: KnowledgeGraph, device: torch.device
) -> Int[Tensor, "B 2"]:
    """Head and tail of queries for relations, as ids.

    Raises:
        UnknownNameError: for a name that the graph does not have; suggests similar names.
    """
    sources = [query.source for query in queries]
    ends = [[cast(str, getattr(query, end)) for query in queries] for end in ("head", "tail")]
    return torch.stack([_ids(graph.entities, names, sources) for names in ends], 1).to(device)


Parts = tuple[str | None, str | None, str | None]


def _tab_rows(name: str, content: bytes) -> Iterator[tuple[str, Parts]]:
    for number, text in _lines(name, content):
        fields = text.removesuffix("\n").removesuffix("\r").split("\t")
        if fields == [""]:
            continue
        source = f"{name}, line {number}"
        if len(fields) != 3:
            raise ValueError(
                f"{source} has {len(fields)} fields: {fields}; give head, relation and tail, "
                f"separated by tabs, with {WANTED} for what to predict"
            )
        yield source, (fields[0], fields[1], fields[2])


def _csv_rows(name: str, content: bytes) -> Iterator[tuple[str, Parts]]:
    rows = csv.DictReader(text for _, text in _lines(name, content))
    if len(set(PARTS) & set(rows.fieldnames or ())) < 2:
        raise ValueError(f"{name} has no header; its first line must name head, relation and tail")
    for row in rows:
        yield f"{name}, line {rows.line_num}", _parts(row)


def _json_rows(name: str, content: bytes) -> Iterator[tuple[str, Parts]]:
    for number, text in _lines(name, content):
        source = f"{name}, line {number}"
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{source} is not JSON: {error.msg}") from None
        if not isinstance(row, dict) or not all(
            isinstance(row.get(part), str | None) for part in PARTS
        ):
            raise ValueError(f"{source} is no object with head, relation and tail as strings")
        yield source, _parts(row)


def _parts(row: Mapping[str, Any]) -> Parts:
    head, relation, tail = (row.get(part) or None for part in PARTS)
    return head, relation, tail


def _content(path: Path | str) -> bytes:
    content = sys.stdin.buffer.read() if str(path) == STDIN else Path(path).read_bytes()
    return content.removeprefix(b"\xef\xbb\xbf")  # a byte order mark


def _lines(name: str, content: bytes) -> Iterator[tuple[int, str]]:
    """Number and text of each line; a line ends with a line feed and nothing else."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            yield number, line.decode() + "\n"
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name}, line {number} is not UTF-8: {error.reason}; save the file as UTF-8"
            ) from None


def _ids(vocabulary: Vocabulary, names: list[str], sources: list[str]) -> Int[Tensor, "B"]:
    try:
        return vocabulary.ids(names)
    except UnknownNameError as error:
        known = set(vocabulary)
        row = next(row for row, name in enumerate(names) if not _is_known(vocabulary, known, name))
        raise UnknownNameError(f"{sources[row]}: {error}") from None


def _is_known(vocabulary: Vocabulary, names: set[str], name: str) -> bool:
    """Whether this is a name, or a label that only one has."""
    return name in names or (vocabulary.labels == name).sum() == 1


_READERS = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
