"""Compiled loops against plain searches and Python's sets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.batch import Queries
from sparring.data import index as facts
from sparring.data.index import TripleIndex
from sparring.kernels import runtime as compiled
from sparring.kernels.lookup import Runs

ENTITIES = 2000
SIZES = [0, 1, 4, 5, 32, 33, 200, 1500, 2000]  # on both sides of every change of method


def world():
    """Head 0, 1, ... has SIZES[0], SIZES[1], ... tails."""
    rng = torch.Generator().manual_seed(0)
    tails = [torch.randperm(ENTITIES, generator=rng)[:size] for size in SIZES]
    head = torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES))
    index = TripleIndex(torch.stack([head, head * 0, torch.cat(tails)], 1), ENTITIES, 1)
    return index, [set(one.tolist()) for one in tails]


def asked():
    anchor = torch.arange(len(SIZES))
    return Queries(anchor, anchor * 0, anchor * 0, torch.ones(len(SIZES)))


@pytest.fixture(params=[True, False], ids=["loops", "searches"])
def index(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(facts, "can_loop", lambda over: False)
    return world()[0]


@pytest.mark.parametrize("width", [1, 2, 8, 9, 64, 2000])
@pytest.mark.parametrize("groups", [len(SIZES), 3, 1])
def test_candidates_are_known_or_not(width, groups, index):
    ids = torch.randint(ENTITIES, (groups, width), generator=torch.Generator().manual_seed(width))
    each = ids.repeat_interleave(len(SIZES) // groups, 0).tolist()
    want = [[one in tails for one in row] for tails, row in zip(world()[1], each)]
    assert index.contains(asked(), ids).tolist() == want


@pytest.mark.parametrize("width", [1, 8, 500])
def test_candidates_that_are_all_known(width, index):
    tails = world()[1][-2]
    ids = torch.tensor(sorted(tails))[:width].expand(len(SIZES), -1)
    assert index.contains(asked(), ids)[-2].all()


def test_a_second_batch_finds_no_marks_of_the_first(index):
    ids = torch.arange(ENTITIES).unsqueeze(0)
    assert torch.equal(index.contains(asked(), ids), index.contains(asked(), ids))
    assert index.contains(asked(), ids).sum(1).tolist() == SIZES


def test_ranks_go_through_the_unknown(index):
    rank = torch.arange(ENTITIES).expand(len(SIZES), -1)
    for row, tails in zip(index.unknown(asked(), rank).tolist(), world()[1]):
        unknown = [one for one in range(ENTITIES) if one not in tails]
        assert row[: len(unknown)] == unknown
        assert all(one >= ENTITIES for one in row[len(unknown) :])


@given(st.sets(st.integers(0, 2**40), min_size=1), st.lists(st.integers(0, 2**40), min_size=1))
def test_runs_are_found_by_key(keys, others):
    ascending = torch.tensor(sorted(keys))
    first = torch.arange(len(keys) + 1) * 3
    wanted = torch.tensor([*keys, *others])
    start, stop = Runs(ascending, first, torch.arange(3 * len(keys))).find(wanted)
    place = {key: 3 * at for at, key in enumerate(sorted(keys))}
    for key, low, high in zip(wanted.tolist(), start.tolist(), stop.tolist()):
        assert high - low == (3 if key in place else 0)
        assert key not in place or low == place[key]


def test_many_keys_are_found():
    keys = torch.arange(5000) * 2**20
    start, stop = Runs(keys, torch.arange(5001), keys).find(keys)
    assert start.tolist() == list(range(5000))
    assert (stop - start == 1).all()


def test_without_a_compiler_loops_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(compiled, "numba", None)
    plain = lambda: None
    assert compiled.compiled(plain) is plain
    assert not compiled.can_loop(torch.zeros(1))
