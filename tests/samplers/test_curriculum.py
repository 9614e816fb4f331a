import pytest
from samplers.worlds import draw, graph_of, make_queries, scores_of

from sparring.samplers import EANS, Curriculum, DynamicNegatives, TypeConstrained, Uniform

WORLD = graph_of((0, 0, 1), (0, 0, 2))
QUERY = make_queries(0, 0, 1)


def ramp(inner=None, option="floor", start=1.0, end=0.0, steps=4):
    inner = TypeConstrained(WORLD, k=2) if inner is None else inner
    return Curriculum(WORLD, inner=inner, option=option, start=start, end=end, steps=steps)


def seen(sampler, steps, score=None):
    values = []
    for _ in range(steps):
        draw(sampler, QUERY, *([score] if score else []))
        values.append(getattr(sampler.inner, sampler.option))
    return values


def test_an_option_moves_evenly_and_then_stays():
    assert seen(ramp(), 6) == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_whole_numbers_stay_whole():
    hardest = DynamicNegatives(WORLD, inner=Uniform(WORLD, k=9))
    ranks = seen(ramp(hardest, "rank", 5.0, 1.0, steps=8), 10, scores_of(*range(6)))
    assert ranks == [5, 4, 4, 4, 3, 2, 2, 2, 1, 1]
    assert all(isinstance(rank, int) for rank in ranks)


def test_a_curriculum_begins_before_the_first_draw():
    assert ramp(start=0.75).inner.floor == 0.75


def test_looking_without_training_is_no_progress():
    assert seen(ramp().eval(), 3) == [1.0, 1.0, 1.0]


def test_progress_is_part_of_the_state():
    one, two = ramp(), ramp()
    seen(one, 3)
    two.load_state_dict(one.state_dict())
    assert two.inner.floor == 0.25
    assert seen(one, 2) == seen(two, 2)


def test_what_follows_from_an_option_follows_its_change():
    near = EANS(WORLD, k=1, width=1.0)
    narrow = near.log_share.clone()
    ramp(near, "width", 3.0, 1.0)
    assert near.log_share[0] < narrow[0]


def test_an_option_that_cannot_change_is_refused():
    with pytest.raises(ValueError, match=r"TypeConstrained has no option 'kind' .* it has: floor"):
        ramp(option="kind")
    with pytest.raises(ValueError, match=r"Uniform has no option 'k' .* it has: none"):
        ramp(Uniform(WORLD, k=1), "k")


@pytest.mark.parametrize("start, end", [(1.5, 0.0), (0.0, -0.5)])
def test_values_stay_within_bounds(start, end):
    with pytest.raises(ValueError, match=r"floor lies between 0\.0 and 1\.0; got"):
        ramp(start=start, end=end)


def test_at_least_one_step():
    with pytest.raises(ValueError, match="at least one step; got steps=0"):
        ramp(steps=0)
