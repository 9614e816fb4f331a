"""Known answers beside negatives."""

import pytest
import torch

from sparring.batch import Feedback
from sparring.corruption import CorruptBoth
from sparring.samplers import KvsAll, Uniform, WithPositives
from sparring.testing import tiny_graph, tiny_queries


def draw(sampler, queries, seed=0):
    return sampler.sample(queries, score=None, rng=torch.Generator().manual_seed(seed))


def test_what_is_shown_is_known_and_does_not_count():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    drawn = draw(WithPositives(graph, inner=Uniform(graph, k=4), answers=3), queries)
    assert graph.known.contains(queries, drawn.ids[:, 4:]).all()
    assert not drawn.mask[:, 4:].any()
    assert (drawn.p_false_negative[:, 4:] == 1).all()
    assert not drawn.p_false_negative[:, :4].any()


def test_every_known_answer_is_shown_at_some_time():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    drawn = draw(WithPositives(graph, inner=Uniform(graph, k=1), answers=200), queries)
    row, entity = graph.known.answers(queries)
    shown = torch.zeros(len(queries), graph.num_entities, dtype=torch.bool)
    shown.scatter_(1, drawn.ids[:, 1:], True)
    assert shown[row, entity].all()


def test_weights_add_up_to_the_number_of_known_answers():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    drawn = draw(WithPositives(graph, inner=Uniform(graph, k=4), answers=3), queries)
    assert torch.allclose(drawn.weight[:, 4:].sum(1), graph.known.count(queries).float())


def test_nothing_is_shown_to_a_query_without_known_answers():
    graph = tiny_graph()
    everything = CorruptBoth(graph)(graph.triples, torch.Generator())
    count = torch.zeros(graph.num_entities, 2 * graph.num_relations)
    count[everything.anchor, everything.relation] = 1
    anchor, relation = (count == 0).nonzero()[:1].unbind(1)
    queries = type(everything)(anchor, relation, torch.zeros_like(anchor), torch.ones(1))
    drawn = draw(WithPositives(graph, inner=Uniform(graph, k=4), answers=3), queries)
    assert not drawn.p_false_negative.any()
    assert not drawn.mask[:, 4:].any()


def test_a_sampler_without_density_stays_without():
    graph = tiny_graph()
    sampler = WithPositives(graph, inner=KvsAll(graph))
    assert draw(sampler, tiny_queries(graph)).log_q is None
    assert not sampler.capabilities.has_log_q


def test_feedback_speaks_of_the_negatives_only():
    class Listening(Uniform):
        def observe(self, feedback):
            return {"heard": feedback.push.sum()}

    graph = tiny_graph()
    queries = tiny_queries(graph)
    sampler = WithPositives(graph, inner=Listening(graph, k=4), answers=3)
    scores = torch.ones(len(queries), 7)
    feedback = Feedback(
        queries, draw(sampler, queries), scores[:, 0], scores, scores / len(queries)
    )
    assert sampler.observe(feedback)["heard"] == 4 * len(queries)


def test_at_least_one_answer_is_shown():
    graph = tiny_graph()
    with pytest.raises(ValueError, match="at least one known answer must be shown; got answers=0"):
        WithPositives(graph, inner=Uniform(graph, k=4), answers=0)
