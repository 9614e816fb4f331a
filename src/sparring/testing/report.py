"""What the checks find: a report that collects violations instead of stopping at the first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

Severity = Literal["error", "warning"]
TIME_LIMIT = 60  # seconds for one check


@dataclass(frozen=True)
class Violation:
    """One promise that is not kept.

    Attributes:
        check: which check found it, such as "ids in range".
        message: what is wrong.
        severity: an "error" is always wrong; a "warning" may be intended.
    """

    check: str
    message: str
    severity: Severity = "error"


class Report:
    """The violations that a series of checks found.

    Attributes:
        checks: names of all checks that were run, in order, with or without violations.
        violations: what they found.
    """

    def __init__(self):
        self.checks: list[str] = []
        self.violations: list[Violation] = []

    @contextmanager
    def check(self, name: str) -> Iterator[Callable[..., None]]:
        """Run one check; an exception in it is a violation, and so is taking too long.

        Yields:
            `expect(kept, message, severity="error")`, which notes a violation where `kept` is
            false.
        """

        def expect(kept: Any, message: str, severity: Severity = "error") -> None:
            if not kept:
                self.violations.append(Violation(name, message, severity))

        if name not in self.checks:
            self.checks.append(name)
        try:
            with time_limit(TIME_LIMIT):
                yield expect
        except AssertionError as error:
            expect(False, str(error))
        except Exception as error:  # a sampler may raise anything
            first = (str(error).splitlines() or [""])[0]
            expect(False, f"raised {type(error).__name__}: {first}")

    @property
    def errors(self) -> list[Violation]:
        """The violations that are not warnings."""
        return [violation for violation in self.violations if violation.severity == "error"]

    def __str__(self) -> str:
        """One line for each check, with its violations."""
        lines: list[str] = []
        for name in self.checks:
            found = [one for one in self.violations if one.check == name]
            lines += [f"{one.severity}: {name}: {one.message}" for one in found] or [f"ok: {name}"]
        return "\n".join(lines)

    def raise_errors(self) -> None:
        """Raise AssertionError with the messages of all errors, if there are any."""
        if self.errors:
            raise AssertionError("; ".join(violation.message for violation in self.errors))


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer; only in the main thread."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds} seconds")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
