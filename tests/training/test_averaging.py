"""Averaged weights against plain loops and PyTorch's own."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from training.runs import numbers, state, step_of, train, trainer_of

from sparring.models import ComplEx, TuckER
from sparring.testing import tiny_graph
from sparring.training import OPTIMIZERS, FitOptions, checkpoint
from sparring.training.averaging import WeightAverage
from sparring.training.trainer import load_best, model_state

DECAY = 0.8


def trained(optimizer, *, sparse, steps=12, after=lambda average: None):
    """A model, its average, and PyTorch's average of the same steps."""
    graph = tiny_graph(num_entities=30)
    torch.manual_seed(0)
    step = step_of(graph, sparse=sparse)
    updates = OPTIMIZERS[optimizer](step.trainable_parameters(), lr=0.1)
    average = WeightAverage(step.model, updates, DECAY)
    theirs = AveragedModel(step.model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    rng = torch.Generator().manual_seed(0)
    for start in range(steps):
        step(graph.triples[start : start + 2], updates, rng)  # few rows move
        average.update()
        theirs.update_parameters(step.model)
        after(average)
    return step.model, average, theirs.module


def assert_averaged(model, average, theirs):
    with average.in_place():
        for one, other in zip(model.parameters(), theirs.parameters()):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_average_is_that_of_pytorch(optimizer, sparse):
    assert_averaged(*trained(optimizer, sparse=sparse))


@pytest.mark.parametrize("optimizer", ["adagrad", "rowwise-adagrad"])
def test_it_may_be_looked_at_in_between(optimizer):
    def look(average):
        with average.in_place():
            pass

    assert_averaged(*trained(optimizer, sparse=True, after=look))


def test_rows_that_did_not_move_cost_nothing():
    """Where only rows of the gradient move, the others are not touched until they are asked for."""
    model, average, _ = trained("adagrad", sparse=True)
    entity = next(i for i, p in enumerate(average.parameters) if p is model.entity.weight)
    assert (average.current[entity] < average.steps).any()
    model, average, _ = trained("adam", sparse=True)
    assert average.current == [None] * len(average.parameters)


def test_one_step_by_hand():
    parameter = torch.nn.Linear(1, 1, bias=False)
    updates = torch.optim.SGD(parameter.parameters(), lr=1.0)
    average = WeightAverage(parameter, updates, 0.75)
    seen = []
    for value in (4.0, 8.0, 0.0):
        parameter.weight.data.fill_(value)
        average.update()
        with average.in_place():
            seen.append(parameter.weight.item())
        assert parameter.weight.item() == value
    assert seen == [4.0, 5.0, 3.75]


def test_the_model_gets_its_own_weights_back_after_an_error():
    model, average, _ = trained("adam", sparse=False)
    before = numbers(model.state_dict())
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert numbers(model.state_dict()) != before
        raise ZeroDivisionError
    assert numbers(model.state_dict()) == before


def test_without_a_decay_nothing_is_kept():
    model = ComplEx(tiny_graph(), dim=4)
    before = numbers(model.state_dict())
    average = WeightAverage(model, torch.optim.SGD(model.parameters(), lr=1.0), 0.0)
    average.update()
    with average.in_place():
        assert numbers(model.state_dict()) == before
    assert average.state_dict()["averages"] == []


def test_buffers_are_those_of_the_model():
    model = TuckER(tiny_graph(), dim=4)
    average = WeightAverage(model, torch.optim.SGD(model.parameters(), lr=1.0), 0.5)
    average.update()
    model.input_norm.running_mean.fill_(3.0)
    with average.in_place():
        assert model.input_norm.running_mean.eq(3.0).all()


def test_training_is_the_same_with_an_average(tmp_path):
    """Losses and what the sampler draws do not depend on it, but validation does."""
    plain, averaged = trainer_of(tmp_path / "plain"), trainer_of(tmp_path / "averaged", average=0.9)
    losses, validations = {}, {}
    for name, trainer in (("plain", plain), ("averaged", averaged)):
        torch.manual_seed(0)  # dropout
        records = train(trainer)
        losses[name] = [row[3] for row in records if row[0] == "progress"]
        validations[name] = [row[3] for row in records if row[0] == "validation"]
    assert losses["plain"] == losses["averaged"]
    assert validations["plain"] != validations["averaged"]


def test_the_best_epoch_is_saved_as_it_was_validated(tmp_path):
    trainer = trainer_of(tmp_path, average=0.9, validate_every=1)
    own = {}

    def keep(*_):
        own[trainer.progress.step] = trainer.step.model.entity.weight.detach().clone()

    trainer.step.register_forward_hook(keep)
    train(trainer)
    last_own = own[max(own)]
    best = model_state(checkpoint.load(tmp_path, "best"))
    trainer.load_best()
    assert torch.equal(trainer.step.model.entity.weight, best["entity.weight"])
    assert not any(torch.equal(best["entity.weight"], weight) for weight in own.values())
    assert not torch.equal(last_own, best["entity.weight"])


def test_without_validation_the_end_result_is_the_average(tmp_path):
    trainer = trainer_of(tmp_path, average=0.9, validate_every=0)
    theirs = AveragedModel(trainer.step.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    trainer.step.register_forward_hook(lambda *_: theirs.update_parameters(trainer.step.model))
    train(trainer)
    assert trainer.load_best() == 0
    saved = model_state(load_best(tmp_path))
    for name, values in theirs.module.state_dict().items():
        torch.testing.assert_close(saved[name], values)
        torch.testing.assert_close(trainer.step.model.state_dict()[name], values)


def test_an_untrained_model_has_no_average(tmp_path):
    trainer = trainer_of(tmp_path, average=0.9, epochs=0)
    before = state(trainer)["step"]
    train(trainer)
    assert state(trainer)["step"] == before


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_lies_between_0_and_1(decay):
    with pytest.raises(ValueError, match=f"average is at least 0 and below 1; got {decay}"):
        FitOptions(average=decay)
