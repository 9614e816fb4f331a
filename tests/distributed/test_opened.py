"""A sharded run gives the same numbers to the last bit on any number of ranks."""

import os

import pytest
import torch
from distributed.ranks import on_fresh_ranks, small_graph

from sparring.distributed import world
from sparring.distributed.world import LaunchError
from sparring.evaluation.predict import predict
from sparring.evaluation.queries import PredictionQuery
from sparring.experiments.audit_run import audit_sampler
from sparring.experiments.config import check_config
from sparring.experiments.opened import opened
from sparring.experiments.run import ensemble
from sparring.experiments.run_folder import Run
from sparring.experiments.sharded import run_experiment
from sparring.predictor import Predictor


def tables(sampler, model):
    return {
        "seed": 0,
        "graph": {"name": "small"},
        "model": {"name": model, "dim": 8},
        "sampler": {"name": sampler, "k": 6},
        "loss": {"name": "sampled-softmax", "correction": "both"},
        "optimizer": {"name": "adagrad", "lr": 0.1},
        "train": {"epochs": 3, "batch_size": 40, "validate_every": 3},
        "evaluate": {"bootstrap": 5},
        "distributed": {"virtual_workers": 4},
    }


def trained(folder, sampler, model):
    os.environ["RANK"] = str(world.rank())
    return run_experiment(check_config(tables(sampler, model)), folder, graph=small_graph())


def numbers(folder, guide):
    """What `sparring evaluate`, `predict` and `audit` say."""
    run = Run(folder)
    config = run.config()
    asked = [("e1", "r1", None), (None, "r2", "e5"), ("e3", None, "e7")]
    with opened(run, config, draws=True) as found:
        ranks = found.ranks(guide)
        queries = [PredictionQuery(*query) for query in asked]
        answers = predict(ensemble(found.step, guide), found.graph, queries, k=5, max_scores=100)
        audit = audit_sampler(found.step, found.graph, config, model=found.step.model)
    return ranks.rank, answers.csv(), audit.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler, model, guide",
    [("generator", "complex", 0.5), ("uniform-filtered", "transe", 0.0)],
)
def test_numbers_do_not_depend_on_the_number_of_ranks(tmp_path, sampler, model, guide):
    folder = tmp_path / "run"
    result = on_fresh_ranks(2, trained, folder, sampler, model)[0]
    first = on_fresh_ranks(1, numbers, folder, guide)[0]
    for number in (2, 4):
        for ranks, answers, audit in on_fresh_ranks(number, numbers, folder, guide):
            assert torch.equal(ranks, first[0])
            assert (answers, audit) == first[1:]
    if not guide:
        assert first[0].reciprocal().mean().item() == result["mrr"]
    assert first[2]["overall"]["known_counted"] == 0
    whole = Predictor(Run(folder)).evaluate("test")
    assert whole["mrr"] == pytest.approx(result["mrr"], abs=1e-9)


def test_a_run_of_one_process_is_refused_on_several(tmp_path, monkeypatch):
    for name in world.LAUNCHED:
        monkeypatch.setenv(name, "1")
    config = check_config(tables("uniform", "complex"))
    with pytest.raises(LaunchError, match="was trained in one process"):
        opened(Run(tmp_path), config).__enter__()
