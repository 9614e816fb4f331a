"""Text: rows of tab- or comma-separated files as data frames, and every line that is not a row.

Names are kept as they are, including blanks at their ends. Without quoting, a field is all text
between two separators. With quoting, as in RFC 4180, it may hold separators and line ends.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain, islice, tee
from pathlib import Path

import polars as pl

from sparring.data.columns import Layout
from sparring.data.diagnostics import Diagnostic, Example, Report, shorten
from sparring.data.formats import TEXT, file_format, read_blocks
from sparring.data.options import ReadOptions

LINES_PER_FRAME = 500_000
NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # what the error handler "surrogateescape" makes of it
Find = Callable[[list[str]], Layout]


def read_text_frames(
    path: Path, columns: tuple[str, ...], report: Report, options: ReadOptions, find: Find
) -> Iterator[pl.DataFrame]:
    """The rows of a text file, with the number of the line on which each starts.

    Polars parses whole blocks. A block with an invalid line, and quoted text from its first quote
    on, is read line by line instead, so that every invalid line is reported.

    Args:
        path: the file.
        columns: names for the wanted fields of a row.
        report: receives diagnostics.
        options: separator and quoting.
        find: the layout of the file, from its first row.
    """
    blocks, ahead = tee(read_blocks(path, report))
    syntax, start = _begin(path, options, ahead)
    del ahead  # or it would keep all blocks
    plain = Layout(tuple(range(len(columns))), len(columns))
    layout = find(start.fields) if start.fields else plain
    reader = _LineReader(path, columns, report, syntax, layout, start.line)
    line = 1
    for block in blocks:
        if syntax.quoting and b'"' in block:
            yield from reader.frames(_records(syntax, chain([block], blocks), line))
            return
        frame = _parse_block(block, syntax, reader.layout, columns)
        if frame is None:
            yield from reader.frames(_records(syntax, [block], line))
        elif len(frame := frame.with_row_index("line", offset=line)[reader.skipped(line) :]):
            yield frame
        line += block.count(b"\n")


@dataclass(frozen=True)
class _Syntax:
    """How a file is written. With `crlf`, lines end with carriage return and line feed."""

    separator: str
    quoting: bool
    crlf: bool = False


@dataclass(frozen=True)
class _Record:
    """The fields of a row, the number of its first line, its text, and an error in quotes."""

    line: int
    fields: list[str]
    text: str
    quoting_error: str = ""


def _begin(path: Path, options: ReadOptions, blocks: Iterable[bytes]) -> tuple[_Syntax, _Record]:
    """The syntax of a file, and its first row, whose line end is that of all rows.

    Rows that cannot be read are skipped. Without any row, the first one has no fields.
    """
    suffix = file_format(path)
    quoting = suffix == ".csv" if options.quoting == "auto" else options.quoting
    syntax = _Syntax(options.separator or TEXT[suffix], quoting)
    rows = (each for each in _records(syntax, blocks, 1) if each.text.strip("\r\n"))
    start = next((each for each in rows if not each.quoting_error), _Record(1, [], ""))
    syntax = replace(syntax, crlf=start.text.endswith("\r\n"))
    if start.fields and not quoting:
        start.fields[-1] = start.fields[-1].removesuffix("\r" if syntax.crlf else "")
    return syntax, start


def _records(syntax: _Syntax, blocks: Iterable[bytes], line: int) -> Iterator[_Record]:
    lines = (
        raw.decode("utf-8", "surrogateescape") for raw in chain.from_iterable(map(BytesIO, blocks))
    )
    if not syntax.quoting:
        for number, text in enumerate(lines, line):
            yield _Record(number, _without_end(text, syntax).split(syntax.separator), text)
        return
    read: list[str] = []
    recorded = (read.append(text) or text for text in lines)
    reader = csv.reader(recorded, delimiter=syntax.separator, strict=True)
    while True:
        number, fields, error = line + reader.line_num, [], ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            error = str(problem)
        yield _Record(number, fields, "".join(read), error)
        read.clear()


def _without_end(text: str, syntax: _Syntax) -> str:
    """A row without its line end."""
    if syntax.crlf and text.endswith("\r\n"):
        return text[:-2]
    return text.removesuffix("\n")


def _parse_block(
    block: bytes, syntax: _Syntax, layout: Layout, columns: tuple[str, ...]
) -> pl.DataFrame | None:
    """A block without quotes; None if any of its lines is not a row."""
    ends = block.count(b"\n") if syntax.crlf else 0
    if not block.count(b"\r") == block.count(b"\r\n") == ends:
        return None
    # With a header of our own, neither the first line nor a byte order mark is special.
    names = [str(position) for position in range(layout.width)]
    try:
        frame = pl.read_csv(
            b"\n".join([syntax.separator.join(names).encode(), block]),
            separator=syntax.separator,
            quote_char=None,
            schema=dict.fromkeys(names, pl.String),
            truncate_ragged_lines=not layout.exact,
        )
    except pl.exceptions.PolarsError:
        return None
    wanted = [str(position) for position in layout.positions]
    # a row that is too short ends with null
    if sum(frame.select({*wanted, names[-1]}).null_count().row(0)):
        return None
    return frame.select(wanted).rename(dict(zip(wanted, columns)))


class _LineReader:
    """Reads line by line and reports lines that are not rows."""

    def __init__(
        self,
        path: Path,
        columns: tuple[str, ...],
        report: Report,
        syntax: _Syntax,
        layout: Layout,
        start: int,
    ):
        self.path, self.columns, self.report = path, columns, report
        self.syntax, self.layout, self.start = syntax, layout, start

    def skipped(self, line: int) -> int:
        """How many rows to leave out of those that start on this line: the header, or none."""
        return int(self.layout.header and line == self.start)

    def frames(self, records: Iterable[_Record]) -> Iterator[pl.DataFrame]:
        """All valid rows, in frames of moderate size."""
        schema = {"line": pl.UInt32, **dict.fromkeys(self.columns, pl.String)}
        rows = self._rows(records)
        while some := list(islice(rows, LINES_PER_FRAME)):
            yield pl.DataFrame(some, schema=schema, orient="row")

    def _rows(self, records: Iterable[_Record]) -> Iterator[tuple]:
        for record in records:
            if self.skipped(record.line):
                continue
            defect = self._defect(record)
            if defect is None:
                yield record.line, *(record.fields[at] for at in self.layout.positions)
                continue
            problem, hint, value = defect
            # an open quote may hide other rows, which are not to be dropped with it
            hides = bool(record.quoting_error) and record.text.count("\n") > 1
            example = Example(f"line {record.line}", value)
            row = None if hides else _without_end(record.text, self.syntax)
            self.report(Diagnostic(str(self.path), problem, hint, (example,), row=row))

    def _defect(self, record: _Record) -> tuple[str, str, str] | None:
        """What is wrong with a row, a hint, and the value to show; None if all is right."""
        text, fields, error = _without_end(record.text, self.syntax), record.fields, ""
        layout, value = self.layout, shorten(record.fields)
        if bad := NOT_UTF_8.search(record.text):
            start = len(record.text[: bad.start()].encode("utf-8", "surrogateescape"))
            near = record.text.encode("utf-8", "surrogateescape")[max(0, start - 20) : start + 20]
            return "not UTF-8", "save the file in the encoding UTF-8", shorten(near)
        error = record.quoting_error
        if text.endswith("\r") or error.startswith("new-line") or self._ends_with_return(fields):
            hint = "delete it, or write all line ends alike; in .csv, it may be kept in quotes"
            return "carriage return at the end of a field", hint, shorten(text)
        if self.syntax.crlf and record.text.endswith("\n") and not record.text.endswith("\r\n"):
            return "another line end than in the first row", "write all line ends alike", value
        if error:
            hint = 'double each quote inside quotes, and close every quote ("a ""b"" c")'
            return f"bad quoting ({error})", hint, ""
        if fields in ([], [""]):
            return "blank line", "delete it", ""
        if len(fields) < layout.width or (len(fields) > layout.width and layout.exact):
            most = "" if layout.exact else " or more"
            return f"not {layout.width}{most} fields", self._hint(text, len(fields)), value
        for column, at in zip(self.columns, layout.positions):
            if not fields[at]:
                return f"empty {column}", "name it, or delete the line", value
        return None

    def _ends_with_return(self, fields: list[str]) -> bool:
        return not self.syntax.quoting and any(field.endswith("\r") for field in fields)

    def _hint(self, text: str, found: int) -> str:
        """How to get the right number of fields."""
        width = self.layout.width
        for separator in "\t,;|":
            if found == 1 and text.count(separator) >= width - 1:
                name = "tab" if separator == "\t" else separator
                return f'if {separator!r} separates fields, set separator (--separator "{name}")'
        wanted = f"give {' and '.join(self.columns)} in separate fields"
        more = ", or choose columns (--columns 1,2,3)" if found > width else ""
        return wanted + more
