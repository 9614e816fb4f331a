"""Rows found by key, against Python's dictionaries."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels.switch import kernels_on

from sparring.kernels.lookup import KeyedRows, Rows


def bounds(key, keys, offsets):
    """By the loop, and by the search, which must agree."""
    rows = Rows(
        torch.cat([keys, torch.tensor([2**63 - 1])]),
        torch.cat([offsets, offsets[-1:]]),
        torch.zeros(int(offsets[-1]) + 1, dtype=torch.long),
        int(offsets.diff().max()),
    )
    found = []
    for loops in (True, False):
        with kernels_on(loops):
            found.append(KeyedRows().bounds(key, lambda: rows))
    (start, stop), (low, high) = found
    assert torch.equal(stop - start, high - low)
    assert torch.equal(start[stop > start], low[stop > start])
    return start, stop


@given(st.sets(st.integers(0, 2**40), min_size=1), st.lists(st.integers(0, 2**40), min_size=1))
def test_rows_are_found_by_key(keys, others):
    ascending = torch.tensor(sorted(keys))
    first = torch.arange(len(keys) + 1) * 3
    wanted = torch.tensor([*keys, *others])
    start, stop = bounds(wanted, ascending, first)
    index_of = {key: 3 * at for at, key in enumerate(sorted(keys))}
    for key, low, high in zip(wanted.tolist(), start.tolist(), stop.tolist()):
        assert high - low == (3 if key in index_of else 0)
        assert key not in index_of or low == index_of[key]


def test_many_keys_are_found():
    keys = torch.arange(5000) * 2**20
    start, stop = bounds(keys, keys, torch.arange(5001))
    assert start.tolist() == list(range(5000))
    assert (stop - start == 1).all()
