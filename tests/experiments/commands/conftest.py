import json

import pytest


@pytest.fixture
def answer(command):
    """The JSON that a command prints."""

    def call(*words):
        done = command(*words)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    return call


@pytest.fixture
def guided(command, write, tables, tmp_path):
    """The folder of a run with a generator."""
    spec = {"name": "generator", "k": 4, "dim": 8, "codes": 8}
    result = command(
        "run", write({**tables, "sampler": spec}), "--folder", tmp_path / "guided", "-q"
    )
    assert result.exit_code == 0, result.stderr
    return tmp_path / "guided"
