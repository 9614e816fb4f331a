"""Two hosts on a network of their own train together; one is lost, and the other goes on."""

import json

import pytest
from distributed.hosts import Network, wait_until, why_not

from sparring.experiments.run_folder import Run

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]
EPOCHS = 12
WORDS = (
    *("fit", "atlas", "--sampler", "uniform", "--epochs", str(EPOCHS)),
    *("--set", "distributed.virtual_workers=4", "--set", "distributed.timeout=8"),
    *("--set", "train.validate_every=4", "--set", "model.dim=8", "--set", "evaluate.bootstrap=10"),
)


def epochs_done(folder):
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line)["epoch"] for line in lines), default=0)


def result_of_two_hosts(tmp_path, name, lose=None):
    """The result of a job on two hosts, and what the first host said."""
    folder = tmp_path / name
    words = [*WORDS, "--folder", str(folder)]
    with Network(2) as network:
        logs = [tmp_path / f"{name}-{number}.txt" for number in range(2)]
        jobs = [network.torchrun(number, words, log) for number, log in enumerate(logs)]
        if lose:
            wait_until(lambda: epochs_done(folder) >= 2, jobs)
            assert epochs_done(folder) < EPOCHS - 2
            lose(network)
        assert jobs[0].wait(180) == 0, logs[0].read_text()
    for job in jobs:
        job.wait(10)
    return Run(folder).result(), logs[0].read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return result_of_two_hosts(tmp_path_factory.mktemp("whole"), "whole")


def test_two_hosts_train_together(whole):
    result, said = whole
    assert result["processes"] == 2
    assert "2 processes, 4 virtual workers" in said


def test_one_host_goes_on_after_the_cable_of_the_other_was_cut(tmp_path, whole):
    """`make campaign` kills hosts, too."""
    result, said = result_of_two_hosts(tmp_path, "lost", lambda network: network.cut(1))
    assert result["processes"] == 1
    assert "on 1 process; before it was on 2" in said
    for metric in ("mrr", "mr", "valid_mrr"):
        assert result[metric] == pytest.approx(whole[0][metric], rel=1e-3)
