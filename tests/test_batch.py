"""Bookkeeping of what travels through a step."""

from dataclasses import replace

import pytest
import torch

from sparring.batch import Feedback, Negatives
from sparring.groups import expand_lists, group_rows, ungroup
from sparring.samplers import Uniform
from sparring.testing import tiny_graph, tiny_queries

QUERIES = tiny_queries(tiny_graph())[:6]


def make_negatives(groups, k=4):
    """Negatives whose fields tell candidates apart."""
    drawn = Uniform(tiny_graph(), k=k, groups=groups).sample(
        QUERIES, lambda ids: ids.float(), torch.Generator().manual_seed(0)
    )
    number = torch.arange(6.0 * k).view(6, k)
    return replace(drawn, weight=number, p_false_negative=number / 100, log_policy=-number)


def test_queries_stand_by_their_list_in_order():
    ids = torch.tensor([[0, 1], [2, 3]])
    assert ungroup(ids, 4).tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert group_rows(torch.arange(4), 2).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    "share", [group_rows, lambda rows, groups: expand_lists(rows[:groups], len(rows))]
)
def test_lists_are_shared_evenly(share):
    with pytest.raises(ValueError, match="4 candidate lists cannot be shared evenly by 6 queries"):
        share(torch.zeros(6, 2, dtype=torch.long), 4)


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_each_querys_own_answer_is_masked(groups):
    ids = torch.stack([torch.arange(11).roll(turn) for turn in range(groups)])
    drawn = Negatives.from_ids(QUERIES, ids)
    rows, answers = ungroup(ids, 6).tolist(), QUERIES.answer.tolist()
    assert drawn.mask.tolist() == [[e != answer for e in row] for row, answer in zip(rows, answers)]


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_chosen_candidates_keep_their_fields(groups):
    drawn = make_negatives(groups)
    pick = torch.tensor([[3, 1]]).expand(6, 2)
    chosen = drawn.gather(pick)
    assert torch.equal(chosen.ids, ungroup(drawn.ids, 6)[:, [3, 1]])
    for name in ("mask", "weight", "p_false_negative", "log_policy"):
        assert torch.equal(getattr(chosen, name), getattr(drawn, name)[:, [3, 1]])
    assert chosen.log_q is None


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_joined_candidates_stand_side_by_side(groups):
    one, other = make_negatives(groups), make_negatives(None, k=3)
    joined = Negatives.cat([one, other], 6)
    assert torch.equal(joined.ids, torch.cat([ungroup(one.ids, 6), other.ids], 1))
    for name in ("mask", "weight", "p_false_negative", "log_policy"):
        assert torch.equal(
            getattr(joined, name), torch.cat([getattr(one, name), getattr(other, name)], 1)
        )
    assert joined.log_q is None


def test_a_sampler_hears_of_its_own_columns():
    drawn = make_negatives(2)
    negative = torch.arange(24.0).view(6, 4)
    whole = Feedback(QUERIES, drawn, torch.zeros(6), negative, negative / 10)
    part = whole.columns(1, 3)
    assert torch.equal(part.negatives.ids, drawn.ids[:, 1:3])
    assert torch.equal(part.negatives.log_policy, drawn.log_policy[:, 1:3])
    assert torch.equal(part.negative, negative[:, 1:3])
    assert torch.equal(part.gradient, negative[:, 1:3] / 10)
    assert torch.equal(part.push, 6 * part.gradient)


def test_rows_of_queries_are_queries():
    some = QUERIES[torch.tensor([4, 0])]
    assert len(some) == 2
    assert some.anchor.tolist() == QUERIES.anchor[[4, 0]].tolist()
    assert some.answer.tolist() == QUERIES.answer[[4, 0]].tolist()


def in_blocks():
    return Negatives.join([make_negatives(None, k=3), make_negatives(1), make_negatives(2, k=2)])


def test_blocks_keep_their_lists():
    joined = in_blocks()
    assert [tuple(block.shape) for block in joined.blocks] == [(6, 3), (1, 4), (2, 2)]
    together = Negatives.cat([make_negatives(None, k=3), make_negatives(1)], 6)
    assert torch.equal(joined.ids[:, :7], together.ids)
    assert torch.equal(joined.weight[:, :7], together.weight)


def test_a_function_of_candidates_sees_every_block():
    joined = in_blocks()
    square = joined.per_candidate(lambda ids: ungroup(ids, 6) ** 2)
    assert torch.equal(square, joined.ids**2)


def test_columns_may_cut_through_blocks():
    joined = in_blocks()
    part = joined.columns(2, 8)
    assert [tuple(block.shape) for block in part.blocks] == [(6, 1), (1, 4), (2, 1)]
    assert torch.equal(part.ids, joined.ids[:, 2:8])
    assert torch.equal(part.weight, joined.weight[:, 2:8])


def test_rows_of_negatives_are_negatives_of_these_queries():
    joined = in_blocks()
    some = joined[1::2]
    assert torch.equal(some.ids, joined.ids[1::2])
    assert torch.equal(some.log_policy, joined.log_policy[1::2])
    assert some.log_q is None
