import pytest
from zoo import HARD_LOSSES, LOSSES, SOFT_LOSSES

from sparring.losses import LOSSES as REGISTERED
from sparring.losses import Softmax
from sparring.testing import check_loss


@pytest.mark.parametrize("name", HARD_LOSSES)
def test_keeps_the_contract(name):
    check_loss(HARD_LOSSES[name]())


@pytest.mark.parametrize("name", SOFT_LOSSES)
def test_keeps_the_contract_but_for_its_labels(name):
    check_loss(SOFT_LOSSES[name](), hard_labels=False)


@pytest.mark.parametrize("registered", REGISTERED.values(), ids=REGISTERED)
def test_every_loss_of_the_library_is_in_the_zoo(registered):
    assert any(type(make()) is registered for make in LOSSES.values())


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_softmax_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0; got"):
        Softmax(temperature=temperature)


def test_a_softmax_correction_has_one_of_three_names():
    with pytest.raises(ValueError, match="one of none, negatives, both, refined; got 'all'"):
        Softmax(correction="all")
