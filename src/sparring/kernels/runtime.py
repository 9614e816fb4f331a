"""When compiled loops run, and on how many threads.

A loop reads the memory of CPU tensors and is compiled by Numba. Its PyTorch twin computes the same:
it runs on other devices, where Numba is missing, and where kernels are switched off."""

import ctypes
import inspect
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

try:
    import numba

    from sparring.kernels.cache import LoopCache
except ImportError:  # it lags behind new versions of Python
    numba = None

ANY_ORDER = {"reassoc", "contract", "nsz"}  # sums may be grouped otherwise than they are written
DTYPES = (torch.float32, torch.float64, torch.int32, torch.int64)
HUGE_PAGE = 2**21  # bytes
NUMBERS_PER_THREAD = 2**17  # for fewer it does not pay to wake another thread

# one entry per `disabled()` that has not ended; the variable is read once, as the step is short
_disabled: list[None] = [None] if os.environ.get("SPARRING_KERNELS") == "0" else []


def enabled_for(tensor: Tensor) -> bool:
    """Whether a compiled loop may read this tensor.

    False for tensors on other devices and of other types than 32 and 64 bits, without Numba, where
    the environment variable SPARRING_KERNELS was 0 at the start, and inside `disabled()`.
    """
    return (
        numba is not None
        and not _disabled
        and tensor.device.type == "cpu"
        and tensor.dtype in DTYPES
    )


@contextmanager
def disabled() -> Iterator[None]:
    """Run the PyTorch twin of every compiled loop instead, in all threads."""
    _disabled.append(None)
    try:
        yield
    finally:
        _disabled.pop()


def compiled(loop: Callable) -> Callable:
    """The loop, compiled when first called and then kept on disk; as it is without Numba.

    Sums may be taken in any order, so that several numbers are added at once. On one machine it is
    always the same order, but for a loop that sums while it reads one array and writes another in
    equal steps: it adds one by one where the two are close in memory. So such a loop is split.
    """
    plain = inspect.unwrap(loop)
    if numba is None:
        return plain
    dispatcher: Any = numba.njit(nogil=True, fastmath=ANY_ORDER, error_model="numpy")(plain)
    dispatcher._cache = LoopCache(plain)  # as `cache=True` does, but forgiving
    return dispatcher


def run_in_threads(loop: Callable[..., int], rows: int, numbers: int, *tensors: Tensor) -> int:
    """Run loop(start, stop, *arrays) over all rows, on as many threads as pay.

    Args:
        rows: number of rows; each thread has a range of them.
        numbers: how many are read in all.
        tensors: of which no gradient is wanted.

    Returns:
        The sum of what the loop returns.
    """
    arrays = [tensor.numpy() for tensor in tensors]
    count = min(torch.get_num_threads(), rows, 1 + numbers // NUMBERS_PER_THREAD)
    if count <= 1:
        return loop(0, rows, *arrays)
    cuts = [rows * part // count for part in range(count + 1)]
    return sum(THREADS.map(lambda start, stop: loop(start, stop, *arrays), cuts, cuts[1:]))


class Threads:
    """Threads that wait for loops to run, next to the caller's."""

    def __init__(self):
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Start anew: a forked process has none of its parent's threads."""
        self.pool, self.count = None, 0

    def map(self, call: Callable, *arguments: Iterable) -> list:
        """As `map`, at the same time; the first call runs in the caller's thread."""
        first, *others = zip(*arguments)
        if self.pool is None or len(others) > self.count:
            self.pool, self.count = ThreadPoolExecutor(len(others)), len(others)
        started = [self.pool.submit(call, *other) for other in others]
        return [call(*first), *(one.result() for one in started)]


THREADS = Threads()


def in_huge_pages(fresh: Tensor) -> Tensor:
    """The same tensor, whose memory will come in pages of 2 MiB where the system can.

    Rows read here and there are found sooner so. For memory that nobody has written to, on Linux;
    elsewhere this does nothing.
    """
    if fresh.device.type == "cpu" and hasattr(mmap, "MADV_HUGEPAGE"):
        start = -(-fresh.data_ptr() // HUGE_PAGE) * HUGE_PAGE
        size = fresh.data_ptr() + fresh.nbytes - start
        if size >= HUGE_PAGE:
            advise = ctypes.CDLL(None).madvise
            advise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_HUGEPAGE)
    return fresh


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
