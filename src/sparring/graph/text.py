"""Lines of text in, frames of names out; every line that is not a row is reported.

Tab-separated text has no quoting: a field is what stands between two tabs. Comma-separated
text is quoted as RFC 4180 says. Names are kept as they are, blanks at their ends included.
"""

import csv
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import chain, islice
from pathlib import Path

import polars as pl

from sparring.graph.files import TEXT, blocks, kind
from sparring.graph.findings import Example, Finding, Report, shown

ROWS = 500_000


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
        while some := list(islice(rows, ROWS)):
            yield pl.DataFrame(some, schema=schema, orient="row")

    def _rows(self, records: Iterable[Record]) -> Iterator[tuple]:
        width = len(self.columns)
        wanted = f"give {' and '.join(self.columns)} in fields of their own"
        for line, fields, broken in records:
            value = shown(fields)
            if broken:
                remedy = 'double each quote inside quotes, and close every quote ("a ""b"" c")'
                self._tell(f"bad quoting ({broken})", remedy, line, "")
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

    def _tell(self, problem: str, remedy: str, line: int, value: str) -> None:
        example = Example(f"line {line}", value)
        self.report(Finding(str(self.path), problem, remedy, (example,)))


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
