"""What a run is said to take, vs. what it takes; and a run that is refused."""

import pytest
import torch
from distributed.ranks import on_fresh_ranks, small_graph
from distributed.test_opened import tables

from sparring.distributed import forecast as module
from sparring.distributed import world
from sparring.distributed.forecast import forecast
from sparring.distributed.world import LaunchError
from sparring.experiments.config import check_config
from sparring.experiments.sharded import Work, assemble, foreseen, optimizer_of

ENTITIES, FEW = 400, 200  # of the graph, and of the copy that is measured


def config_of(sampler, optimizer):
    given = {**tables(sampler, "complex"), "optimizer": {"name": optimizer, "lr": 0.1}}
    return check_config(given)


def foretold_and_taken(sampler, optimizer):
    config = config_of(sampler, optimizer)
    facts = Work.of(config, small_graph(ENTITIES, triples=1000)).facts
    few, _ = assemble(config, facts.of_few(FEW))
    foretold = forecast(few, optimizer_of(config, few), facts.layout, 5)
    step, _ = assemble(config, facts)
    kept = [optimizer_of(config, step), getattr(step.sampler, "optimizer", None)]
    for one in filter(None, kept):
        for parameter in step.parameters():
            parameter.grad = torch.zeros_like(parameter)
        one.step()
    buffers = [one for name, one in step.named_buffers() if ".known." not in name]  # are facts
    tensors = [*step.parameters(), *buffers]
    tensors += [
        value
        for one in filter(None, kept)
        for state in one.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    index = getattr(step.sampler, "index", None)
    tensors += [index.order, index.key, index.hint] if index else []
    return foretold.tables, sum(one.nbytes for one in tensors)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["uniform", "generator"])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rowwise-adagrad"])
def test_the_bytes_of_all_tensors_are_foretold_from_a_few_entities(sampler, optimizer):
    for foretold, taken in on_fresh_ranks(2, foretold_and_taken, sampler, optimizer):
        assert foretold == pytest.approx(taken, rel=0.01)


def refused():
    module.available_memory = lambda: 1000 if world.rank() else 10**12
    config = config_of("uniform", "adam")
    found = foreseen(config, Work.of(config, small_graph()).facts)
    try:
        found.check_memory(torch.device("cpu"))
    except LaunchError as error:
        return str(error)


@pytest.mark.slow
def test_tables_that_do_not_fit_are_refused_on_all_ranks():
    first, second = on_fresh_ranks(2, refused)
    assert first.startswith("another machine has too little memory")
    assert "in each process, and 1 run here, but 0.00 GB are free; start processes" in second
    assert module.available_memory() > 10**6
