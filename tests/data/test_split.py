import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.data.diagnostics import GraphError
from sparring.data.split import SplitRule


def everyone_with_everyone(size):
    return torch.cartesian_prod(torch.arange(size), torch.arange(2), torch.arange(size))


@st.composite
def distinct_triples(draw):
    triple = st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 5))
    return torch.tensor(draw(st.lists(triple, min_size=1, max_size=60, unique=True)))


def names(triples):
    return set(triples[:, [0, 2]].flatten().tolist()), set(triples[:, 1].tolist())


def test_shares_are_of_all_triples():
    rows = SplitRule(valid=0.1, test=0.3).rows(everyone_with_everyone(5), 5, 2)
    assert [len(part) for part in rows] == [30, 5, 15]


def test_every_row_is_in_one_part():
    rows = SplitRule(valid=0.2, test=0.2).rows(everyone_with_everyone(5), 5, 2)
    assert torch.cat(rows).sort().values.tolist() == list(range(50))


def test_rows_of_a_part_rise():
    for part in SplitRule(valid=0.2, test=0.2).rows(everyone_with_everyone(5), 5, 2):
        assert part.tolist() == sorted(part.tolist())


def test_the_same_seed_gives_the_same_split():
    one, two = (SplitRule(seed=3, test=0.2).rows(everyone_with_everyone(5), 5, 2) for _ in "ab")
    assert all(torch.equal(first, second) for first, second in zip(one, two))


def test_another_seed_gives_another_split():
    one, two = (SplitRule(seed=n, test=0.2).rows(everyone_with_everyone(5), 5, 2) for n in (1, 2))
    assert not torch.equal(one[2], two[2])


def test_what_is_held_out_does_not_follow_the_order_of_rows():
    _, valid, test = SplitRule(valid=0.1, test=0.1).rows(everyone_with_everyone(20), 20, 2)
    middle = 400
    assert 300 < valid.double().mean() < 500 and 300 < test.double().mean() < 500
    assert (valid < middle).any() and (valid > middle).any()


@given(distinct_triples(), st.integers(0, 3), st.floats(0, 0.4), st.floats(0, 0.4))
@settings(deadline=None)
def test_nothing_held_out_is_unseen_in_train(triples, seed, valid, test):
    try:
        rows = SplitRule(valid, test, seed).rows(triples, 6, 3)
    except GraphError:
        return
    train, held_out = triples[rows[0]], triples[torch.cat(rows[1:])]
    for kept, wanted in zip(names(train), names(held_out)):
        assert wanted <= kept


def test_two_triples_between_the_same_two_entities_can_part():
    triples = torch.tensor([[0, 0, 1], [1, 0, 0]])
    assert [len(part) for part in SplitRule(valid=0.0, test=0.5).rows(triples, 2, 1)] == [1, 0, 1]


def test_the_only_triple_of_a_relation_stays_in_train():
    triples = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]])
    for seed in range(10):
        train, _, _ = SplitRule(valid=0.2, test=0.2, seed=seed).rows(triples, 2, 2)
        assert 2 in train


def test_more_than_can_go_is_refused_with_what_can():
    chain = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3]])
    message = (
        r"cannot hold out 1 \+ 1 of 3 triples: only 0 can be held out without leaving an entity or "
        r"relation unseen in train; choose valid and test fractions with a sum of at most 0.000"
    )
    for seed in range(20):
        try:
            SplitRule(valid=0.3, test=0.3, seed=seed).rows(chain, 4, 1)
        except GraphError as error:
            if "only 0" in str(error):
                break
    with pytest.raises(GraphError, match=message):
        SplitRule(valid=0.3, test=0.3, seed=seed).rows(chain, 4, 1)


def test_the_advised_shares_can_be_had():
    triples = torch.tensor([[0, 0, n] for n in range(7)] + [[n, 0, 0] for n in range(1, 7)])
    with pytest.raises(GraphError, match=r"at most 0\.\d+$") as caught:
        SplitRule(valid=0.4, test=0.5).rows(triples, 7, 1)
    share = float(str(caught.value).split()[-1])
    assert len(SplitRule(valid=share, test=0.0).rows(triples, 7, 1)[1]) > 0


@pytest.mark.parametrize("valid, test", [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (0.9, 0.2)])
def test_shares_that_are_none_are_refused(valid, test):
    with pytest.raises(GraphError, match=r"are not fractions to hold out; give two numbers of at"):
        SplitRule(valid, test)
