"""Every mutant still finds the place that it breaks, and tests to notice it."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUTANTS = tomllib.loads((ROOT / "mutants.toml").read_text())["mutant"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["breaks"])
def test_a_mutant_finds_its_place(mutant):
    text = (ROOT / "src" / "sparring" / mutant["file"]).read_text()
    assert text.count(mutant["before"]) == 1
    assert mutant["before"] != mutant["after"]
    assert all((ROOT / "tests" / place).exists() for place in mutant["tests"].split())
