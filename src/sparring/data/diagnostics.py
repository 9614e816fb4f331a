"""Diagnostics: problems in the files of a graph, where they are, and how to fix them.

Readers pass each `Diagnostic` to a `Report`: `RaiseOnError` stops at the first error,
`CollectDiagnostics` keeps all, and `DropDefects` leaves out rows that cannot be read.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

logger = logging.getLogger(__name__)

EXAMPLES = 5


class GraphError(ValueError):
    """A graph that cannot be read; the message is a `Diagnostic` or a sentence, with a hint."""


@dataclass(frozen=True)
class Example:
    """One place where a problem occurs.

    Attributes:
        place: such as "line 17"; empty for the file as a whole.
        value: the text at this place, shortened.
    """

    place: str = ""
    value: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.place, self.value]))


@dataclass(frozen=True)
class Diagnostic:
    """One kind of problem in one file.

    Attributes:
        file: the file or folder.
        problem: what is wrong, in words that fit every place.
        hint: how to fix it.
        examples: the first few places.
        count: how often the problem occurs.
        severity: a graph with an "error" cannot be read; with a "warning" or a "note" it can.
        row: the whole row, if the graph could be read without it.
    """

    file: str
    problem: str
    hint: str
    examples: tuple[Example, ...] = ()
    count: int = 1
    severity: Literal["error", "warning", "note"] = "error"
    row: str | None = None

    def __str__(self) -> str:
        if self.count == 1:
            only = self.examples[0] if self.examples else Example()
            where = f"{self.file}, {only.place}" if only.place else self.file
            what = f"{self.problem}: {only.value}" if only.value else self.problem
            return f"{where}: {what}; {self.hint}"
        listed = "; ".join([*map(str, self.examples), *["..."][: self.count - len(self.examples)]])
        return f"{self.file}: {self.problem}, {self.count} in all ({listed}); {self.hint}"


Report = Callable[[Diagnostic], None]


class RaiseOnError:
    """Raises the first error. Logs all other diagnostics and counts them in `notes`.

    Args:
        brief: log nothing but the line of `summary`, when all is read.

    Raises:
        GraphError: for the first diagnostic that is an error.
    """

    def __init__(self, *, brief: bool = False):
        self.notes: Counter[str] = Counter()
        self._brief, self._warned = brief, Counter[str]()

    def __call__(self, diagnostic: Diagnostic) -> None:
        if diagnostic.severity == "error":
            raise GraphError(diagnostic)
        self.notes[diagnostic.problem] += diagnostic.count
        if diagnostic.severity == "warning":
            self._warned[diagnostic.problem] += diagnostic.count
        if self._brief:
            return
        level = logging.WARNING if diagnostic.severity == "warning" else logging.INFO
        logger.log(level, "%s", replace(diagnostic, examples=diagnostic.examples[:1]))

    def log_summary(self, source: Path) -> None:
        """Log all warnings in one line, where they were not logged one by one."""
        if self._brief and self._warned:
            found = ", ".join(f"{problem} ({count:,})" for problem, count in self._warned.items())
            logger.warning("%s: %s; see `sparring data check %s`", source, found, source)


class CollectDiagnostics:
    """Keeps all diagnostics: one per file and problem, with its first few examples."""

    def __init__(self):
        self._found: dict[tuple[str, str], Diagnostic] = {}

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All diagnostics so far, in order of first appearance."""
        return list(self._found.values())

    def __call__(self, diagnostic: Diagnostic) -> None:
        key = (diagnostic.file, diagnostic.problem)
        before = self._found.get(key)
        if before is None:
            self._found[key] = replace(diagnostic, examples=diagnostic.examples[:EXAMPLES])
            return
        self._found[key] = replace(
            before,
            count=before.count + diagnostic.count,
            examples=(before.examples + diagnostic.examples)[:EXAMPLES],
        )


class DropDefects:
    """Counts the errors of single rows, which the reader leaves out; passes on all others.

    Each kind of defect becomes one warning when all is read.

    Args:
        report: receives all other diagnostics, and the warnings.
        path: file that receives the rows, with file, place and reason; None for no file. It is
            written only if there are such rows.
    """

    def __init__(self, report: Report, path: Path | None):
        self._report, self._path = report, path
        self._dropped = CollectDiagnostics()
        self._open = ExitStack()
        self._file: TextIO | None = None

    def __call__(self, diagnostic: Diagnostic) -> None:
        if diagnostic.severity != "error" or diagnostic.row is None:
            self._report(diagnostic)
            return
        self._dropped(diagnostic)
        if self._path is not None:
            place = diagnostic.examples[0].place if diagnostic.examples else ""
            self._write(diagnostic.file, place, diagnostic.problem, diagnostic.row)

    @contextmanager
    def reading(self) -> Iterator["DropDefects"]:
        """Closes the file at the end, and reports what was dropped."""
        with self._open:
            yield self
        hint = "left out" if self._path is None else f"left out, and listed in {self._path}"
        for each in self._dropped.diagnostics:
            dropped = replace(each, problem=f"dropped: {each.problem}", severity="warning")
            self._report(replace(dropped, hint=hint, row=None))

    def _write(self, *cells: str) -> None:
        if self._file is None and self._path is not None:
            self._file = self._open.enter_context(self._path.open("w", encoding="utf-8"))
            self._file.write("file\tplace\treason\trow\n")
        if self._file is not None:
            self._file.write("\t".join(map(_escape, cells)) + "\n")


def _escape(text: str) -> str:
    """Text without tabs and line ends; bytes that are not UTF-8 are shown as hexadecimal."""
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shorten(value: object, width: int = 80) -> str:
    """A value as shown in a message: quoted, and cut if it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
