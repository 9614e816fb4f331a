"""RDF: statements between nodes become triples; labels and types of nodes are kept next to them.

Anything that pyoxigraph reads. IRIs are given without angle brackets, blank nodes as `_:name`. A
blank node without a name gets one from the stem of the file and the order of appearance, such as
`_:facts[1]`, so that a file gives the same names at every read. Named graphs are read as one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from sparring.data.diagnostics import EXAMPLES, Diagnostic, Example, Report, shorten
from sparring.data.formats import RDF, file_format, import_reader, read_blocks
from sparring.data.options import ReadOptions

STATEMENTS_PER_FRAME = 500_000
TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
LABELS = (
    "http://www.w3.org/2000/01/rdf-schema#label",
    "http://www.w3.org/2004/02/skos/core#prefLabel",
)
UNNAMED = re.compile("[a-f][0-9a-f]{23,31}")  # the random name of a blank node without a name
ALL_NAMED = (".nt", ".nq")


@dataclass(frozen=True)
class Annotations:
    """What RDF says about nodes.

    Attributes:
        labels: of each name, with a rank of its language; the lowest rank wins, then the first.
        types: pairs of name and type that are no facts.
    """

    labels: dict[str, tuple[int, str]] = field(default_factory=dict)
    types: list[tuple[str, str]] = field(default_factory=list)

    def add_label(self, name: str, label: str, language: str | None) -> None:
        """Keep a label if it is better than the one that is known: no language, then English."""
        rank = 0 if not language else 1 if language.lower().split("-")[0] == "en" else 2
        if label and (name not in self.labels or rank < self.labels[name][0]):
            self.labels[name] = (rank, label)

    def label_table(self) -> pl.DataFrame:
        """All labels, as a frame of name and label."""
        rows = [(name, label) for name, (_, label) in self.labels.items()]
        return pl.DataFrame(rows, schema={"name": pl.String, "label": pl.String}, orient="row")

    def type_table(self) -> pl.DataFrame:
        """All types, as a frame of name and type."""
        return pl.DataFrame(self.types, schema={"name": pl.String, "type": pl.String}, orient="row")


def read_rdf_frames(
    path: Path,
    columns: tuple[str, ...],
    report: Report,
    options: ReadOptions,
    annotations: Annotations,
) -> Iterator[pl.DataFrame]:
    """The statements of an RDF file, with their number as "line".

    With three columns, these are statements between nodes. Labels go to `annotations`; statements
    about other literals are left out and counted. With two columns, such as entity and label, these
    are subject and object of each statement, including literals.

    Raises:
        GraphError: if pyoxigraph is not installed.
    """
    rdf = import_reader("pyoxigraph", path, "rdf")
    statements = enumerate(_parse_statements(rdf, path, report), 1)
    names = _Names(rdf, path)
    if len(columns) == 3:
        rows = _triples_of_nodes(names, path, statements, report, options, annotations)
    else:
        rows = ((n, names(each.subject), names(each.object)) for n, each in statements)
    schema = {"line": pl.UInt32, **dict.fromkeys(columns, pl.String)}
    while some := list(islice(rows, STATEMENTS_PER_FRAME)):
        yield pl.DataFrame(some, schema=schema, orient="row")


def _parse_statements(rdf: ModuleType, path: Path, report: Report) -> Iterator:
    stream = BufferedReader(_BlockStream(read_blocks(path, report)))
    try:
        yield from rdf.parse(stream, format=getattr(rdf.RdfFormat, RDF[file_format(path)]))
    except SyntaxError as error:
        example = Example(f"line {error.lineno}" if error.lineno else "", shorten(error.msg, 200))
        hint = "correct the statement; the rest of the file was not read"
        report(Diagnostic(str(path), "broken statement", hint, (example,)))


def _triples_of_nodes(
    names: "_Names",
    path: Path,
    statements: Iterator,
    report: Report,
    options: ReadOptions,
    annotations: Annotations,
) -> Iterator[tuple]:
    literals: Counter[str] = Counter()
    first: dict[str, str] = {}
    nested = 0
    for number, each in statements:
        subject, predicate, value = each.subject, each.predicate.value, each.object
        if names.is_nested(subject) or names.is_nested(value):
            nested += 1
        elif names.is_literal(value):
            if predicate in LABELS:
                annotations.add_label(names(subject), value.value, value.language)
                continue
            kind = re.split("[#/]", value.datatype.value)[-1]
            literals[kind] += 1
            first.setdefault(kind, f"statement {number}, {shorten(value.value)}")
        elif predicate == TYPE and not options.type_facts:
            annotations.types.append((names(subject), names(value)))
        else:
            yield number, names(subject), predicate, names(value)
    if literals:
        hint = "left out, as literals are no entities"
        often = literals.most_common(EXAMPLES)
        examples = tuple(Example(f"{count} of {kind}", first[kind]) for kind, count in often)
        problem, count = "statements about literals", sum(literals.values())
        report(Diagnostic(str(path), problem, hint, examples, count, "note"))
    if nested:
        problem, hint = "statements about statements", "left out, as statements are no entities"
        report(Diagnostic(str(path), problem, hint, (), nested, "note"))


class _Names:
    """Names of nodes, the same at every read of a file."""

    def __init__(self, rdf: ModuleType, path: Path):
        self._blank, self._literal, self._triple = rdf.BlankNode, rdf.Literal, rdf.Triple
        self._stem = path.name.split(".")[0]
        self._all_named = file_format(path) in ALL_NAMED
        self._unnamed: dict[str, str] = {}

    def is_literal(self, node: Any) -> bool:
        return isinstance(node, self._literal)

    def is_nested(self, node: Any) -> bool:
        return isinstance(node, self._triple)

    def __call__(self, node: Any) -> str:
        if not isinstance(node, self._blank):
            return node.value
        name = node.value
        if self._all_named or not UNNAMED.fullmatch(name):
            return f"_:{name}"
        return self._unnamed.setdefault(name, f"_:{self._stem}[{len(self._unnamed) + 1}]")


class _BlockStream(RawIOBase):
    """A stream over the blocks of a file."""

    def __init__(self, pieces: Iterator[bytes]):
        self.pieces, self.rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.rest:
            self.rest = memoryview(next(self.pieces, b""))
        taken = self.rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self.rest = self.rest[len(taken) :]
        return len(taken)
