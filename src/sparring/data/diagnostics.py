"""What is wrong with the files of a graph, where, and what to do about it."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

logger = logging.getLogger(__name__)

EXAMPLES = 5


class GraphError(ValueError):
    """A graph that cannot be read as it is: a `Diagnostic` or a sentence, with the remedy."""


@dataclass(frozen=True)
class Example:
    """One place where a problem shows.

    Attributes:
        place: such as "line 17"; empty where the file as a whole is meant.
        value: what stands there, shortened.
    """

    place: str = ""
    value: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.place, self.value]))


@dataclass(frozen=True)
class Diagnostic:
    """One kind of problem in one file.

    Attributes:
        problem: what is wrong, in words that fit every place.
        hint: what to do about it.
        count: how often it occurs; `examples` shows the first few.
        severity: an "error" keeps the graph from being read; a "warning" or a "note" does not.
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
    """Raises at the first error; logs everything else and counts it in `notes`.

    Raises:
        GraphError: for the first finding that is an error.
    """

    def __init__(self):
        self.notes: Counter[str] = Counter()

    def __call__(self, finding: Diagnostic) -> None:
        if finding.severity == "error":
            raise GraphError(finding)
        self.notes[finding.problem] += finding.count
        level = logging.WARNING if finding.severity == "warning" else logging.INFO
        logger.log(level, "%s", replace(finding, examples=finding.examples[:1]))


class CollectDiagnostics:
    """Keeps every finding, one per file and problem, with its first few examples."""

    def __init__(self):
        self._found: dict[tuple[str, str], Diagnostic] = {}

    @property
    def findings(self) -> list[Diagnostic]:
        """What was found so far, in order of first appearance."""
        return list(self._found.values())

    def __call__(self, finding: Diagnostic) -> None:
        key = (finding.file, finding.problem)
        before = self._found.get(key)
        if before is None:
            self._found[key] = replace(finding, examples=finding.examples[:EXAMPLES])
            return
        self._found[key] = replace(
            before,
            count=before.count + finding.count,
            examples=(before.examples + finding.examples)[:EXAMPLES],
        )


def shown(value: object, width: int = 80) -> str:
    """A value as it stands in a message: quoted, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
