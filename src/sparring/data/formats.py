"""Which file holds a table, and what bytes are in it.

Lines of text in, frames of names out; every line that is not a row is reported.

Tab-separated text has no quoting: a field is what stands between two tabs. Comma-separated
text is quoted as RFC 4180 says. Names are kept as they are, blanks at their ends included.

N-Triples and Turtle, read by pyoxigraph (extra `rdf`)."""

import csv
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader, BytesIO, RawIOBase
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import zstandard

from sparring.data.diagnostics import Diagnostic, Example, GraphError, Report, shown

TEXT = {".tsv": "\t", ".txt": "\t", ".csv": ","}
RDF = (".nt", ".ttl")
PARQUET = ".parquet"
PACKED: dict[str, Callable] = {
    ".gz": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    ".zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
BLOCK = 1 << 22  # large enough to parse fast, small enough to reuse memory
READABLE = ".tsv, .txt (tabs) or .csv, plain, .gz or .zst; .parquet; .nt or .ttl"


def kind(path: Path) -> str:
    """The suffix that says what the file holds, without that of its packing; "" if unknown."""
    suffix = Path(path.stem).suffix if path.suffix in PACKED else path.suffix
    if suffix == PARQUET and path.suffix in PACKED:
        return ""
    return suffix if suffix in TEXT or suffix in RDF or suffix == PARQUET else ""


def contents(folder: Path) -> str:
    """Names of everything in a folder, for messages."""
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"


def find(folder: Path, stem: str, report: Report) -> Path | None:
    """The one file of a folder that holds the named table; None if there is none."""
    found = sorted(
        path for path in folder.iterdir() if path.name.split(".")[0] == stem and _holds(path, stem)
    )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        hint = "keep the one that is to be read"
        report(Diagnostic(str(folder), f"{names} all hold {stem}", hint))
    return found[0] if found else None


def _holds(path: Path, stem: str) -> bool:
    packed = path.suffix if path.suffix in PACKED else ""
    return bool(kind(path)) and path.name == f"{stem}{kind(path)}{packed}"


def required(path: Path) -> Path:
    """The path itself.

    Raises:
        GraphError: if there is nothing at the path, or a file of an unknown kind.
    """
    if path.is_file() and not kind(path):
        raise GraphError(Diagnostic(str(path), "unknown kind of file", f"give {READABLE}"))
    if not path.exists():
        parent = path.absolute().parent
        near = contents(parent) if parent.is_dir() else "nothing"
        hint = f"correct the path; {parent} holds {near}"
        raise GraphError(Diagnostic(str(path), "no such file or folder", hint))
    return path


def blocks(path: Path, report: Report) -> Iterator[bytes]:
    """The unpacked bytes in large pieces that end where a line ends; no byte order mark."""
    parts: list[bytes] = []
    size, mark = 0, b"\xef\xbb\xbf"
    for piece in _unpacked(path, report):
        parts.append(piece)
        size += len(piece)
        cut = piece.rfind(b"\n") + 1
        if size >= BLOCK and cut:
            parts[-1] = piece[:cut]
            yield b"".join(parts).removeprefix(mark)
            parts, size, mark = [piece[cut:]], len(piece) - cut, b""
    if last := b"".join(parts).removeprefix(mark):
        yield last


def _unpacked(path: Path, report: Report) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix not in PACKED:
            while piece := file.read(BLOCK):
                yield piece
            return
        try:
            yield from _inflated(file, PACKED[path.suffix])
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            hint = "fetch the file again, or pack it again from the original"
            report(
                Diagnostic(
                    str(path), "broken compression", hint, (Example(value=shown(str(error))),)
                )
            )


def _inflated(file: BufferedReader, machine: Callable) -> Iterator[bytes]:
    """All members of a packed file. Unlike a stream reader, it notices a file that was cut."""
    unpacker = None
    while piece := file.read(1 << 16):
        while piece:
            unpacker = unpacker or machine()
            yield unpacker.decompress(piece)
            piece = b""
            if unpacker.eof:
                piece, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise EOFError("the file ends in the middle of its compressed data")


LINES_AT_ONCE = 500_000


def text_frames(
    path: Path, columns: tuple[str, ...], report: Report, more: bool = False
) -> Iterator[pl.DataFrame]:
    """The rows of a text file, in order, with the number of the line they start on.

    Polars parses whole blocks. A block that is not in order, and comma-separated text from its
    first quote on, is read line by line instead, so that each line that is no row is named.

    Args:
        columns: names for the fields of a row.
        more: whether rows may have further fields, which are ignored.
    """
    delimiter = TEXT[kind(path)]
    scan = _Scan(path, columns, report, more)
    line = 1
    pieces = blocks(path, report)
    for block in pieces:
        if delimiter == "," and b'"' in block:
            yield from scan.frames(_quoted(scan.texts(chain([block], pieces), line), line))
            return
        frame = _parsed(block, delimiter, columns, more)
        if frame is not None:
            yield frame.with_row_index("line", offset=line)
        elif delimiter == ",":
            yield from scan.frames(_quoted(scan.texts([block], line), line))
        else:
            yield from scan.frames(_plain(scan.texts([block], line), line))
        line += block.count(b"\n")


def _parsed(
    block: bytes, delimiter: str, columns: tuple[str, ...], more: bool
) -> pl.DataFrame | None:
    """A block without quotes; None where any of its lines is no row."""
    # With a header of our own, neither the first line nor a byte order mark is special.
    header = delimiter.join(columns).encode()
    try:
        frame = pl.read_csv(
            b"\n".join([header, block]),
            separator=delimiter,
            quote_char=None,
            schema=dict.fromkeys(columns, pl.String),
            truncate_ragged_lines=more,
        )
    except pl.exceptions.PolarsError:
        return None
    return None if sum(frame.null_count().row(0)) else frame


Record = tuple[int, list[str], str]


class _Scan:
    """Reads line by line and reports the lines that are not rows."""

    def __init__(self, path: Path, columns: tuple[str, ...], report: Report, more: bool):
        self.path, self.columns, self.report, self.more = path, columns, report, more

    def texts(self, pieces: Iterable[bytes], line: int) -> Iterator[str]:
        """Lines with their ends; a line that is not UTF-8 is reported."""
        for number, raw in enumerate(chain.from_iterable(map(BytesIO, pieces)), line):
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                near = shown(raw[max(0, error.start - 20) : error.start + 20])
                self._tell("not UTF-8", "save the file in the encoding UTF-8", number, near)
                yield raw.decode(errors="replace")

    def frames(self, records: Iterable[Record]) -> Iterator[pl.DataFrame]:
        """What is in order, in frames of moderate size."""
        schema = {"line": pl.UInt32, **dict.fromkeys(self.columns, pl.String)}
        rows = self._rows(records)
        while some := list(islice(rows, LINES_AT_ONCE)):
            yield pl.DataFrame(some, schema=schema, orient="row")

    def _rows(self, records: Iterable[Record]) -> Iterator[tuple]:
        width = len(self.columns)
        wanted = f"give {' and '.join(self.columns)} in fields of their own"
        for line, fields, broken in records:
            value = shown(fields)
            if broken:
                hint = 'double each quote inside quotes, and close every quote ("a ""b"" c")'
                self._tell(f"bad quoting ({broken})", hint, line, "")
            elif not fields or fields == [""]:
                self._tell("blank line", "delete it", line, "")
            elif len(fields) < width or (len(fields) > width and not self.more):
                most = " or more" if self.more else ""
                self._tell(f"not {width}{most} fields", wanted, line, value)
            elif "" in fields[:width]:
                column = self.columns[fields.index("")]
                self._tell(f"empty {column}", "name it, or delete the line", line, value)
            else:
                yield line, *fields[:width]

    def _tell(self, problem: str, hint: str, line: int, value: str) -> None:
        example = Example(f"line {line}", value)
        self.report(Diagnostic(str(self.path), problem, hint, (example,)))


def _plain(texts: Iterable[str], line: int) -> Iterator[Record]:
    for number, text in enumerate(texts, line):
        yield number, text.removesuffix("\n").removesuffix("\r").split("\t"), ""


def _quoted(texts: Iterable[str], line: int) -> Iterator[Record]:
    reader = csv.reader(texts, strict=True)
    while True:
        number = line + reader.line_num
        try:
            yield number, next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            yield number, [], str(error)


STATEMENTS_AT_ONCE = 500_000
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
    while some := list(islice(rows, STATEMENTS_AT_ONCE)):
        yield pl.DataFrame(some, schema=schema, orient="row")


def _pyoxigraph(path: Path) -> ModuleType:
    try:
        import pyoxigraph
    except ImportError as error:
        hint = "run pip install 'sparring[rdf]', or convert the file to tab-separated text"
        finding = Diagnostic(str(path), "reading RDF needs pyoxigraph", hint)
        raise GraphError(finding) from error
    return pyoxigraph


def _statements(rdf: ModuleType, path: Path, report: Report) -> Iterator:
    stream = BufferedReader(_Unpacked(blocks(path, report)))
    try:
        yield from rdf.parse(stream, format=getattr(rdf.RdfFormat, FORMATS[kind(path)]))
    except SyntaxError as error:
        example = Example(f"line {error.lineno}", shown(error.msg))
        hint = "correct the statement; the rest of the file was not read"
        report(Diagnostic(str(path), "broken statement", hint, (example,)))


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
        hint = "left out, as literals are no entities; labels go into a file named labels"
        problem = "statements about literals"
        report(Diagnostic(str(path), problem, hint, first, literals, "note"))


def _name(rdf: ModuleType, node: Any) -> str:
    return f"_:{node.value}" if isinstance(node, rdf.BlankNode) else node.value


class _Unpacked(RawIOBase):
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
