"""A cache of compiled loops on disk that may be missing or broken: then loops are compiled anew."""

import warnings
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

from numba.core.caching import FunctionCache, NullCache

REMEDY = (
    "set NUMBA_CACHE_DIR to a directory that can be written, or SPARRING_KERNELS=0 to run without "
    "compiled loops"
)


class LoopCache(NullCache):
    """Numba's cache of one function; a cache that fails costs time, but no results."""

    def __init__(self, loop: Callable):
        self._loop = loop

    @cached_property
    def _disk(self) -> FunctionCache | NullCache:
        try:
            return FunctionCache(self._loop)
        except RuntimeError:  # Numba has tried all places
            warn(f"Numba finds no folder for compiled loops and compiles them again; {REMEDY}")
            return NullCache()

    @property
    def cache_path(self) -> str | None:
        """The folder."""
        return self._disk.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The loop compiled for these types; None where it is not there, or cannot be read."""
        try:
            return self._disk.load_overload(sig, target_context)
        except Exception as error:  # reading a broken file may raise anything
            warn(f"compiled loops in {self.cache_path} cannot be read ({error!r}) and are replaced")
            self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a loop that was compiled for these types."""
        try:
            self._disk.save_overload(sig, data)
        except OSError as error:
            warn(f"compiled loops cannot be kept in {self.cache_path} ({error}); {REMEDY}")

    def flush(self) -> None:
        """Forget all loops on disk."""
        try:
            self._disk.flush()
        except OSError as error:
            warn(f"compiled loops in {self.cache_path} cannot be replaced ({error}); {REMEDY}")


@cache
def warn(message: str) -> None:
    """Warn once."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)
