"""What checks find, in plain words."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]
PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        about: what was looked at, such as "ids in range".
        words: what is wrong with it.
        severity: an "error" is wrong whatever was meant; a "warning" may be meant.
    """

    about: str
    words: str
    severity: Severity = "error"


class Report:
    """Collects faults instead of stopping at the first.

    Attributes:
        looked_at: everything that was looked at, in order, with or without faults.
    """

    def __init__(self):
        self.faults: list[Fault] = []
        self.looked_at: list[str] = []

    @contextmanager
    def about(self, what: str) -> Iterator[Callable[..., None]]:
        """Look at one thing: gives `expect(kept, words, severity)`. What is raised is a fault."""

        def expect(kept: Any, words: str, severity: Severity = "error") -> None:
            if not kept:
                self.faults.append(Fault(what, words, severity))

        if what not in self.looked_at:
            self.looked_at.append(what)
        try:
            with time_limit(PATIENCE):
                yield expect
        except AssertionError as error:
            expect(False, str(error))
        except Exception as error:  # whatever a sampler may raise
            first = (str(error).splitlines() or [""])[0]
            expect(False, f"raised {type(error).__name__}: {first}")

    @property
    def errors(self) -> list[Fault]:
        """The faults that are wrong whatever was meant."""
        return [fault for fault in self.faults if fault.severity == "error"]

    def confirm(self) -> None:
        """Raise AssertionError with all errors, if there are any."""
        assert not self.errors, "; ".join(fault.words for fault in self.errors)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer; only the main thread can be limited."""

    def stop(number, frame):
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
