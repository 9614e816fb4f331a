"""Diagnostics: problems in the files of a graph, where they are, and how to fix them.

Readers pass each `Diagnostic` to a `Report`: `RaiseOnError` stops at the first error,
`CollectDiagnostics` keeps all.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

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
    """

    file: str
    problem: str
    hint: str
    examples: tuple[Example, ...] = ()
    count: int = 1
    severity: Literal["error", "warning", "note"] = "error"

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

    Raises:
        GraphError: for the first diagnostic that is an error.
    """

    def __init__(self):
        self.notes: Counter[str] = Counter()

    def __call__(self, diagnostic: Diagnostic) -> None:
        if diagnostic.severity == "error":
            raise GraphError(diagnostic)
        self.notes[diagnostic.problem] += diagnostic.count
        level = logging.WARNING if diagnostic.severity == "warning" else logging.INFO
        logger.log(level, "%s", replace(diagnostic, examples=diagnostic.examples[:1]))


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


def shorten(value: object, width: int = 80) -> str:
    """A value as shown in a message: quoted, and cut if it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
