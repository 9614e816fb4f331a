"""Guesses that spare the processor most of its binary searches, which wait for memory.

NumPy looks them up, since its calls and its gathering take less time than PyTorch's on the
processor; elsewhere, plain searches are as fast.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor, nn

ROOMY = 64  # bits per pair, at least, where there is room
HASHES = (0x9E3779B97F4A7C15 - 2**64, 0xD6E8FEB86659FD93 - 2**64)  # odd, with mixed bits


class Sieve(nn.Module):
    """A set of pairs (row, column) that lets through its own pairs, and few others.

    A pair sets two bits (after Bloom, 1970), each so many places from one that its row is given
    by hashing as its column says: what is asked about one row lies close together in memory.

    Args:
        columns: number of columns.
        most: bytes to take at most, a power of two.
    """

    bits: UInt8[Tensor, "M"]

    def __init__(
        self, row: Int[Tensor, "P"], column: Int[Tensor, "P"], columns: int, most: int = 2**28
    ):
        super().__init__()
        size = min(8 * most, 1 << (ROOMY * len(row) + 511).bit_length())
        self.shift, self.mask = 64 - size.bit_length() + 1, size - 8
        taken = torch.zeros(size + columns // 8 * 8 + 8, dtype=torch.bool)
        for number in HASHES:
            taken[self._start(row.cpu(), number) + column.cpu()] = True
        bits = torch.from_numpy(np.packbits(taken.numpy(), bitorder="little"))
        self.register_buffer("bits", bits, persistent=False)

    def let_through(
        self, row: Int[np.ndarray, "B"], column: Int[np.ndarray, "B K"]
    ) -> Int[np.ndarray, "S"]:
        """Places, in order, of the pairs that may be in the set; all others are not."""
        first, second = (self._start(row, number) >> 3 for number in HASHES)
        bits, slot = self.bits.numpy(), column >> 3
        slot += first[:, None]
        seen = bits.take(slot, mode="clip")
        seen >>= column.astype(np.uint8) & 7
        seen &= 1
        place = np.flatnonzero(seen.view(bool))
        again = column.ravel().take(place)
        seen = bits.take((again >> 3) + second.take(place // column.shape[1])) >> (again & 7)
        return place[(seen & 1).astype(bool)]

    def _start(self, row, number: int):
        """The slot of column 0, a multiple of 8."""
        return ((row * number) >> self.shift) & self.mask


class Directory(nn.Module):
    """Where numbers stand among ascending, distinct ones: looked up first, and searched if lost.

    The place of a number is kept under its hash; of several with the same hash, that of the last.
    """

    ascending: Int[Tensor, "Q"]
    place: Int[Tensor, "M"]

    def __init__(self, ascending: Int[Tensor, "Q"]):
        super().__init__()
        size = 1 << (4 * len(ascending)).bit_length()
        self.shift, self.mask = 64 - size.bit_length() + 1, size - 1
        place = torch.zeros(size, dtype=torch.int32, device=ascending.device)
        count = torch.arange(len(ascending), dtype=torch.int32, device=ascending.device)
        place[self._slot(ascending)] = count
        self.register_buffer("ascending", ascending, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def find(
        self, wanted: Int[np.ndarray, "B"]
    ) -> tuple[Int[np.ndarray, "B"], Bool[np.ndarray, "B"]]:
        """The place of each number, or of the next higher one; and whether it is the number's."""
        ascending = self.ascending.numpy()
        place = self.place.numpy().take(self._slot(wanted)).astype(np.int64)
        seen = ascending.take(place) == wanted
        lost = np.flatnonzero(~seen)
        if len(lost):
            place[lost] = ascending.searchsorted(wanted[lost])
            seen[lost] = ascending.take(place[lost]) == wanted[lost]
        return place, seen

    def _slot(self, number):
        return ((number * HASHES[0]) >> self.shift) & self.mask


def can_wait(ids: Tensor) -> bool:
    """Whether sizes may depend on values, since there is no accelerator to wait for."""
    return ids.device.type == "cpu"


def places(found: Bool[Tensor, "..."]) -> Int[Tensor, "S"]:
    """Where it is True, read row by row, on the processor: faster than `nonzero`."""
    return torch.from_numpy(np.flatnonzero(found.numpy()))
