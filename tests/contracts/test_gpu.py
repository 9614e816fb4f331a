"""The contracts, on a GPU: everything runs there unchanged, and a step does not wait for it."""

import pytest
import torch
from zoo import (
    CORRUPTIONS,
    COUNT_ANSWERS,
    EXACT_SAMPLERS,
    LOSSES,
    MODELS,
    SAMPLERS,
    step_of,
)

from sparring.testing import (
    check_density,
    check_loss,
    check_model,
    check_sampler,
    tiny_graph,
    tiny_queries,
)
from sparring.training import OPTIMIZERS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda")


def without_waiting(take):
    """Take the step, in which waiting for the GPU is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        return take()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def prepared(*, optimizer="adam", **parts):
    """A step as a call without arguments, after two: what is made once may wait."""
    graph = tiny_graph().to(GPU)
    step = step_of(graph, **parts)
    how, rng = (
        OPTIMIZERS[optimizer](step.trainable_parameters()),
        torch.Generator(GPU).manual_seed(0),
    )
    batches = iter(graph.triples[:36].split(6))
    take = lambda: step(next(batches), how, rng)
    take()
    take()
    return take


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_keep_their_contract(name):
    check_sampler(SAMPLERS[name], device="cuda")


@pytest.mark.parametrize("name", EXACT_SAMPLERS)
def test_samplers_state_the_density_of_their_draws(name):
    check_density(EXACT_SAMPLERS[name], device="cuda")


@pytest.mark.parametrize("name", MODELS)
def test_models_keep_their_contract(name):
    check_model(MODELS[name], device="cuda")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_keep_their_contract(name):
    check_loss(LOSSES[name](), device="cuda")


@pytest.mark.parametrize("name", MODELS)
def test_models_say_the_same_as_on_the_processor(name):
    torch.manual_seed(0)
    graph = tiny_graph()
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    here, there = MODELS[name](graph).eval(), MODELS[name](graph.to(GPU)).eval().to(GPU)
    there.load_state_dict(here.state_dict())
    said = here(tiny_queries(graph))(everyone)
    again = there(tiny_queries(graph.to(GPU)))(everyone.to(GPU))
    assert torch.allclose(again.cpu(), said, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in COUNT_ANSWERS])
def test_samplers_do_not_wait(name):
    metrics = without_waiting(prepared(sampler=name))
    assert metrics["loss"].isfinite()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "rules"])
def test_models_do_not_wait(name):
    metrics = without_waiting(prepared(model=name))
    assert metrics["loss"].isfinite()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_do_not_wait(name):
    sampler = "popularity" if LOSSES[name]().needs_answer_log_q else "uniform"
    metrics = without_waiting(prepared(loss=name, sampler=sampler))
    assert metrics["loss"].isfinite()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_do_not_wait(name):
    metrics = without_waiting(prepared(corrupt=CORRUPTIONS[name]))
    assert metrics["loss"].isfinite()


def test_a_generator_for_many_entities_learns(monkeypatch):
    monkeypatch.setattr("sparring.generators.ns_generator.MANY_ENTITIES", 5)
    assert prepared(sampler="generator")()["generator_loss"].isfinite()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_do_not_wait(name):
    metrics = without_waiting(prepared(optimizer=name))
    assert metrics["loss"].isfinite()
