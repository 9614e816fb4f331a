import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.training import SCHEDULES
from sparring.training.schedules import Constant, Cosine, Linear, Plateau, StepDecay


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


def test_a_plateau_reduces_after_more_than_its_patience():
    plateau = Plateau(factor=0.5, patience=1)
    scores = [0.1, 0.2, 0.2, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]
    got = [plateau.reduction(scores[:seen]) for seen in range(len(scores) + 1)]
    assert got == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_a_plateau_ends_at_its_floor():
    assert Plateau(factor=0.1, patience=0, floor=0.05).reduction([0.2] * 9) == 0.05


@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.20001, 0.2001, 0.3, 0.5]), max_size=40),
    factor=st.sampled_from([0.1, 0.5, 0.95]),
    patience=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    floor=st.sampled_from([0.0, 0.3]),
)
def test_a_plateau_is_that_of_pytorch(scores, factor, patience, threshold, floor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=factor, patience=patience, threshold=threshold, min_lr=floor
    )
    ours = Plateau(factor=factor, patience=patience, threshold=threshold, floor=floor)
    for seen in range(1, len(scores) + 1):
        theirs.step(scores[seen - 1])
        assert ours.reduction(scores[:seen]) == pytest.approx(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("name", ["factor", "threshold", "floor"])
def test_the_fractions_of_a_plateau_are_fractions(name):
    with pytest.raises(ValueError, match=f"{name} must lie between 0 and 1; got 1.5"):
        Plateau(**{name: 1.5})


def test_the_patience_of_a_plateau_is_not_negative():
    with pytest.raises(ValueError, match="patience must not be negative; got -1"):
        Plateau(patience=-1)
