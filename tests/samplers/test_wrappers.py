import math

import pytest
import torch
from samplers.crowded import (
    BATCH,
    GRAPH,
    KNOWN,
    QUERIES,
    K,
    assert_follows,
    by_degree,
    counted_or_rest,
    stated,
    with_rest,
)
from samplers.worlds import draw, graph_of, make_queries, misfit, scores_of

from sparring.batch import Feedback
from sparring.corruption import CorruptBoth
from sparring.groups import ungroup
from sparring.samplers import (
    EANS,
    Curriculum,
    DynamicNegatives,
    KHop,
    KvsAll,
    MaskKnown,
    Mixture,
    NegativeSampler,
    Popularity,
    ResampleKnown,
    TypeConstrained,
    Uniform,
    UniformFiltered,
    WithoutReplacement,
    WithPositives,
)
from sparring.testing import tiny_graph, tiny_queries

MIXED = graph_of((0, 0, 1), (0, 0, 2), (3, 0, 1))
MIX_QUERY = make_queries(0, 0, 1)
EVERYONE = torch.arange(6).unsqueeze(0)


def slot(k):
    return TypeConstrained(MIXED, k=k, uniform_mix=0.0)


class Listening(Uniform):
    """Remembers what it is told."""

    def observe(self, feedback):
        self.heard = feedback
        return {"mean": feedback.negative.mean()}

    def bind_model(self, model):
        self.watched = (model,)


def two(first=1, second=3):
    return Mixture(MIXED, parts=[slot(first), Uniform(MIXED, k=second)])


def test_lists_stand_side_by_side():
    drawn = draw(two(first=2, second=5), MIX_QUERY)
    assert drawn.ids.shape == drawn.mask.shape == (1, 7)
    assert set(drawn.ids[0, :2].tolist()) <= {1, 2}


def test_the_density_is_that_of_the_whole_list():
    share = two().log_prob(MIX_QUERY, EVERYONE)[0].exp()
    outside, inside = 3 / 4 / 6, 3 / 4 / 6 + 1 / 4 / 2
    assert share.tolist() == pytest.approx([outside, inside, inside, outside, outside, outside])


def test_a_candidate_has_the_same_density_whoever_drew_it():
    drawn = draw(two(first=50, second=50), MIX_QUERY)
    for entity in range(6):
        assert len(drawn.log_q[drawn.ids == entity].unique()) == 1


def test_draws_follow_the_stated_density():
    assert misfit(two(first=500, second=1500), make_queries(0, 0, 1, times=10), 6) < 5


def test_lists_that_are_shared_mix_with_own_ones():
    parts = [Uniform(MIXED, k=2, groups=1), Popularity(MIXED, k=3, groups=2)]
    drawn = draw(Mixture(MIXED, parts=parts), make_queries(0, 0, 1, times=4))
    assert drawn.ids.shape == drawn.log_q.shape == (4, 5)


def test_an_answer_that_one_part_reaches_has_that_density():
    drawn = draw(
        Mixture(MIXED, parts=[KHop(MIXED, k=1, hops=1), Uniform(MIXED, k=1)]),
        make_queries(0, 0, 5),
    )
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([1 / 2 / 6])


def test_an_answer_that_no_part_reaches_has_one_nevertheless():
    drawn = draw(
        Mixture(MIXED, parts=[KHop(MIXED, k=1, hops=1), slot(1)]),
        make_queries(0, 0, 5),
    )
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([(1 / 3 + 1 / 2) / 2])


def test_columns_keep_their_own_density_where_a_part_has_no_closed_form():
    pool = WithoutReplacement(MIXED, inner=Uniform(MIXED, k=6))
    mix = Mixture(MIXED, parts=[pool, Uniform(MIXED, k=2)])
    drawn = draw(mix, MIX_QUERY)
    alone = draw(pool, MIX_QUERY)
    torch.testing.assert_close(drawn.log_q[:, :6], alone.log_q)
    assert drawn.log_q[0, 6:].exp().tolist() == pytest.approx([1 / 6] * 2)
    assert drawn.answer_log_q is None
    assert mix.capabilities.has_log_q and not mix.capabilities.has_answer_log_q


def test_a_part_without_density_leaves_the_list_without():
    mix = Mixture(
        MIXED,
        parts=[
            DynamicNegatives(MIXED, inner=Uniform(MIXED, k=3)),
            Uniform(MIXED, k=2),
        ],
    )
    flat = lambda ids: torch.zeros(1, ids.shape[1])
    assert draw(mix, MIX_QUERY, flat).log_q is None
    assert not mix.capabilities.has_log_q
    assert mix.capabilities.needs_scores and mix.capabilities.num_extra_scores == 3


def test_every_part_is_told_about_its_own_columns():
    parts: list[NegativeSampler] = [Listening(MIXED, k=2), Listening(MIXED, k=3)]
    mix = Mixture(MIXED, parts=parts)
    drawn = draw(mix, MIX_QUERY)
    scores = torch.arange(5.0).unsqueeze(0)
    told = mix.observe(Feedback(MIX_QUERY, drawn, torch.zeros(1), scores, 10 * scores))
    assert parts[0].heard.negative.tolist() == [[0.0, 1.0]]
    assert parts[1].heard.gradient.tolist() == [[20.0, 30.0, 40.0]]
    assert torch.equal(parts[1].heard.negatives.ids, drawn.ids[:, 2:])
    assert {name: value.item() for name, value in told.items()} == {"0.mean": 0.5, "1.mean": 3.0}


def test_every_part_meets_the_model():
    parts: list[NegativeSampler] = [Listening(MIXED, k=2), Listening(MIXED, k=3)]
    model = torch.nn.Identity()
    Mixture(MIXED, parts=parts).bind_model(model)
    assert [part.watched for part in parts] == [(model,), (model,)]


def test_a_mixture_has_parts():
    with pytest.raises(ValueError, match="a mixture needs at least one part; got none"):
        Mixture(MIXED, parts=[])


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
    with pytest.raises(ValueError, match="there must be at least one known answer; got answers=0"):
        WithPositives(graph, inner=Uniform(graph, k=4), answers=0)


RAMP_WORLD = graph_of((0, 0, 1), (0, 0, 2))
RAMP_QUERY = make_queries(0, 0, 1)


def ramp(inner=None, option="uniform_mix", start=1.0, end=0.0, steps=4, **options):
    inner = TypeConstrained(RAMP_WORLD, k=2) if inner is None else inner
    options |= {"option": option, "start": start, "end": end, "steps": steps}
    return Curriculum(RAMP_WORLD, inner=inner, **options)


def seen(sampler, steps, score=None):
    values = []
    for _ in range(steps):
        draw(sampler, RAMP_QUERY, *([score] if score else []))
        values.append(getattr(sampler.inner, sampler.option))
    return values


def test_an_option_moves_evenly_and_then_stays():
    assert seen(ramp(), 6) == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_an_option_may_return_at_the_end():
    values = seen(ramp(cooldown_at=6), 12)
    assert values == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert seen(ramp(cooldown_at=4), 7) == [1.0, 0.75, 0.5, 0.25, 0.0, 0.25, 0.5]


def test_a_way_back_begins_after_the_way_there():
    with pytest.raises(
        ValueError, match="way back begins after the way there, of steps=4; got coo"
    ):
        ramp(cooldown_at=3)


def test_whole_numbers_stay_whole():
    hardest = DynamicNegatives(RAMP_WORLD, inner=Uniform(RAMP_WORLD, k=9))
    ranks = seen(ramp(hardest, "rank", 5.0, 1.0, steps=8), 10, scores_of(*range(6)))
    assert ranks == [5, 4, 4, 4, 3, 2, 2, 2, 1, 1]
    assert all(isinstance(rank, int) for rank in ranks)


def test_a_curriculum_begins_before_the_first_draw():
    assert ramp(start=0.75).inner.uniform_mix == 0.75


def test_looking_without_training_is_no_progress():
    assert seen(ramp().eval(), 3) == [1.0, 1.0, 1.0]


def test_progress_is_part_of_the_state():
    one, two = ramp(), ramp()
    seen(one, 3)
    two.load_state_dict(one.state_dict())
    assert two.inner.uniform_mix == 0.25
    assert seen(one, 2) == seen(two, 2)


def test_what_follows_from_an_option_follows_its_change():
    near = EANS(RAMP_WORLD, k=1, width=1.0)
    narrow = near.log_p_step.clone()
    ramp(near, "width", 3.0, 1.0)
    assert near.log_p_step[0] < narrow[0]


def test_a_former_name_of_an_option_changes_it_too():
    assert ramp(option="floor", start=0.75).inner.uniform_mix == 0.75


def test_an_option_that_cannot_change_is_refused():
    with pytest.raises(
        ValueError, match=r"TypeConstrained has no option 'kind' .* it has: uniform_mix"
    ):
        ramp(option="kind")
    with pytest.raises(ValueError, match=r"Uniform has no option 'k' .* it has: none"):
        ramp(Uniform(RAMP_WORLD, k=1), "k")


@pytest.mark.parametrize("start, end", [(1.5, 0.0), (0.0, -0.5)])
def test_values_stay_within_bounds(start, end):
    with pytest.raises(ValueError, match=r"uniform_mix must be between 0\.0 and 1\.0; got"):
        ramp(start=start, end=end)


def test_at_least_one_step():
    with pytest.raises(ValueError, match="at least one step; got steps=0"):
        ramp(steps=0)


def test_hidden_known_facts_leave_the_others_alone():
    sampler = MaskKnown(GRAPH, inner=Uniform(GRAPH, k=K))
    share = with_rest(~KNOWN / torch.tensor(float(GRAPH.num_entities)))
    assert_follows(counted_or_rest(draw(sampler, QUERIES)), share)


@pytest.mark.parametrize("rounds", [0, 1, 3])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_redrawing_draws_as_often_as_it_says(rounds, power):
    """Each round leaves the share of known facts to the next; what is left does not count."""
    sampler = ResampleKnown(GRAPH, inner=Popularity(GRAPH, k=K, power=power), rounds=rounds)
    inner = by_degree(power)
    taken = inner[KNOWN].sum()
    by_hand = inner * ~KNOWN * sum(taken**turn for turn in range(rounds + 1))
    torch.testing.assert_close(stated(sampler), by_hand, atol=1e-6, rtol=1e-5)
    assert_follows(counted_or_rest(draw(sampler, QUERIES)), with_rest(by_hand))


@pytest.mark.parametrize(
    "make",
    [
        lambda k: MaskKnown(GRAPH, inner=Uniform(GRAPH, k=k)),
        lambda k: MaskKnown(GRAPH, inner=Popularity(GRAPH, k=k, groups=100)),
        lambda k: ResampleKnown(GRAPH, inner=Uniform(GRAPH, k=k, groups=100), rounds=1),
        lambda k: ResampleKnown(GRAPH, inner=Popularity(GRAPH, k=k)),
        lambda k: UniformFiltered(GRAPH, k=k),
    ],
    ids=["hidden", "hidden-popular", "redrawn", "redrawn-popular", "unknown"],
)
def test_all_ways_to_avoid_known_facts_estimate_the_sum_over_the_unknown(make):
    value = torch.randn(GRAPH.num_entities, generator=torch.Generator().manual_seed(5)).exp()
    drawn = draw(make(K), QUERIES)
    rows = drawn.mask * value[ungroup(drawn.ids, BATCH)] / (K * drawn.log_q.exp())
    lists = rows.nan_to_num().sum(1).unflatten(0, (100, 3)).mean(1)
    error = (lists.mean() - value[~KNOWN].sum()) / (lists.std() / math.sqrt(len(lists)))
    assert error.abs() < 5
