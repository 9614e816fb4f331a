"""Rows found by key, against Python's dictionaries."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels.switch import kernels_on

from sparring.kernels.lookup import KeyedRows, Rows, not_answer


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


@pytest.mark.parametrize("loops", [True, False])
def test_an_answer_is_found_in_the_list_of_its_group(loops):
    answer = torch.tensor([3, 4, 3, 9])
    ids = torch.tensor([[3, 4, 5], [3, 3, 9]])
    with kernels_on(loops):
        other = not_answer(answer, ids)
        own = not_answer(answer, answer.unsqueeze(1))
        none = not_answer(answer[:0], ids[:0])
    assert other.tolist() == [[0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert not own.any()
    assert none.shape == (0, 3)


@pytest.mark.parametrize("loops", [True, False])
def test_lists_that_do_not_divide_the_batch_are_refused(loops):
    with kernels_on(loops), pytest.raises(ValueError, match="2 candidate lists"):
        not_answer(torch.arange(3), torch.zeros(2, 4, dtype=torch.long))
