import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.graph.sieve import Directory, Sieve, places

COLUMNS = 50
pairs = st.lists(
    st.tuples(st.integers(0, 2**40), st.integers(0, COLUMNS - 1)), min_size=1, max_size=40
)


def let_through(sieve, row, column):
    return sieve.let_through(np.array(row), np.array(column).reshape(len(row), -1)).tolist()


def sieve_of(pairs, **options):
    row, column = torch.tensor(pairs).unbind(1)
    return Sieve(row, column, COLUMNS, **options)


@given(pairs)
def test_a_sieve_keeps_none_of_its_own_back(pairs):
    row, column = zip(*pairs)
    assert let_through(sieve_of(pairs), row, column) == list(range(len(pairs)))


@given(pairs)
def test_not_even_where_it_has_no_room(pairs):
    row, column = zip(*pairs)
    assert let_through(sieve_of(pairs, most=8), row, column) == list(range(len(pairs)))


def test_a_sieve_keeps_most_others_back():
    rng = np.random.default_rng(0)
    own = list(zip(rng.integers(1000, size=5000), rng.integers(COLUMNS, size=5000)))
    others = rng.integers(1000, 9000, size=1000), rng.integers(COLUMNS, size=(1000, 20))
    sieve = sieve_of([(int(r), int(c)) for r, c in own])
    assert len(sieve.let_through(*others)) < 20_000 / 100
    assert len(sieve.bits) <= 16 * len(own) + COLUMNS


def test_a_sieve_of_nothing_lets_nothing_through():
    nothing = torch.zeros(0, dtype=torch.long)
    assert let_through(Sieve(nothing, nothing, COLUMNS), [3], [[0, 49]]) == []


@given(st.sets(st.integers(0, 2**40), min_size=1), st.lists(st.integers(0, 2**40), min_size=1))
def test_a_directory_finds_what_a_search_does(numbers, wanted):
    """Also where several numbers have the same hash, and where a number is not there."""
    ascending = torch.tensor([*sorted(numbers), 2**63 - 1])
    wanted = torch.tensor([*wanted, *numbers])
    place, seen = Directory(ascending).find(wanted.numpy())
    assert torch.equal(torch.from_numpy(place), torch.searchsorted(ascending, wanted))
    assert seen.tolist() == torch.isin(wanted, ascending).tolist()


def test_a_crowded_directory_finds_everything():
    ascending = torch.arange(5000) * 2**20
    place, seen = Directory(ascending).find(ascending.numpy())
    assert seen.all()
    assert place.tolist() == list(range(5000))


def test_places_are_read_row_by_row():
    assert places(torch.tensor([[True, False], [False, True]])).tolist() == [0, 3]
