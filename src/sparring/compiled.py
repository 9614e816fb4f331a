"""Loops over the processor's memory, compiled by Numba where it is installed.

Every one has a counterpart in PyTorch, which serves elsewhere and which tests compare it with.
"""

import inspect

from torch import Tensor

try:
    import numba
except ImportError:  # it lags behind new versions of Python
    numba = None

ANY_ORDER = {"reassoc", "contract", "nsz"}


def compiled(loop):
    """The loop, compiled when first called and then kept on disk; as it is without Numba.

    Sums may be taken in any order, so that several numbers are added at once.
    """
    plain = inspect.unwrap(loop)
    return numba.njit(nogil=True, cache=True, fastmath=ANY_ORDER)(plain) if numba else plain


def can_loop(over: Tensor) -> bool:
    """Whether compiled loops can read this tensor's memory."""
    return numba is not None and over.device.type == "cpu"
