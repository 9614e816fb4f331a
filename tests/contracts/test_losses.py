import pytest
from zoo import LOSSES

from sparring.losses import SampledSoftmax
from sparring.testing import check_loss


@pytest.mark.parametrize("name", LOSSES)
def test_keeps_the_contract(name):
    check_loss(LOSSES[name]())


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_softmax_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0; got"):
        SampledSoftmax(temperature=temperature)


def test_a_softmax_correction_has_one_of_four_names():
    with pytest.raises(ValueError, match="one of none, negatives, both, refined; got 'all'"):
        SampledSoftmax(correction="all")
