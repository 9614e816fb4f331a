import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries, misfit

from sparring.batch import Feedback
from sparring.samplers import (
    DynamicNegatives,
    KHop,
    Mixture,
    NegativeSampler,
    Popularity,
    Positional,
    Uniform,
    WithoutReplacement,
)

WORLD = graph_of((0, 0, 1), (0, 0, 2), (3, 0, 1))
QUERY = make_queries(0, 0, 1)
EVERYONE = torch.arange(6).unsqueeze(0)


class Listening(Uniform):
    """Remembers what it is told."""

    def observe(self, feedback):
        self.heard = feedback
        return {"mean": feedback.negative.mean()}

    def bind_model(self, model):
        self.watched = (model,)


def two(first=1, second=3):
    return Mixture(WORLD, parts=[Positional(WORLD, k=first), Uniform(WORLD, k=second)])


def test_lists_stand_side_by_side():
    drawn = draw(two(first=2, second=5), QUERY)
    assert drawn.ids.shape == drawn.mask.shape == (1, 7)
    assert set(drawn.ids[0, :2].tolist()) <= {1, 2}


def test_the_density_is_that_of_the_whole_list():
    share = two().log_prob(QUERY, EVERYONE)[0].exp()
    outside, inside = 3 / 4 / 6, 3 / 4 / 6 + 1 / 4 / 2
    assert share.tolist() == pytest.approx([outside, inside, inside, outside, outside, outside])


def test_a_candidate_has_the_same_density_whoever_drew_it():
    drawn = draw(two(first=50, second=50), QUERY)
    for entity in range(6):
        assert len(drawn.log_q[drawn.ids == entity].unique()) == 1


def test_draws_follow_the_stated_density():
    assert misfit(two(first=500, second=1500), make_queries(0, 0, 1, times=10), 6) < 5


def test_lists_that_are_shared_mix_with_own_ones():
    parts = [Uniform(WORLD, k=2, groups=1), Popularity(WORLD, k=3, groups=2)]
    drawn = draw(Mixture(WORLD, parts=parts), make_queries(0, 0, 1, times=4))
    assert drawn.ids.shape == drawn.log_q.shape == (4, 5)


def test_an_answer_that_one_part_reaches_has_that_density():
    drawn = draw(
        Mixture(WORLD, parts=[KHop(WORLD, k=1, hops=1), Uniform(WORLD, k=1)]), make_queries(0, 0, 5)
    )
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([1 / 2 / 6])


def test_an_answer_that_no_part_reaches_has_one_nevertheless():
    drawn = draw(
        Mixture(WORLD, parts=[KHop(WORLD, k=1, hops=1), Positional(WORLD, k=1)]),
        make_queries(0, 0, 5),
    )
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([(1 / 3 + 1 / 2) / 2])


def test_columns_keep_their_own_density_where_a_part_has_no_closed_form():
    pool = WithoutReplacement(WORLD, inner=Uniform(WORLD, k=6))
    mix = Mixture(WORLD, parts=[pool, Uniform(WORLD, k=2)])
    drawn = draw(mix, QUERY)
    alone = draw(pool, QUERY)
    torch.testing.assert_close(drawn.log_q[:, :6], alone.log_q)
    assert drawn.log_q[0, 6:].exp().tolist() == pytest.approx([1 / 6] * 2)
    assert drawn.answer_log_q is None
    assert mix.capabilities.has_log_q and not mix.capabilities.has_answer_log_q


def test_a_part_without_density_leaves_the_list_without():
    mix = Mixture(
        WORLD, parts=[DynamicNegatives(WORLD, inner=Uniform(WORLD, k=3)), Uniform(WORLD, k=2)]
    )
    flat = lambda ids: torch.zeros(1, ids.shape[1])
    assert draw(mix, QUERY, flat).log_q is None
    assert not mix.capabilities.has_log_q
    assert mix.capabilities.needs_scores and mix.capabilities.num_extra_scores == 3


def test_every_part_is_told_about_its_own_columns():
    parts: list[NegativeSampler] = [Listening(WORLD, k=2), Listening(WORLD, k=3)]
    mix = Mixture(WORLD, parts=parts)
    drawn = draw(mix, QUERY)
    scores = torch.arange(5.0).unsqueeze(0)
    told = mix.observe(Feedback(QUERY, drawn, torch.zeros(1), scores, 10 * scores))
    assert parts[0].heard.negative.tolist() == [[0.0, 1.0]]
    assert parts[1].heard.gradient.tolist() == [[20.0, 30.0, 40.0]]
    assert torch.equal(parts[1].heard.negatives.ids, drawn.ids[:, 2:])
    assert {name: value.item() for name, value in told.items()} == {"0.mean": 0.5, "1.mean": 3.0}


def test_every_part_meets_the_model():
    parts: list[NegativeSampler] = [Listening(WORLD, k=2), Listening(WORLD, k=3)]
    model = torch.nn.Identity()
    Mixture(WORLD, parts=parts).bind_model(model)
    assert [part.watched for part in parts] == [(model,), (model,)]


def test_a_mixture_has_parts():
    with pytest.raises(ValueError, match="a mixture needs at least one part; got none"):
        Mixture(WORLD, parts=[])
