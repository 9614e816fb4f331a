"""File formats: finds the file of a table, decompresses it, and reads text and RDF as data frames.

Tab-separated text has no quoting: a field is all text between two tabs. Comma-separated text is
quoted as in RFC 4180. Names are kept as they are, including blanks at their ends. N-Triples and
Turtle are read by pyoxigraph (extra `rdf`), .zst files by zstandard (extra `benchmarks`).
"""

import csv
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader, BytesIO, RawIOBase
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from sparring.data.diagnostics import Diagnostic, Example, GraphError, Report, shorten
from sparring.extras import MissingExtraError, install_command, optional

TEXT = {".tsv": "\t", ".txt": "\t", ".csv": ","}
RDF = (".nt", ".ttl")
PARQUET = ".parquet"
BLOCK = 1 << 22  # bytes: large enough to parse fast, small enough to reuse memory
READABLE = ".tsv, .txt (tabs) or .csv, plain, .gz or .zst; .parquet; .nt or .ttl"


def _gzip(path: Path) -> tuple[Callable[[], Any], type[Exception]]:
    return lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), zlib.error


def _zstandard(path: Path) -> tuple[Callable[[], Any], type[Exception]]:
    zstandard = _optional("zstandard", path, "benchmarks")
    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


# by suffix: makes a decompressor for one member of the file, and names the error it raises
COMPRESSIONS = {".gz": _gzip, ".zst": _zstandard}


def _optional(module: str, path: Path, extra: str) -> ModuleType:
    """The optional package that reads a file.

    Raises:
        GraphError: if it is not installed; names the extra that installs it.
    """
    try:
        return optional(module, extra=extra, purpose=f"reading {path.name}")
    except MissingExtraError as error:
        hint = f"run {install_command(extra)}, or convert the file to plain tab-separated text"
        raise GraphError(Diagnostic(str(path), f"reading it needs {module}", hint)) from error


def file_format(path: Path) -> str:
    """The suffix that names the format, without that of the compression; "" if unknown."""
    suffix = Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    if suffix == PARQUET and path.suffix in COMPRESSIONS:
        return ""
    return suffix if suffix in TEXT or suffix in RDF or suffix == PARQUET else ""


def list_names(folder: Path) -> str:
    """Names of everything in a folder, for messages."""
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"


def find_table(folder: Path, stem: str, report: Report) -> Path | None:
    """The one file of a folder that holds the named table; None if there is none."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.split(".")[0] == stem and _is_table(path, stem)
    )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        hint = "keep the one that is to be read"
        report(Diagnostic(str(folder), f"{names} all hold {stem}", hint))
    return found[0] if found else None


def _is_table(path: Path, stem: str) -> bool:
    packed = path.suffix if path.suffix in COMPRESSIONS else ""
    return bool(file_format(path)) and path.name == f"{stem}{file_format(path)}{packed}"


def require_path(path: Path) -> Path:
    """The path itself.

    Raises:
        GraphError: if there is nothing at the path, or a file of an unknown kind.
    """
    if path.is_file() and not file_format(path):
        raise GraphError(Diagnostic(str(path), "unknown kind of file", f"give {READABLE}"))
    if not path.exists():
        parent = path.absolute().parent
        near = list_names(parent) if parent.is_dir() else "nothing"
        hint = f"correct the path; {parent} holds {near}"
        raise GraphError(Diagnostic(str(path), "no such file or folder", hint))
    return path


def read_blocks(path: Path, report: Report) -> Iterator[bytes]:
    """The decompressed bytes in large blocks that end with a line, without a byte order mark."""
    parts: list[bytes] = []
    size, mark = 0, b"\xef\xbb\xbf"
    for piece in _decompressed(path, report):
        parts.append(piece)
        size += len(piece)
        cut = piece.rfind(b"\n") + 1
        if size >= BLOCK and cut:
            parts[-1] = piece[:cut]
            yield b"".join(parts).removeprefix(mark)
            parts, size, mark = [piece[cut:]], len(piece) - cut, b""
    if last := b"".join(parts).removeprefix(mark):
        yield last


def _decompressed(path: Path, report: Report) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix not in COMPRESSIONS:
            while piece := file.read(BLOCK):
                yield piece
            return
        new_decompressor, decompression_error = COMPRESSIONS[path.suffix](path)
        try:
            yield from _decompress(file, new_decompressor)
        except (EOFError, decompression_error) as error:
            hint = "download the file again, or compress the original again"
            report(
                Diagnostic(
                    str(path), "broken compression", hint, (Example(value=shorten(str(error))),)
                )
            )


def _decompress(file: BufferedReader, new_decompressor: Callable) -> Iterator[bytes]:
    """All members of a compressed file. Unlike a stream reader, it notices a truncated file."""
    decompressor = None
    while piece := file.read(1 << 16):
        while piece:
            decompressor = decompressor or new_decompressor()
            yield decompressor.decompress(piece)
            piece = b""
            if decompressor.eof:
                piece, decompressor = decompressor.unused_data, None
    if decompressor is not None:
        raise EOFError("the file ends in the middle of its compressed data")


LINES_PER_FRAME = 500_000


def read_text_frames(
    path: Path, columns: tuple[str, ...], report: Report, extra_columns: bool = False
) -> Iterator[pl.DataFrame]:
    """The rows of a text file, with the number of the line on which each starts.

    Polars parses whole blocks. A block with an invalid line, and comma-separated text from its
    first quote on, is read line by line instead, so that every invalid line is reported.

    Args:
        path: the file.
        columns: names for the fields of a row.
        report: receives diagnostics.
        extra_columns: whether rows may have more fields, which are ignored.
    """
    delimiter = TEXT[file_format(path)]
    reader = _LineReader(path, columns, report, extra_columns)
    line = 1
    pieces = read_blocks(path, report)
    for block in pieces:
        if delimiter == "," and b'"' in block:
            yield from reader.frames(
                _parse_quoted(reader.texts(chain([block], pieces), line), line)
            )
            return
        frame = _parse_block(block, delimiter, columns, extra_columns)
        if frame is not None:
            yield frame.with_row_index("line", offset=line)
        elif delimiter == ",":
            yield from reader.frames(_parse_quoted(reader.texts([block], line), line))
        else:
            yield from reader.frames(_split_tabs(reader.texts([block], line), line))
        line += block.count(b"\n")


def _parse_block(
    block: bytes, delimiter: str, columns: tuple[str, ...], extra_columns: bool
) -> pl.DataFrame | None:
    """A block without quotes; None if any of its lines is not a row."""
    # With a header of our own, neither the first line nor a byte order mark is special.
    header = delimiter.join(columns).encode()
    try:
        frame = pl.read_csv(
            b"\n".join([header, block]),
            separator=delimiter,
            quote_char=None,
            schema=dict.fromkeys(columns, pl.String),
            truncate_ragged_lines=extra_columns,
        )
    except pl.exceptions.PolarsError:
        return None
    return None if sum(frame.null_count().row(0)) else frame


Record = tuple[int, list[str], str]


class _LineReader:
    """Reads line by line and reports lines that are not rows."""

    def __init__(self, path: Path, columns: tuple[str, ...], report: Report, extra_columns: bool):
        self.path, self.columns = path, columns
        self.report, self.extra_columns = report, extra_columns

    def texts(self, pieces: Iterable[bytes], line: int) -> Iterator[str]:
        """Lines with their line ends. A line that is not UTF-8 is reported."""
        for number, raw in enumerate(chain.from_iterable(map(BytesIO, pieces)), line):
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                near = shorten(raw[max(0, error.start - 20) : error.start + 20])
                self._report("not UTF-8", "save the file in the encoding UTF-8", number, near)
                yield raw.decode(errors="replace")

    def frames(self, records: Iterable[Record]) -> Iterator[pl.DataFrame]:
        """All valid rows, in frames of moderate size."""
        schema = {"line": pl.UInt32, **dict.fromkeys(self.columns, pl.String)}
        rows = self._rows(records)
        while some := list(islice(rows, LINES_PER_FRAME)):
            yield pl.DataFrame(some, schema=schema, orient="row")

    def _rows(self, records: Iterable[Record]) -> Iterator[tuple]:
        width = len(self.columns)
        wanted = f"give {' and '.join(self.columns)} in separate fields"
        for line, fields, quoting_error in records:
            value = shorten(fields)
            if quoting_error:
                hint = 'double each quote inside quotes, and close every quote ("a ""b"" c")'
                self._report(f"bad quoting ({quoting_error})", hint, line, "")
            elif not fields or fields == [""]:
                self._report("blank line", "delete it", line, "")
            elif len(fields) < width or (len(fields) > width and not self.extra_columns):
                most = " or more" if self.extra_columns else ""
                self._report(f"not {width}{most} fields", wanted, line, value)
            elif "" in fields[:width]:
                column = self.columns[fields.index("")]
                self._report(f"empty {column}", "name it, or delete the line", line, value)
            else:
                yield line, *fields[:width]

    def _report(self, problem: str, hint: str, line: int, value: str) -> None:
        example = Example(f"line {line}", value)
        self.report(Diagnostic(str(self.path), problem, hint, (example,)))


def _split_tabs(texts: Iterable[str], line: int) -> Iterator[Record]:
    for number, text in enumerate(texts, line):
        yield number, text.removesuffix("\n").removesuffix("\r").split("\t"), ""


def _parse_quoted(texts: Iterable[str], line: int) -> Iterator[Record]:
    reader = csv.reader(texts, strict=True)
    while True:
        number = line + reader.line_num
        try:
            yield number, next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            yield number, [], str(error)


STATEMENTS_PER_FRAME = 500_000
RDF_FORMATS = {".nt": "N_TRIPLES", ".ttl": "TURTLE"}


def read_rdf_frames(path: Path, columns: tuple[str, ...], report: Report) -> Iterator[pl.DataFrame]:
    """The statements of an RDF file, with their number as "line".

    With three columns, these are statements between nodes. Statements about literals are left out
    and counted. With two columns, such as entity and label, these are subject and object of each
    statement, including literals. IRIs are given without angle brackets, blank nodes as `_:name`.

    Raises:
        GraphError: if pyoxigraph is not installed.
    """
    rdf = _optional("pyoxigraph", path, "rdf")
    statements = enumerate(_parse_statements(rdf, path, report), 1)
    if len(columns) == 3:
        rows = _triples_of_nodes(rdf, path, statements, report)
    else:
        rows = (
            (n, _node_name(rdf, each.subject), _node_name(rdf, each.object))
            for n, each in statements
        )
    schema = {"line": pl.UInt32, **dict.fromkeys(columns, pl.String)}
    while some := list(islice(rows, STATEMENTS_PER_FRAME)):
        yield pl.DataFrame(some, schema=schema, orient="row")


def _parse_statements(rdf: ModuleType, path: Path, report: Report) -> Iterator:
    stream = BufferedReader(_BlockStream(read_blocks(path, report)))
    try:
        yield from rdf.parse(stream, format=getattr(rdf.RdfFormat, RDF_FORMATS[file_format(path)]))
    except SyntaxError as error:
        example = Example(f"line {error.lineno}", shorten(error.msg))
        hint = "correct the statement; the rest of the file was not read"
        report(Diagnostic(str(path), "broken statement", hint, (example,)))


def _triples_of_nodes(
    rdf: ModuleType, path: Path, statements: Iterator, report: Report
) -> Iterator[tuple]:
    literals, first = 0, ()
    for number, each in statements:
        if isinstance(each.object, rdf.Literal):
            literals += 1
            first = first or (Example(f"statement {number}", shorten(each.object.value)),)
            continue
        yield (
            number,
            _node_name(rdf, each.subject),
            each.predicate.value,
            _node_name(rdf, each.object),
        )
    if literals:
        hint = "left out, as literals are no entities; labels go into a file named labels"
        problem = "statements about literals"
        report(Diagnostic(str(path), problem, hint, first, literals, "note"))


def _node_name(rdf: ModuleType, node: Any) -> str:
    return f"_:{node.value}" if isinstance(node, rdf.BlankNode) else node.value


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
