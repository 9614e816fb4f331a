import math

import pytest

from sparring.training import SCHEDULES
from sparring.training.schedules import Constant, Cosine, Linear, StepDecay


def factors(schedule, steps=8):
    return [schedule(step, steps) for step in range(steps)]


def test_constant_stays():
    assert factors(Constant()) == [1.0] * 8


def test_linear_falls_in_equal_steps():
    assert factors(Linear(), 4) == [1.0, 0.75, 0.5, 0.25]


def test_linear_falls_to_the_floor():
    assert factors(Linear(floor=0.5), 4) == [1.0, 0.875, 0.75, 0.625]


def test_cosine_is_half_way_down_in_the_middle():
    schedule = Cosine(floor=0.2)
    assert schedule(0, 100) == pytest.approx(1.0)
    assert schedule(50, 100) == pytest.approx(0.6)
    assert schedule(25, 100) == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)


def test_a_step_decay_waits_for_its_fraction_of_steps():
    assert factors(StepDecay(at=0.75, factor=0.2), 4) == [1.0, 1.0, 1.0, 0.2]


def test_a_step_decay_is_a_tenth_from_the_middle_on():
    assert factors(StepDecay(), 4) == [1.0, 1.0, 0.1, 0.1]


def test_the_rate_rises_to_its_full_value_over_the_warm_up():
    assert factors(Constant(warmup=0.5), 8) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_a_warm_up_multiplies_the_decay():
    assert factors(Linear(warmup=1.0), 4) == [0.25, 0.375, 0.375, 0.25]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [-0.1, 1.5])
def test_a_warm_up_is_a_fraction(name, warmup):
    with pytest.raises(ValueError, match=f"warmup must lie between 0 and 1; got {warmup}"):
        SCHEDULES[name](warmup=warmup)


@pytest.mark.parametrize("make", [Linear, Cosine])
def test_a_floor_is_a_fraction(make):
    with pytest.raises(ValueError, match="floor must lie between 0 and 1; got 2"):
        make(floor=2.0)
