"""Training with parts of your own, in two lines."""

import pytest
import rings
import torch

import sparring
from sparring.losses import SampledSoftmax
from sparring.models import DistMult
from sparring.registry import ConfigError
from sparring.samplers import Uniform


@pytest.fixture(scope="module")
def graph():
    return sparring.load_graph(rings.facts(), name="rings")


def test_objects_are_trained_in_place(graph):
    torch.manual_seed(0)
    model = DistMult(graph.training, dim=8)
    before = model.entity.weight.detach().clone()
    trainer = sparring.Trainer(
        model,
        graph,
        sampler=Uniform(graph.training, k=4),
        loss=SampledSoftmax(),
        batch_size=32,
    )
    history = trainer.fit(2)
    assert trainer.step.model is model
    assert not torch.equal(before, model.entity.weight)
    reached = history.filter(history["kind"] == "validation")["mrr"].to_list()
    assert len(reached) == 2
    found = sparring.evaluate(model, graph.valid, graph.known_for_validation).mrr()
    assert found == pytest.approx(max(reached))


def test_names_give_the_same_under_the_same_seed(graph):
    def scores(seed):
        trainer = sparring.Trainer({"name": "distmult", "dim": 8}, graph, seed=seed, batch_size=32)
        trainer.fit(1)
        return trainer.step.model.entity.weight

    assert torch.equal(scores(0), scores(0))
    assert not torch.equal(scores(0), scores(1))


def test_it_goes_on_where_it_was(graph):
    trainer = sparring.Trainer({"name": "distmult", "dim": 8}, graph, batch_size=32)
    first = trainer.fit(3)
    model = trainer.step.model
    second = trainer.fit(3)
    assert trainer.step.model is model
    loss = lambda history: history.filter(history["kind"] == "progress")["loss"]
    assert loss(second)[0] < loss(first)[0]


def test_a_limit_of_time_ends_training(graph):
    history = sparring.Trainer("distmult", graph, batch_size=32).fit(10**6, minutes=1e-6)
    assert history["step"].max() < 100


def test_an_unknown_part_is_refused(graph):
    with pytest.raises(ConfigError, match="did you mean 'distmult'"):
        sparring.Trainer("distmul", graph)
