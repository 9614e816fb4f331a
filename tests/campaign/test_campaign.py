"""A few cases of each attack; `make campaign` runs all of them."""

import random

import pytest
from campaign.attacks import ATTACKS, World

FEW = {"killed, then resumed": 2, "disk full, then resumed": 2, "two at once": 1, "flipped bits": 6}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("campaign"))
    yield made
    made.sparring.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_lost(world, name):
    cases = range(FEW.get(name, 12))
    found = [ATTACKS[name][1](world, random.Random(f"{name} {seed}")) for seed in cases]
    assert found == [""] * len(cases)
