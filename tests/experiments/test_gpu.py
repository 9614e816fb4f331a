"""Whole runs on a GPU."""

import pytest
import torch
from test_run import changed, stopped_at

from sparring.experiments.graphs import load_graph
from sparring.experiments.run import Run, judge, run
from sparring.training import checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture
def on_gpu(tables, monkeypatch):
    """The small experiment with the generator, in operations that always sum in one order."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield changed(tables, device="cuda", sampler={"name": "sparring", "k": 4})
    torch.use_deterministic_algorithms(False)


def test_a_resumed_run_is_bit_for_bit_the_unbroken_one(on_gpu, tmp_path):
    run(on_gpu, tmp_path / "whole")
    assert run(on_gpu, tmp_path / "broken", listeners=stopped_at(5)) is None
    run(on_gpu, tmp_path / "broken", resume=True)
    one, other = (checkpoint.load(tmp_path / name, "last") for name in ("whole", "broken"))
    for name, tensor in one["step"].items():
        assert torch.equal(tensor, other["step"][name]), name


def test_what_a_gpu_trained_is_ranked_alike_on_the_processor(on_gpu, tmp_path):
    result = run(on_gpu, tmp_path / "run")
    made = Run(tmp_path / "run")
    config, graph = made.config(["device=cpu"]), load_graph(on_gpu.graph)
    again = judge(made.trained(config, graph).model, graph, config)
    assert again.mrr() == pytest.approx(result["mrr"], abs=1e-3)
