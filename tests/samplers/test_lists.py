import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.data.index import Ragged

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=60)


def lists_of(pairs):
    row, entity = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
    return Ragged.of_pairs(row, entity, rows=5)


@settings(deadline=None)
@given(PAIRS)
def test_membership_is_that_of_python_sets(pairs):
    lists, rows = lists_of(pairs), torch.arange(5)
    found = lists.contains(rows, torch.arange(21).expand(5, 21))
    assert {(r, e) for r, e in found.nonzero().tolist()} == set(pairs)


@settings(deadline=None)
@given(PAIRS)
def test_a_row_is_picked_from_evenly_and_in_order(pairs):
    lists = lists_of(pairs)
    for row in range(5):
        wanted = sorted({e for r, e in pairs if r == row})
        lot = (torch.arange(len(wanted)).double() + 0.5) / max(len(wanted), 1)
        assert lists.pick(torch.tensor([row]), lot.unsqueeze(0)).flatten().tolist() == wanted


@settings(deadline=None)
@given(PAIRS, st.lists(st.integers(0, 4), max_size=7))
def test_rows_are_spelt_out_in_the_order_asked_for(pairs, rows):
    turn, entity = lists_of(pairs).spread(torch.tensor(rows, dtype=torch.long))
    wanted = [
        (place, e)
        for place, row in enumerate(rows)
        for e in sorted({e for r, e in pairs if r == row})
    ]
    assert list(zip(turn.tolist(), entity.tolist())) == wanted


def test_an_empty_row_gives_something_to_look_up():
    lists = lists_of([(0, 3)])
    assert lists.pick(torch.tensor([4]), torch.zeros(1, 2)).shape == (1, 2)
