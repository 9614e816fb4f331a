import pytest

from sparring.experiments.commands.listing import families, parts


@pytest.mark.parametrize("family", families())
def test_every_part_says_in_a_sentence_what_it_is(family):
    assert all(part.summary for part in parts(family))


def test_options_come_with_types_and_defaults():
    softmax = next(part for part in parts("losses") if part.name == "sampled-softmax")
    assert softmax.options["temperature"] == "float = 1.0"


def test_what_the_library_supplies_is_no_option():
    every = [part for family in families() for part in parts(family)]
    assert not any({"graph", "params"} & set(part.options) for part in every)
