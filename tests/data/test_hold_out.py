"""Training facts that are held out: true, not trained on, not known."""

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.diagnostics import GraphError
from sparring.testing.synthetic import synthetic_world

WORLD = synthetic_world(60).graph


def as_set(triples):
    return set(map(tuple, triples.tolist()))


def test_a_share_of_the_triples_is_held_out():
    part = WORLD.training.hold_out(0.1)
    assert len(part.held_out) == round(0.1 * len(WORLD.train))
    assert as_set(part.triples) | as_set(part.held_out) == as_set(WORLD.train)
    assert not as_set(part.triples) & as_set(part.held_out)


def test_the_choice_is_always_the_same():
    assert torch.equal(WORLD.training.hold_out(0.1).held_out, WORLD.training.hold_out(0.1).held_out)


def test_everything_keeps_a_triple():
    part = WORLD.training.hold_out(0.1)
    assert (part.degree > 0).all()
    assert len(part.triples[:, 1].unique()) == len(WORLD.relations)


def test_what_is_held_out_is_not_known():
    part = WORLD.training.hold_out(0.1)
    queries = tail_and_head_queries(part.held_out, part.num_relations)
    assert not part.known.contains(queries, queries.answer.unsqueeze(1)).any()


def test_holding_nothing_out_changes_nothing():
    assert WORLD.training.hold_out(0.0) is WORLD.training
    assert WORLD.training.held_out is None


def test_a_copy_elsewhere_holds_the_same_out():
    part = WORLD.training.hold_out(0.1)
    there = part.to(torch.device("meta"))
    assert there.held_out.shape == part.held_out.shape
    assert there.held_out.device.type == "meta"


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(GraphError, match="are no shares to hold out"):
        WORLD.training.hold_out(share)
