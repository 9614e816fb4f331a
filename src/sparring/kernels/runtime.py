"""When compiled loops run, and on how many threads.

A loop reads the memory of CPU tensors and is compiled by Numba. Its PyTorch twin computes the same:
it runs on other devices, where Numba is missing, and where kernels are switched off."""

import ctypes
import inspect
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor

try:
    import numba
except ImportError:  # it lags behind new versions of Python
    numba = None

ANY_ORDER = {"reassoc", "contract", "nsz"}  # sums may be grouped otherwise than they are written
BIG_PAGE = 2**21  # bytes
DTYPES = (torch.float32, torch.float64, torch.int32, torch.int64)
WORTH_A_THREAD = 2**17  # numbers to read, for which it pays to wake another thread


_DISABLED: list[None] = []  # one entry per `disabled()` that has not ended


def compiled(loop):
    """The loop, compiled when first called and then kept on disk; as it is without Numba.

    Sums may be taken in any order, so that several numbers are added at once; on one machine it
    is always the same order.
    """
    plain = inspect.unwrap(loop)
    options = {"nogil": True, "cache": True, "fastmath": ANY_ORDER, "error_model": "numpy"}
    return numba.njit(**options)(plain) if numba else plain


def in_huge_pages(fresh: Tensor) -> Tensor:
    """The same tensor; where the system can, its memory will come in pages of 2 MiB.

    Rows read here and there are found sooner so. For memory that nobody has written to, on Linux;
    elsewhere this does nothing.
    """
    if fresh.device.type == "cpu" and hasattr(mmap, "MADV_HUGEPAGE"):
        start = -(-fresh.data_ptr() // BIG_PAGE) * BIG_PAGE
        size = fresh.data_ptr() + fresh.nbytes - start
        if size >= BIG_PAGE:
            advise = ctypes.CDLL(None).madvise
            advise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_HUGEPAGE)
    return fresh


def enabled_for(tensor: Tensor) -> bool:
    """Whether a compiled loop may read this tensor.

    False for tensors on other devices and of other types than 32 and 64 bits, without Numba, where
    the environment variable SPARRING_KERNELS is 0, and inside `disabled()`.
    """
    return (
        numba is not None
        and not _DISABLED
        and tensor.device.type == "cpu"
        and tensor.dtype in DTYPES
        and os.environ.get("SPARRING_KERNELS") != "0"
    )


@contextmanager
def disabled() -> Iterator[None]:
    """Run the PyTorch twin of every compiled loop instead, in all threads."""
    _DISABLED.append(None)
    try:
        yield
    finally:
        _DISABLED.pop()


class Threads:
    """Threads that wait for loops to run: one fewer than PyTorch may use, beside the caller's."""

    def __init__(self):
        self.pool, self.count = None, 0
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start anew: a forked process has none of its parent's threads."""
        self.pool, self.count = None, 0

    def map(self, call, *parts) -> list:
        """What the call gives for each of the parts, side by side; the first one runs here."""
        first, *others = zip(*parts)
        if self.pool is None or len(others) > self.count:
            self.pool, self.count = ThreadPoolExecutor(len(others)), len(others)
        started = [self.pool.submit(call, *part) for part in others]
        return [call(*first), *(one.result() for one in started)]


THREADS = Threads()


def run_in_threads(loop, rows: int, numbers: int, *given: Tensor) -> int:
    """Run loop(start, stop, *given) over all rows, by as many threads as pay; the sum it gives.

    Args:
        numbers: how many are read in all.
        given: tensors of which no gradient is wanted.
    """
    arrays = [one.numpy() for one in given]
    count = min(torch.get_num_threads(), rows, 1 + numbers // WORTH_A_THREAD)
    if count <= 1:
        return loop(0, rows, *arrays)
    cuts = [rows * part // count for part in range(count + 1)]
    return sum(THREADS.map(lambda low, high: loop(low, high, *arrays), cuts, cuts[1:]))


def refuse_unknown_ids(wrong: int, of: int, ids: Int[Tensor, "G K"], rows: int) -> None:
    """Raise an error if a loop has met ids outside of a table.

    Args:
        wrong: how many of them.
        of: of how many ids.
        rows: of the table.

    Raises:
        IndexError: if there are some.
    """
    if wrong:
        raise IndexError(
            f"{wrong} of {of} candidates are no entities: ids run from 0 to {rows - 1}, and here "
            f"from {int(ids.min())} to {int(ids.max())}"
        )
