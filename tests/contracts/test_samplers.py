from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from zoo import EXACT_SAMPLERS, SAMPLERS

from sparring.batch import Feedback, Negatives
from sparring.samplers import (
    InBatch,
    MaskKnown,
    NegativeSampler,
    Popularity,
    ResampleKnown,
    Uniform,
    UniformFiltered,
)
from sparring.samplers.base import NO_DENSITY
from sparring.testing import check_density, check_sampler, tiny_graph, tiny_queries


def draw(sampler, queries, seed=0):
    flat = lambda ids: torch.zeros(len(queries), ids.shape[1])
    return sampler.sample(queries, flat, torch.Generator().manual_seed(seed))


def saturated():
    """A graph in which all entities are answers of the first query, and one query of few."""
    graph = tiny_graph(num_entities=3, num_relations=1, size=1)
    everything = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 2]])
    graph = type(graph)(everything, num_entities=3, num_relations=1)
    return graph, tiny_queries(graph, batch=6)


@pytest.mark.parametrize("name", SAMPLERS)
def test_keeps_the_contract(name):
    check_sampler(SAMPLERS[name])


@pytest.mark.parametrize("name", EXACT_SAMPLERS)
def test_states_the_density_of_its_draws(name):
    check_density(EXACT_SAMPLERS[name])


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_the_same_lists_for_the_same_batch_of_any_weight(name):
    graph = tiny_graph()
    queries = tiny_queries(graph)
    heavy = type(queries)(queries.anchor, queries.relation, queries.answer, 3 * queries.weight)
    sampler = SAMPLERS[name](graph)
    one, two = draw(deepcopy(sampler), queries), draw(sampler, heavy)
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(one.weight, two.weight)


@pytest.mark.parametrize(
    "name", ["mask-known", "mask-known-popularity", "kvs-all", "resample-known", "uniform-filtered"]
)
def test_known_facts_never_count(name):
    graph = tiny_graph()
    queries = tiny_queries(graph)
    drawn = draw(SAMPLERS[name](graph), queries)
    assert not (drawn.mask & graph.known.contains(queries, drawn.ids)).any()


@pytest.mark.parametrize(
    "make",
    [UniformFiltered, lambda graph, k: ResampleKnown(graph, inner=Uniform(graph, k=k))],
    ids=["uniform-filtered", "resample-known"],
)
def test_a_query_that_all_entities_answer_gets_no_negatives(make):
    graph, queries = saturated()
    drawn = draw(make(graph, k=4), queries)
    full = graph.known.count(queries) == 3
    assert full.any()
    assert not drawn.mask[full].any()
    assert drawn.mask[~full].any()


def test_a_candidate_per_query_is_the_least():
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        Uniform(tiny_graph(), k=0)


@pytest.mark.parametrize("cls", [Uniform, Popularity])
def test_a_batch_needs_a_list(cls):
    with pytest.raises(ValueError, match="at least one candidate list; got groups=0"):
        cls(tiny_graph(), k=2, groups=0)


def test_lists_must_divide_the_batch():
    graph = tiny_graph()
    with pytest.raises(ValueError, match="5 candidate lists cannot be shared evenly by 24"):
        draw(Uniform(graph, k=2, groups=5), tiny_queries(graph))


def test_in_batch_negatives_need_a_batch():
    graph = tiny_graph()
    with pytest.raises(ValueError, match="at least k=25 queries; got 24"):
        draw(InBatch(graph, k=25), tiny_queries(graph))


def test_in_batch_negatives_are_different_queries_answers():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    drawn = draw(InBatch(graph, k=len(queries)), queries)
    assert drawn.ids.flatten().sort().values.equal(queries.answer.sort().values)


def test_redrawing_keeps_what_the_inner_sampler_says_of_its_candidates():
    class Doubtful(Uniform):
        def sample(self, queries, score, rng):
            ids = super().sample(queries, score, rng).ids
            value = ids.float() / self.num_entities
            drawn = self.to_negatives(queries, ids)
            return Negatives(
                (ids,), drawn.mask, value, value, -value, drawn.log_q, drawn.answer_log_q
            )

    graph = tiny_graph()
    drawn = draw(ResampleKnown(graph, inner=Doubtful(graph, k=50)), tiny_queries(graph))
    value = drawn.ids.float() / graph.num_entities
    assert torch.equal(drawn.weight, value)
    assert torch.equal(drawn.p_false_negative, value)
    assert torch.equal(drawn.log_policy, -value)


@pytest.mark.parametrize("wrapper", [MaskKnown, ResampleKnown])
def test_feedback_reaches_the_sampler_inside(wrapper):
    class Listening(Uniform):
        def observe(self, feedback):
            return {"heard": feedback.push.sum()}

    graph = tiny_graph()
    queries = tiny_queries(graph)
    sampler = wrapper(graph, inner=Listening(graph, k=3))
    drawn = draw(sampler, queries)
    scores = torch.ones(len(queries), 3)
    metrics = sampler.observe(Feedback(queries, drawn, scores[:, 0], scores, scores / len(queries)))
    assert metrics["heard"] == scores.numel()


@pytest.mark.parametrize("wrapper", [MaskKnown, ResampleKnown])
def test_what_a_sampler_needs_is_known_through_a_wrapper(wrapper):
    class Needy(Uniform):
        capabilities = replace(NO_DENSITY, needs_scores=True, num_extra_scores=7)

        def log_prob(self, queries, ids):
            return None

        def sample(self, queries, score, rng):
            drawn = super().sample(queries, score, rng)
            score(drawn.ids)
            return drawn

    check_sampler(lambda graph: wrapper(graph, inner=Needy(graph, k=3)))
    outer = wrapper(tiny_graph(), inner=Needy(tiny_graph(), k=3))
    assert outer.capabilities == Needy.capabilities


def test_a_sampler_without_a_closed_form_says_so():
    class Mute(NegativeSampler):
        def sample(self, queries, score, rng):
            return self.to_negatives(queries, torch.zeros(len(queries), self.k, dtype=torch.long))

    drawn = draw(Mute(k=2), tiny_queries(tiny_graph()))
    assert drawn.log_q is None
    assert drawn.answer_log_q is None
