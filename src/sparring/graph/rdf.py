"""N-Triples and Turtle, read by pyoxigraph (extra `rdf`)."""

from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from types import ModuleType

import polars as pl

from sparring.graph.files import blocks, kind
from sparring.graph.findings import Example, Finding, GraphError, Report, shown

ROWS = 500_000
FORMATS = {".nt": "N_TRIPLES", ".ttl": "TURTLE"}


def rdf_frames(path: Path, columns: tuple[str, ...], report: Report) -> Iterator[pl.DataFrame]:
    """The statements of an RDF file, with their number as "line".

    With three columns, statements between nodes; those about literals are left out and counted.
    With two, such as entity and label, subject and object of each statement, literals included.
    IRIs stand without their angle brackets, blank nodes as `_:name`.

    Raises:
        GraphError: if pyoxigraph is not installed.
    """
    rdf = _pyoxigraph(path)
    statements = enumerate(_statements(rdf, path, report), 1)
    if len(columns) == 3:
        rows = _between_nodes(rdf, path, statements, report)
    else:
        rows = ((n, _name(rdf, each.subject), _name(rdf, each.object)) for n, each in statements)
    schema = {"line": pl.UInt32, **dict.fromkeys(columns, pl.String)}
    while some := list(islice(rows, ROWS)):
        yield pl.DataFrame(some, schema=schema, orient="row")


def _pyoxigraph(path: Path) -> ModuleType:
    try:
        import pyoxigraph
    except ImportError as error:
        remedy = "run pip install 'sparring[rdf]', or convert the file to tab-separated text"
        finding = Finding(str(path), "reading RDF needs pyoxigraph", remedy)
        raise GraphError(finding) from error
    return pyoxigraph


def _statements(rdf: ModuleType, path: Path, report: Report) -> Iterator:
    stream = BufferedReader(_Unpacked(blocks(path, report)))
    try:
        yield from rdf.parse(stream, format=getattr(rdf.RdfFormat, FORMATS[kind(path)]))
    except SyntaxError as error:
        example = Example(f"line {error.lineno}", shown(error.msg))
        remedy = "correct the statement; the rest of the file was not read"
        report(Finding(str(path), "broken statement", remedy, (example,)))


def _between_nodes(
    rdf: ModuleType, path: Path, statements: Iterator, report: Report
) -> Iterator[tuple]:
    literals, first = 0, ()
    for number, each in statements:
        if isinstance(each.object, rdf.Literal):
            literals += 1
            first = first or (Example(f"statement {number}", shown(each.object.value)),)
            continue
        yield number, _name(rdf, each.subject), each.predicate.value, _name(rdf, each.object)
    if literals:
        remedy = "left out, as literals are no entities; labels go into a file named labels"
        problem = "statements about literals"
        report(Finding(str(path), problem, remedy, first, literals, "note"))


def _name(rdf: ModuleType, node) -> str:
    return f"_:{node.value}" if isinstance(node, rdf.BlankNode) else node.value


class _Unpacked(RawIOBase):
    """A stream over the blocks of a file."""

    def __init__(self, pieces: Iterator[bytes]):
        self.pieces, self.rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self.rest:
            self.rest = memoryview(next(self.pieces, b""))
        taken = self.rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self.rest = self.rest[len(taken) :]
        return len(taken)
