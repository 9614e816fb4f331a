"""Loops run though Numba's cache is missing, broken or full."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sparring

pytestmark = pytest.mark.slow
PROGRAM = """
import torch
from sparring.kernels.ranking import count_greater
above, at_least = count_greater(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0]]))
assert (above.tolist(), at_least.tolist()) == ([1], [2])
"""


def run(package, **variables):
    """What a new process that calls a loop writes to stderr."""
    given = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=given, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def package():
    """The folder that holds the package."""
    return Path(sparring.__file__).parents[1]


@pytest.fixture
def filled(package, tmp_path):
    """A folder of loops that were compiled."""
    assert "RuntimeWarning" not in run(package, NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.rglob("*.nbi")) and list(tmp_path.rglob("*.nbc"))
    return tmp_path


def test_without_a_place_loops_are_compiled_again(package, tmp_path):
    """Folders that cannot be made, whoever runs this: their parents are files."""
    shutil.copytree(
        package / "sparring", tmp_path / "sparring", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "sparring" / "kernels" / "__pycache__").write_text("")
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"}
    for cache in ({}, {"NUMBA_CACHE_DIR": "/dev/null/numba"}):
        said = run(tmp_path, **nowhere, **cache)
        assert said.count("RuntimeWarning") == 1
        assert "set NUMBA_CACHE_DIR to a directory that can be written" in said


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("harm", [lambda whole: b"", lambda whole: whole[: len(whole) // 2]])
def test_broken_files_are_replaced(harm, suffix, package, filled):
    for path in filled.rglob(f"*{suffix}"):
        path.write_bytes(harm(path.read_bytes()))
    said = run(package, NUMBA_CACHE_DIR=str(filled))
    assert "cannot be read" in said and "are replaced" in said
    assert not run(package, NUMBA_CACHE_DIR=str(filled))


def test_a_folder_that_goes_away_costs_no_results(package, filled):
    for path in filled.rglob("*.nb?"):
        path.unlink()
        path.mkdir()  # neither read nor replaced
    said = run(package, NUMBA_CACHE_DIR=str(filled))
    assert "cannot be read" in said and "NUMBA_CACHE_DIR" in said
