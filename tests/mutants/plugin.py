"""A pytest plugin that breaks the library on purpose before any test is collected.

`pytest -p mutants.plugin` applies the mutant that the environment variable SPARRING_MUTANT names.
"""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Break = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Mutant:
    """One way to break the library.

    Attributes:
        target: "module:path" of the function or method that is replaced.
        make: makes the broken function from the original.
        tests: arguments of pytest that select the tests which must notice.
    """

    target: str
    make: Break
    tests: tuple[str, ...]

    def find(self) -> tuple[Any, str, Any]:
        """The class or module that holds the target, the target's name, and the target."""
        module, _, path = self.target.partition(":")
        *parents, name = path.split(".")
        owner = import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        return owner, name, inspect.getattr_static(owner, name)

    def apply(self) -> None:
        """Replace the target, also in modules that have imported it by name."""
        owner, name, found = self.find()
        broken = self.make(found)
        setattr(owner, name, broken)
        for other in list(sys.modules.values()):
            if other.__name__.startswith("sparring") and vars(other).get(name) is found:
                setattr(other, name, broken)


MUTANTS: dict[str, Mutant] = {}


def mutant(target: str, tests: str) -> Callable[[Break], Break]:
    """Register a function that makes the broken version of `target` from the original."""

    def known(make: Break) -> Break:
        MUTANTS[make.__name__] = Mutant(target, make, tuple(tests.split()))
        return make

    return known


def pytest_configure(config: Any) -> None:
    """Apply the mutant before test modules are imported."""
    import_module("mutants.mutants")
    MUTANTS[os.environ["SPARRING_MUTANT"]].apply()
