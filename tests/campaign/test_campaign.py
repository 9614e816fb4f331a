"""A few cases of each attack, and of attacks on broken libraries; `make campaign` runs all."""

import pytest
from campaign.__main__ import found_in
from campaign.attacks import ATTACKS
from campaign.broken import BROKEN
from campaign.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("campaign"))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].few])
def test_nothing_is_lost(world, name):
    cases = range(ATTACKS[name].few)
    assert ATTACKS[name].run(world, cases) == [""] * len(cases)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["the_log_is_not_cut_at_the_checkpoint", "drafts_stay"])
def test_a_broken_library_is_found(tmp_path, name):
    assert name in BROKEN
    assert found_in(name, tmp_path)[0] >= 0
