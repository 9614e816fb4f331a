"""The tree of binary decisions, and how it is built."""

import math

import pytest
import torch
from generator_cases import feedback, no_score, same_query, small_graph

from sparring.corruption import tail_and_head_queries
from sparring.generators import AdversarialTree
from sparring.generators.tree import balanced_tree, find_forks, group_means
from sparring.groups import ungroup
from sparring.testing import tiny_graph, tiny_queries


def wild(graph, **options):
    """A tree with random nodes."""
    made = AdversarialTree(graph, k=4, **options)
    torch.nn.init.normal_(made.node.weight)
    return made


@pytest.mark.parametrize("entities", [2, 5, 8, 11, 33])
def test_leaf_probabilities_sum_to_one(entities):
    torch.manual_seed(0)
    graph = tiny_graph(num_entities=entities)
    made = wild(graph)
    log_q = made.log_prob(tiny_queries(graph), torch.arange(entities).unsqueeze(0))
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(24))


@pytest.mark.parametrize("entities, depth", [(2, 1), (3, 2), (8, 3), (9, 4), (1024, 10)])
def test_depth_is_the_logarithm_of_the_number_of_entities(entities, depth):
    assert AdversarialTree(small_graph(entities), k=1).depth == depth


def test_before_learning_every_fork_is_even():
    graph = tiny_graph(num_entities=8)
    log_q = AdversarialTree(graph, k=1).log_prob(tiny_queries(graph), torch.arange(8).view(1, 8))
    torch.testing.assert_close(log_q, torch.full_like(log_q, -math.log(8)))


def test_own_and_shared_lists_have_the_same_density():
    torch.manual_seed(0)
    graph = tiny_graph()
    queries = tiny_queries(graph)
    made = wild(graph)
    shared = torch.tensor([[3, 0, 9], [1, 1, 5]])
    own = made.log_prob(queries, ungroup(shared, len(queries)))
    torch.testing.assert_close(made.log_prob(queries, shared), own)


def test_it_learns_which_answers_queries_have():
    torch.manual_seed(0)
    graph = tiny_graph()
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    made = AdversarialTree(graph, k=2, lr=0.1)
    rng = torch.Generator().manual_seed(0)
    surprise = []
    for _ in range(100):
        drawn = made.sample(queries, no_score, rng)
        surprise.append(made.observe(feedback(queries, drawn, torch.zeros(11)))["generator_loss"])
    assert surprise[-1] < 0.7 * surprise[0]


def test_scores_teach_it_nothing():
    """It follows the data, not the main model."""
    graph = tiny_graph()
    queries = tiny_queries(graph)
    learned = []
    for score in (torch.zeros(11), torch.randn(11)):
        made = AdversarialTree(graph, k=2)
        made.observe(feedback(queries, made.sample(queries, no_score, torch.Generator()), score))
        learned.append(made.node.weight)
    assert torch.equal(*learned)


def test_a_node_forks_where_both_sides_hold_entities():
    assert find_forks(torch.tensor([0, 1, 2]), depth=2).tolist() == [0.0, 1.0, 1.0, 0.0]


def test_means_of_groups_are_zero_where_a_group_is_empty():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 5.0]])
    got = group_means(rows, torch.tensor([2, 2, 0]), groups=3)
    assert torch.equal(got, torch.tensor([[5.0, 5.0], [0.0, 0.0], [2.0, 3.0]]))


def test_queries_are_described_by_anchor_and_relation_and_a_one():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    made = AdversarialTree(graph, k=1, dim=4)
    got = made.features(queries)
    assert torch.equal(got[:, :4], made.anchor_feature[queries.anchor])
    assert torch.equal(got[:, 4:8], made.relation_feature[queries.relation])
    assert torch.equal(got[:, 8], torch.ones(24))


def test_a_tree_of_one_entity_always_says_the_same():
    graph = small_graph(1)
    drawn = AdversarialTree(graph, k=3).sample(same_query(2), no_score, torch.Generator())
    assert torch.equal(drawn.ids, torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(drawn.log_q, torch.zeros(2, 3))


def test_halves_are_equal_at_every_level():
    points = torch.randn(13, 3, generator=torch.Generator().manual_seed(0))
    leaf, depth = balanced_tree(points)
    assert depth == 4
    for level in range(depth + 1):
        size = torch.bincount(leaf >> (depth - level), minlength=2**level)
        assert size.max() - size.min() <= 1


def test_each_point_has_a_leaf_of_its_own():
    leaf, _ = balanced_tree(torch.zeros(13, 3))
    assert len(leaf.unique()) == 13


def test_the_widest_direction_is_halved_first():
    rng = torch.Generator().manual_seed(0)
    group = torch.arange(16) % 2
    across = 10 * group.float() + torch.rand(16, generator=rng)
    points = torch.stack([torch.rand(16, generator=rng), across + 3, across], 1)
    leaf, depth = balanced_tree(points)
    first = leaf >> (depth - 1)
    assert len(first[group == 0].unique()) == len(first[group == 1].unique()) == 1
