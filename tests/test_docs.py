"""The documentation is in step with the code and with the committed results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sparring.generators  # noqa: F401  (registers its parts)
from sparring.losses import LOSSES
from sparring.samplers import ESTIMATORS, SAMPLERS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "samplers.md"
NAMED = [*SAMPLERS, *LOSSES]


def sections():
    """What stands under each heading that is a name."""
    parts = re.split(r"^### `([a-z-]+)`\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_sampler_generator_and_loss_has_its_section_and_nothing_else_has():
    assert sorted(sections()) == sorted(NAMED)


def test_a_section_shows_the_figures_of_its_own_sampler():
    without = [name for name, text in sections().items() if f"<!-- figures: {name} -->" not in text]
    assert without == []


def test_every_estimator_is_shown_in_a_configuration():
    text = PAGE.read_text()
    assert [name for name in ESTIMATORS if f'name = "{name}"' not in text] == []


@pytest.mark.slow
def test_tables_are_those_of_the_committed_results():
    command = [sys.executable, str(ROOT / "research" / "scripts" / "tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_shown_as_it_is(path):
    code = path.read_text()
    assert code in (ROOT / "docs" / "hosts.md").read_text()
