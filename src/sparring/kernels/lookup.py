"""Which of many ascending lists holds what: loops whose time is that of waiting for memory."""

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.kernels.runtime import compiled

FEW = 32  # facts that are compared with every candidate, eight at a time, where those are few
HASH = np.uint64(0x9E3779B97F4A7C15)  # odd, with mixed bits (Knuth's multiplicative hashing)
SIGNS = 2**15  # bits that tell most candidates from a list, inside the nearest cache


@compiled
def slot_of(key, size):
    """Where to look first, in a table of so many slots, a power of two."""
    mixed = np.uint64(key) * HASH
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))


@compiled
def place_runs(keys, first, table):
    """Write each key with its run, start * 2**31 + length, into the first free slot."""
    last = len(table) - 1
    for place in range(len(keys)):
        slot = slot_of(keys[place], len(table))
        while table[slot, 0] >= 0:
            slot = (slot + 1) & last
        table[slot, 0] = keys[place]
        table[slot, 1] = (first[place] << 31) + first[place + 1] - first[place]


@compiled
def find_runs(key, table, members, start, stop):
    """Where the run of each key starts and stops; of no length for a key without a run."""
    last, touched = len(table) - 1, 0
    for row in range(len(key)):
        slot = slot_of(key[row], len(table))
        while table[slot, 0] != key[row] and table[slot, 0] >= 0:
            slot = (slot + 1) & last
        run = table[slot, 1]
        start[row] = run >> 31
        stop[row] = start[row] + (run & (2**31 - 1))
        touched += members[start[row]]  # fetches what will be wanted, without waiting for it
    return touched


@compiled
def mark_members(members, start, stop, ids, found):
    """Set `found[row, k]` to whether row's run holds the id, and to 0 elsewhere.

    Rows of `ids` are shared by equal numbers of consecutive rows.
    """
    rows, width = found.shape
    share = rows // max(len(ids), 1)
    signs = np.zeros(SIGNS // 32, dtype=np.uint32)
    word, bit, last = np.uint64(5), np.uint64(31), np.uint64(SIGNS // 32 - 1)
    for row in range(rows):
        low, high, group = start[row], stop[row], row // share
        count = high - low
        if count <= 4 or (width <= 8 and count <= FEW):
            for k in range(width):
                found[row, k] = 0
            for place in range(low, high):
                member = members[place]
                for k in range(width):
                    found[row, k] |= ids[group, k] == member
            continue
        if count > 16 * width:  # then the list is not read as a whole
            for k in range(width):
                found[row, k] = 1
        else:
            for place in range(low, high):
                member = np.uint64(members[place])
                signs[(member >> word) & last] |= np.uint32(1) << np.uint32(member & bit)
            for k in range(width):
                some = np.uint64(ids[group, k])
                found[row, k] = (signs[(some >> word) & last] >> np.uint32(some & bit)) & 1
            for place in range(low, high):
                signs[(np.uint64(members[place]) >> word) & last] = 0
        for k in range(width):
            if found[row, k]:
                found[row, k] = search(members, low, high, ids[group, k]) >= 0


@compiled
def place_members(members, start, stop, ids, place):
    """Set `place[row, k]` to where row's run holds the id, and to -1 where it does not."""
    for row in range(len(start)):
        for k in range(ids.shape[1]):
            place[row, k] = search(members, start[row], stop[row], ids[row, k])


@compiled
def search(members, low, high, wanted):
    """Where members[low:high], ascending, hold a number; -1 if they do not."""
    left, right = low, high
    while left < right:
        middle = (left + right) >> 1
        if members[middle] < wanted:
            left = middle + 1
        else:
            right = middle
    return left if left < high and members[left] == wanted else -1


@compiled
def skip_members(members, start, stop, rank, other):
    """The number of each rank (from 0) that is no member of the row's run.

    The j-th such number is j plus the number of members m_i, of place i, with m_i - i <= j.
    """
    rows, width = rank.shape
    for row in range(rows):
        low, high = start[row], stop[row]
        if high - low <= FEW:
            for k in range(width):
                other[row, k] = rank[row, k]
            for place in range(low, high):
                gap = members[place] - (place - low)
                for k in range(width):
                    other[row, k] += gap <= rank[row, k]
            continue
        for k in range(width):
            left, right = low, high
            while left < right:
                middle = (left + right) >> 1
                if members[middle] - (middle - low) <= rank[row, k]:
                    left = middle + 1
                else:
                    right = middle
            other[row, k] = rank[row, k] + left - low


@compiled
def mark_runs(key, table, members, ids, found):
    """`mark_members` for the runs that `find_runs` finds, in one call."""
    start, stop = np.empty_like(key), np.empty_like(key)
    find_runs(key, table, members, start, stop)
    mark_members(members, start, stop, ids, found)


class Runs:
    """Where each key's run stands among members; on the processor only.

    A table of open addressing, with 32 to 64 bytes for every key: one wait for memory per look.

    Args:
        keys: distinct.
        first: where each key's run starts, and a last number: where the last run stops.
        members: the runs, one after another; at least one, and fewer than 2**32.
    """

    def __init__(
        self, keys: Int[Tensor, "Q"], first: Int[Tensor, "Q+1"], members: Int[Tensor, "F"]
    ):
        self.members, empty = members.numpy(), (1 << (2 * len(keys)).bit_length(), 2)
        self.table = torch.full(empty, -1).numpy()
        self.table[:, 1] = 0
        place_runs(keys.numpy(), first.numpy(), self.table)

    def find(self, key: Int[Tensor, "B"]) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """Where the run of each key starts and stops; of no length for a key without a run."""
        start, stop = torch.empty_like(key), torch.empty_like(key)
        find_runs(key.numpy(), self.table, self.members, start.numpy(), stop.numpy())
        return start, stop

    def contain(self, key: Int[Tensor, "B"], ids: Int[Tensor, "G K"]) -> Bool[Tensor, "B K"]:
        """True where the key's run holds the id."""
        found = torch.empty(len(key), ids.shape[1], dtype=torch.bool)
        ids, bits = ids.contiguous(), found.view(torch.uint8)
        mark_runs(key.numpy(), self.table, self.members, ids.numpy(), bits.numpy())
        return found


def members(
    listed: Int[Tensor, "F"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    ids: Int[Tensor, "G K"],
) -> Bool[Tensor, "B K"]:
    """True where `listed[start:stop]`, ascending, holds the id; on the processor only."""
    found = torch.empty(len(start), ids.shape[1], dtype=torch.bool)
    arrays = [one.numpy() for one in (listed, start, stop, ids.contiguous())]
    mark_members(*arrays, found.view(torch.uint8).numpy())
    return found


def find_members(
    listed: Int[Tensor, "F"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    ids: Int[Tensor, "B K"],
) -> Int[Tensor, "B K"]:
    """Where `listed[start:stop]`, ascending, holds the id; -1 where it does not."""
    place = torch.empty(ids.shape, dtype=torch.long)
    arrays = [one.numpy() for one in (listed, start, stop, ids.contiguous())]
    place_members(*arrays, place.numpy())
    return place


def non_members(
    listed: Int[Tensor, "F"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    rank: Int[Tensor, "B K"],
) -> Int[Tensor, "B K"]:
    """The number of each rank, from 0, that is not in `listed[start:stop]`."""
    other = torch.empty_like(rank)
    arrays = [one.numpy() for one in (listed, start, stop, rank.contiguous())]
    skip_members(*arrays, other.numpy())
    return other
