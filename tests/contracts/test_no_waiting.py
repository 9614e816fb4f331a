"""A training step never waits for an accelerator: it reads no value and needs no size from it.

Operations whose result has a size that depends on values make the processor wait, and so does
looking at a value. They are caught by name while a step runs on the processor, which needs no
accelerator. Not caught, since harmless: what optimisers do with their own step counters, which
stay on the processor.
"""

import pytest
import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from zoo import CORRUPTIONS, COUNT_ANSWERS, LOSSES, MODELS, SAMPLERS, step_of

from sparring import kernels
from sparring.testing import tiny_graph
from sparring.training import RowwiseAdagrad

VALUES = {"_local_scalar_dense", "equal", "is_nonzero"}
SIZES = {
    "_unique2",
    "bincount",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
WAITS = {name: {"repeat_interleave"} for name in COUNT_ANSWERS}
# how many walks rules take is not known before they are taken
WALKS = {*VALUES, *SIZES, "tolist", "index by mask"}
MODELS_WAIT = {"rules": WALKS}


class Watch(TorchDispatchMode):
    """Notes operations that make the processor wait."""

    def __init__(self):
        super().__init__()
        self.seen, self.asleep = set(), False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if not self.asleep:
            if name in VALUES | SIZES:
                self.seen.add(name)
            if name in ("index", "index_put", "index_put_") and self.by_mask(args[1]):
                self.seen.add(f"{name} by mask")
        return func(*args, **(kwargs or {}))

    @staticmethod
    def by_mask(indices):
        return any(index is not None and index.dtype == torch.bool for index in indices)


@pytest.fixture
def watch(monkeypatch):
    """A watch that shuts its eyes inside optimisers, while nothing may wait."""
    watch = Watch()
    for name in ("tolist", "numpy", "cpu", "__array__"):
        plain = getattr(torch.Tensor, name)

        def caught(self, *args, name=name, plain=plain, **options):
            watch.seen.add(name)
            return plain(self, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, caught)
    close = register_optimizer_step_pre_hook(lambda *_: setattr(watch, "asleep", True))
    open_ = register_optimizer_step_post_hook(lambda *_: setattr(watch, "asleep", False))
    with kernels.disabled():
        yield watch
    close.remove()
    open_.remove()


def seen_in_a_step(watch, **parts):
    graph = tiny_graph()
    step = step_of(graph, **parts)
    optimizer = torch.optim.SGD(step.trainable_parameters(), 0.1)
    rng = torch.Generator().manual_seed(0)
    step(graph.triples[:6], optimizer, rng)  # what is made once may wait
    watch.seen.clear()
    with watch:
        step(graph.triples[6:12], optimizer, rng)
    return watch.seen


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_do_not_wait(watch, sampler):
    assert seen_in_a_step(watch, sampler=sampler) == WAITS.get(sampler, set())


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_do_not_wait(watch, loss):
    assert not seen_in_a_step(watch, loss=loss)


@pytest.mark.parametrize("model", MODELS)
def test_models_do_not_wait(watch, model):
    assert seen_in_a_step(watch, model=model) <= MODELS_WAIT.get(model, set())


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corruptions_do_not_wait(watch, corruption):
    assert not seen_in_a_step(watch, corrupt=CORRUPTIONS[corruption])


def test_rowwise_adagrad_does_not_wait(watch):
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    parameter.grad = torch.ones(3, 2)
    optimizer = RowwiseAdagrad([parameter])
    with watch, torch.no_grad():
        optimizer._update(parameter, parameter.grad, 0.1, 1e-8)
    assert not watch.seen


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: int(x[0]),
        lambda x: x[x > 0],
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: torch.where(x > 0),
        lambda x: x.unique(),
    ],
    ids=["item", "bool", "int", "mask", "tolist", "cpu", "where", "unique"],
)
def test_the_watch_notices_waiting(watch, look):
    with watch:
        look(torch.ones(3))
    assert watch.seen
