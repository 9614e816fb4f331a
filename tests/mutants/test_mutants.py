"""Every mutant breaks something that is there, and is noticed: the tests that it names fail."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import mutants  # noqa: F401  registers them
from mutants.plugin import MUTANTS

ROOT = Path(__file__).parents[2]
# stop at the first failure, and check no types
OPTIONS = ["-x", "-q", "--tb=line", "-p", "mutants.plugin", "-p", "no:cacheprovider"]
OPTIONS += ["-o", "addopts=--import-mode=importlib"]


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_has_a_target_and_tests(mutant):
    assert mutant.find()
    assert (ROOT / mutant.tests[0]).exists()


@pytest.mark.mutant
@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(name):
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *MUTANTS[name].tests],
        cwd=ROOT,
        env=os.environ | {"SPARRING_MUTANT": name, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert re.search(r"^1 failed", done.stdout.splitlines()[-1]), done.stdout
