"""Search in rows of ascending integers: known facts of queries, and lists of entities.

Rows stand one after another in one tensor of values. Most time goes into waiting for memory, so the
loops read what a query needs once and in order."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.groups import expand_lists, group_rows, group_size, ungroup
from sparring.kernels.runtime import compiled, enabled_for, run_in_threads

FEW = 32  # members that are compared with every candidate where these are few, eight at a time
HASH = np.uint64(0x9E3779B97F4A7C15)  # odd, with mixed bits (Knuth's multiplicative hashing)
SIGNS = 2**15  # bits that tell most candidates from a list, inside the nearest cache


def not_answer(answer: Int[Tensor, "B"], ids: Int[Tensor, "G K"]) -> Bool[Tensor, "B K"]:
    """True where a candidate is not the query's answer; equal numbers of queries share a list."""
    group_size(len(ids), len(answer))
    if enabled_for(ids) and len(ids):
        other = torch.empty(len(answer), ids.shape[1], dtype=torch.bool)
        given = (answer, ids.contiguous(), other)
        run_in_threads(mark_others, len(answer), other.numel(), *given)
        return other
    each, one = expand_lists(ids, len(answer)), group_rows(answer, len(ids))
    return (each != one.unsqueeze(2)).flatten(0, 1)


@compiled
def mark_others(start, stop, answer, ids, other):
    """Write whether candidates differ from the answer."""
    size = len(answer) // len(ids)
    for row in range(start, stop):
        here, group = answer[row], row // size
        for k in range(ids.shape[1]):
            other[row, k] = ids[group, k] != here
    return 0


def contains_between(
    values: Int[Tensor, "V"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    longest: int,
    ids: Int[Tensor, "G K"],
) -> Bool[Tensor, "B K"]:
    """True where `values[start:stop]` holds the id; equal numbers of rows share a list of ids.

    Args:
        longest: no row has more values.
    """
    if enabled_for(ids):
        found = torch.empty(len(start), ids.shape[1], dtype=torch.bool)
        given = (values, start, stop, ids.contiguous(), found.view(torch.uint8))
        mark_members(*(tensor.numpy() for tensor in given))
        return found
    return find_between(values, start, stop, longest, ungroup(ids, len(start))) >= 0


def find_between(
    values: Int[Tensor, "V"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    longest: int,
    ids: Int[Tensor, "B K"],
) -> Int[Tensor, "B K"]:
    """The index of each id in `values[start:stop]`; -1 where it is not there."""
    if enabled_for(ids):
        index = torch.empty(ids.shape, dtype=torch.long)
        given = (values, start, stop, ids.contiguous(), index)
        find_members(*(tensor.numpy() for tensor in given))
        return index
    index = last_at_most(values, start, stop, longest, ids.shape[1], lambda _: ids)
    found = (values[index] == ids) & (index >= start.unsqueeze(1))
    return torch.where(found, index, -1)


def range_between(
    values: Int[Tensor, "V"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    longest: int,
    ids: Int[Tensor, "B K"],
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Where those of `values[start:stop]` that equal the id start and stop."""
    if enabled_for(ids):
        first, beyond = (torch.empty(ids.shape, dtype=torch.long) for _ in range(2))
        given = (values, start, stop, ids.contiguous(), first, beyond)
        find_ranges(*(tensor.numpy() for tensor in given))
        return first, beyond
    below, last = (
        last_at_most(values, start, stop, longest, ids.shape[1], lambda _, limit=limit: limit)
        for limit in (ids - 1, ids)
    )
    return below + 1, last + 1


def missing_between(
    values: Int[Tensor, "V"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    longest: int,
    rank: Int[Tensor, "B K"],
) -> Int[Tensor, "B K"]:
    """The number of the given rank (from 0) among those that `values[start:stop]` lacks.

    The j-th of them is j plus the number of values a_i with a_i - i <= j.
    """
    if enabled_for(rank):
        missing = torch.empty_like(rank, memory_format=torch.contiguous_format)
        given = (values, start, stop, rank.contiguous(), missing)
        write_missing(*(tensor.numpy() for tensor in given))
        return missing
    first = start.unsqueeze(1)
    limit = lambda probe: rank + (probe - first)
    index = last_at_most(values, start, stop, longest, rank.shape[1], limit)
    return rank + (index - first + 1)


def last_at_most(
    values: Int[Tensor, "V"],
    start: Int[Tensor, "B"],
    stop: Int[Tensor, "B"],
    longest: int,
    width: int,
    limit: Callable[[Tensor], Tensor],
) -> Int[Tensor, "B K"]:
    """The last index from `start` to `stop` whose value is at most limit(index).

    A binary search in each row, without a wait for the device; start - 1 where there is none.
    """
    last = stop.unsqueeze(1) - 1
    index = (start.unsqueeze(1) - 1).expand(-1, width)
    for bit in reversed(range(longest.bit_length())):
        probe = torch.minimum(index + 2**bit, last)
        index = torch.where(values[probe] <= limit(probe), probe, index)
    return index


class Rows(NamedTuple):
    """Rows of values, each with a key.

    Attributes:
        keys: ascending; the last one, with an empty row, is above any key that is looked up.
        offsets: where the row of each of `keys` starts, and where the last one stops.
        values: fewer than 2**31, and one more after the last row.
        longest: no row has more values.
    """

    keys: Int[Tensor, "Q"]
    offsets: Int[Tensor, "Q+1"]
    values: Int[Tensor, "V"]
    longest: int


class KeyedRows:
    """Finds rows of values by their keys.

    For CPU tensors it makes, on first use, a hash table of 32 to 64 bytes for every key: one wait
    for memory per key. Each call is given a function that returns the rows, which are always the
    same but for their device.
    """

    def __init__(self):
        self._hashed: tuple[np.ndarray, np.ndarray] | None = None

    def bounds(
        self, key: Int[Tensor, "B"], rows: Callable[[], Rows]
    ) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """Where the row of each key starts and stops; an empty row for an unknown key."""
        if enabled_for(key):
            start, stop = torch.empty_like(key), torch.empty_like(key)
            find_runs(key.numpy(), *self._table(rows), start.numpy(), stop.numpy())
            return start, stop
        keys, offsets, *_ = rows()
        row = rows_of(key, keys)
        return offsets[row], offsets[row + 1]

    def contains(
        self, key: Int[Tensor, "B"], rows: Callable[[], Rows], ids: Int[Tensor, "G K"]
    ) -> Bool[Tensor, "B K"]:
        """`contains_between` for the rows of these keys."""
        if enabled_for(ids):
            found = torch.empty(len(key), ids.shape[1], dtype=torch.bool)
            given = (ids.contiguous(), found.view(torch.uint8))
            mark_runs(key.numpy(), *self._table(rows), *(tensor.numpy() for tensor in given))
            return found
        *_, values, longest = rows()
        return contains_between(values, *self.bounds(key, rows), longest, ids)

    def _table(self, rows: Callable[[], Rows]) -> tuple[np.ndarray, np.ndarray]:
        """The hash table, and the values."""
        if self._hashed is None:
            keys, offsets, values, _ = rows()
            known = keys[:-1].numpy()
            table = np.full((1 << (2 * len(known)).bit_length(), 2), -1)
            table[:, 1] = 0
            insert_runs(known, offsets.numpy(), table)
            self._hashed = table, values.numpy()
        return self._hashed


def rows_of(key: Int[Tensor, "B"], keys: Int[Tensor, "Q"]) -> Int[Tensor, "B"]:
    """The row of each key among ascending ones; the last row for an unknown key."""
    row = torch.searchsorted(keys, key)
    return torch.where(keys[row] == key, row, len(keys) - 1)


@compiled
def hash_slot(key, size):
    """The first slot to look at, of a number that is a power of two."""
    mixed = np.uint64(key) * HASH
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))


@compiled
def insert_runs(keys, first, table):
    """Write each key with its run, start * 2**31 + length, into the first free slot."""
    last = len(table) - 1
    for index in range(len(keys)):
        slot = hash_slot(keys[index], len(table))
        while table[slot, 0] >= 0:
            slot = (slot + 1) & last
        table[slot, 0] = keys[index]
        table[slot, 1] = (first[index] << 31) + first[index + 1] - first[index]


@compiled
def find_runs(key, table, members, start, stop):
    """Write where the run of each key starts and stops; an empty run for an unknown key."""
    last, touched = len(table) - 1, 0
    for row in range(len(key)):
        slot = hash_slot(key[row], len(table))
        while table[slot, 0] != key[row] and table[slot, 0] >= 0:
            slot = (slot + 1) & last
        run = table[slot, 1]
        start[row] = run >> 31
        stop[row] = start[row] + (run & (2**31 - 1))
        touched += members[start[row]]  # fetches what is read next, without waiting for it
    return touched


@compiled
def mark_members(members, start, stop, ids, found):
    """Write whether each row's run holds its ids, which equal numbers of rows share.

    Short runs are compared with all ids. For longer ones, bits of the members' last digits sort out
    most ids, and a binary search checks the others.
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
            for index in range(low, high):
                member = members[index]
                for k in range(width):
                    found[row, k] |= ids[group, k] == member
            continue
        if count > 16 * width:  # too long to read as a whole
            for k in range(width):
                found[row, k] = 1
        else:
            for index in range(low, high):
                member = np.uint64(members[index])
                signs[(member >> word) & last] |= np.uint32(1) << np.uint32(member & bit)
            for k in range(width):
                some = np.uint64(ids[group, k])
                found[row, k] = (signs[(some >> word) & last] >> np.uint32(some & bit)) & 1
            for index in range(low, high):
                signs[(np.uint64(members[index]) >> word) & last] = 0
        for k in range(width):
            if found[row, k]:
                # as `lower_bound`, which as a call takes twice as long here
                wanted, left, right = ids[group, k], low, high
                while left < right:
                    middle = (left + right) >> 1
                    if members[middle] < wanted:
                        left = middle + 1
                    else:
                        right = middle
                found[row, k] = left < high and members[left] == wanted


@compiled
def find_members(members, start, stop, ids, index):
    """Write where each row's run holds its ids; -1 where it does not."""
    for row in range(len(start)):
        for k in range(ids.shape[1]):
            index[row, k] = search(members, start[row], stop[row], ids[row, k])


@compiled
def find_ranges(members, start, stop, ids, first, beyond):
    """Write where members that equal the ids start and stop in each row's run."""
    for row in range(len(start)):
        for k in range(ids.shape[1]):
            low = lower_bound(members, start[row], stop[row], ids[row, k])
            high = low
            while high < stop[row] and members[high] == ids[row, k]:
                high += 1
            first[row, k], beyond[row, k] = low, high


@compiled
def search(members, low, high, wanted):
    """The index of a number in members[low:high]; -1 if it is not there."""
    index = lower_bound(members, low, high, wanted)
    return index if index < high and members[index] == wanted else -1


@compiled
def lower_bound(members, low, high, wanted):
    """The first index from `low` to `high` whose member is not below a number."""
    while low < high:
        middle = (low + high) >> 1
        if members[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def write_missing(members, start, stop, rank, out):
    """`missing_between` in one pass over short runs, by binary search in longer ones."""
    rows, width = rank.shape
    for row in range(rows):
        low, high = start[row], stop[row]
        if high - low <= FEW:
            for k in range(width):
                out[row, k] = rank[row, k]
            for index in range(low, high):
                gap = members[index] - (index - low)
                for k in range(width):
                    out[row, k] += gap <= rank[row, k]
            continue
        for k in range(width):
            left, right = low, high
            while left < right:
                middle = (left + right) >> 1
                if members[middle] - (middle - low) <= rank[row, k]:
                    left = middle + 1
                else:
                    right = middle
            out[row, k] = rank[row, k] + left - low


@compiled
def mark_runs(key, table, members, ids, found):
    """`mark_members` for the runs of these keys."""
    start, stop = np.empty_like(key), np.empty_like(key)
    find_runs(key, table, members, start, stop)
    mark_members(members, start, stop, ids, found)
