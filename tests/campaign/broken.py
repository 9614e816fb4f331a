"""Ways to break the library that an attack must notice: the campaign tried on itself."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from mutants.plugin import Break, Mutant


@dataclass(frozen=True)
class Broken:
    """A broken library.

    Attributes:
        mutant: how it is broken.
        attack: the name of the attack that must find it.
    """

    mutant: Mutant
    attack: str

    def apply(self) -> None:
        """Break the library in this process."""
        self.mutant.apply()


BROKEN: dict[str, Broken] = {}


def broken(target: str, attack: str) -> Callable[[Break], Break]:
    """Register a function that makes the broken version of `target` from the original."""

    def known(make: Break) -> Break:
        BROKEN[make.__name__] = Broken(Mutant(target, make, ()), attack)
        return make

    return known


@broken("sparring.files:json_digest", "flipped bits")
def digests_are_all_the_same(original: Any) -> Any:
    return lambda content: ""


@broken("sparring.experiments.callbacks:_end", "killed: run")
def the_log_is_not_cut_at_the_checkpoint(original: Any) -> Any:
    return lambda path, step: path.stat().st_size


@broken("sparring.files:write_atomically", "killed: run")
def files_are_written_in_place(original: Any) -> Any:
    return lambda path, content: path.write_bytes(content)


@broken("sparring.files:remove_drafts", "killed: run")
def drafts_stay(original: Any) -> Any:
    return lambda folder: None


@broken("sparring.files:locked", "two at once: run")
def nothing_is_locked(original: Any) -> Any:
    return lambda folder, wait=False: folder.mkdir(parents=True, exist_ok=True) or nullcontext()


@broken("sparring.files:write_atomically", "disk full: run")
def a_full_disk_is_ignored(original: Any) -> Any:
    def make(path: Any, content: bytes) -> None:
        with suppress(OSError):
            original(path, content)

    return make


@broken("sparring.experiments.console:exit_code", "little memory: run")
def too_little_memory_is_a_surprise(original: Any) -> Any:
    return lambda error: None


@broken("sparring.training.trainer:Trainer.stop", "signals: run")
def training_cannot_be_stopped(original: Any) -> Any:
    def stop(self: Any) -> None:
        raise SystemExit(0)

    return stop


@broken("sparring.seeds:Seeds.number", "clock jumps: run")
def random_numbers_depend_on_the_clock(original: Any) -> Any:
    import time

    return lambda self, name: original(self, f"{name} {time.time() // 10**6}")


@broken("sparring.data.datasets:_check", "bad downloads")
def downloads_are_not_checked(original: Any) -> Any:
    return lambda name, folder: None


@broken("sparring.experiments.console:exit_code", "broken data files")
def no_error_is_expected(original: Any) -> Any:
    return lambda error: None


@broken("sparring.option_types:_fits", "odd configurations")
def types_of_options_are_not_checked(original: Any) -> Any:
    return lambda value, annotation: True


@broken("sparring.experiments.console:sentence", "odd command lines")
def an_error_takes_many_lines(original: Any) -> Any:
    return lambda error: f"{original(error)}\nTraceback (most recent call last)"


@broken("sparring.printing:printable", "hostile names")
def control_characters_are_printed(original: Any) -> Any:
    return lambda text, keep="": text


@broken("sparring.experiments.report.page:Environment", "hostile names")
def the_report_escapes_nothing(original: Any) -> Any:
    return lambda **options: original(**{**options, "autoescape": False})
