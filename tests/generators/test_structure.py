"""What entities are like, and how they are grouped."""

import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.generators.base import halve, slot_features
from sparring.testing import tiny_graph


def test_features_are_principal_components_of_slot_counts():
    graph = tiny_graph()
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    count = torch.zeros(graph.num_entities, 2 * graph.num_relations, dtype=torch.double)
    one = torch.ones(len(queries), dtype=torch.double)
    count.index_put_((queries.answer, queries.relation), one, accumulate=True)
    centred = count.log1p() - count.log1p().mean(0)
    left, _, _ = torch.linalg.svd(centred, full_matrices=False)
    got = slot_features(graph, dim=3, rounds=60).double()
    want = left[:, :3] * graph.num_entities**0.5
    torch.testing.assert_close(
        (got * want).mean(0).abs(), torch.ones(3).double(), rtol=1e-4, atol=0
    )


def test_features_beyond_what_the_graph_has_are_zero():
    got = slot_features(tiny_graph(), dim=16)
    assert got.shape == (11, 16)
    assert not got[:, 6:].any()


def test_entities_that_occur_alike_have_the_same_features():
    graph = TrainGraph(torch.tensor([[0, 0, 1], [2, 0, 3], [4, 1, 1]]), 6, 2)
    got = slot_features(graph, dim=2)
    torch.testing.assert_close(got[0], got[2])
    assert not torch.allclose(got[0], got[1])


def test_features_of_a_graph_in_which_all_are_alike_are_zero():
    graph = TrainGraph(torch.tensor([[0, 0, 1], [1, 0, 0]]), 2, 1)
    assert not slot_features(graph, dim=2).any()


def test_features_are_the_same_every_time():
    torch.manual_seed(0)
    one = slot_features(tiny_graph())
    torch.manual_seed(1)
    assert torch.equal(one, slot_features(tiny_graph()))


def test_halves_are_equal_at_every_level():
    points = torch.randn(13, 3, generator=torch.Generator().manual_seed(0))
    leaf, depth = halve(points)
    assert depth == 4
    for level in range(depth + 1):
        size = torch.bincount(leaf >> (depth - level), minlength=2**level)
        assert size.max() - size.min() <= 1


def test_each_point_has_a_leaf_of_its_own():
    leaf, _ = halve(torch.zeros(13, 3))
    assert len(leaf.unique()) == 13


def test_the_widest_direction_is_halved_first():
    rng = torch.Generator().manual_seed(0)
    group = torch.arange(16) % 2
    across = 10 * group.float() + torch.rand(16, generator=rng)
    points = torch.stack([torch.rand(16, generator=rng), across + 3, across], 1)
    leaf, depth = halve(points)
    first = leaf >> (depth - 1)
    assert len(first[group == 0].unique()) == len(first[group == 1].unique()) == 1
