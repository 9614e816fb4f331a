"""Tables that TorchRec trains, compared with the library's own."""

import sys
from importlib.util import find_spec

import pytest
import torch
from distributed.ranks import made, on_fresh_ranks, on_ranks, small_graph, trainer

from sparring.distributed import world
from sparring.distributed.generator import ShardedGenerator
from sparring.distributed.table import ShardedTable
from sparring.distributed.torchrec import TorchRecTable
from sparring.extras import MissingExtraError
from sparring.optim import OPTIMIZERS
from sparring.option_types import ConfigError

needs_torchrec = pytest.mark.skipif(
    find_spec("torchrec") is None, reason="TorchRec is not installed"
)
KINDS = (ShardedTable, TorchRecTable)


def trained(graph, folder, given, epochs=2, resume=False):
    """Losses of a training, ranks of its validation, and all rows and sums by entity."""
    one = trainer(graph, folder, epochs=epochs, **given)
    if resume:
        one.resume()
        one.progress.finished = False
    losses = [row.values["loss"] for row in one.run() if row.kind == "progress"]
    table = one.step.model.entity
    with torch.no_grad():
        rows = table(torch.arange(table.num_embeddings))
    sums = world.gather_all(one.optimizer.state[table.rows.weight]["sum"])
    return losses, rows, sums, one.progress.best_mrr


def check_same(found, expected):
    assert found[0] == pytest.approx(expected[0][-len(found[0]) :], rel=1e-5)
    for one, other in zip(found[1:3], expected[1:3]):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert found[3] == pytest.approx(expected[3], rel=1e-3)


@needs_torchrec
@pytest.mark.slow
@pytest.mark.parametrize("model", ["complex", "rotate", "transd"])
def test_a_training_is_that_of_sharded_tables_on_one_and_two_ranks(tmp_path, model):
    graph = small_graph()
    (tmp_path / "own").mkdir()
    expected = on_ranks(1, trained, graph, tmp_path / "own", {"model": model})[0]
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        given = {"model": model, "kind": TorchRecTable}
        for found in on_fresh_ranks(ranks, trained, graph, folder, given):
            check_same(found, expected)


@needs_torchrec
@pytest.mark.slow
@pytest.mark.parametrize("kinds", [KINDS[::-1], KINDS, (TorchRecTable, TorchRecTable)])
def test_a_checkpoint_goes_on_with_either_table_and_fewer_ranks(tmp_path, kinds):
    graph = small_graph()
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = on_ranks(1, trained, graph, tmp_path / "whole", {}, 3)[0]
    first, second = ({"kind": kind} for kind in kinds)
    on_fresh_ranks(2, trained, graph, tmp_path / "parts", first, 1)
    check_same(on_fresh_ranks(1, trained, graph, tmp_path / "parts", second, 3, True)[0], whole)


def first_losses(graph, folder, kind):
    one = trainer(graph, folder, epochs=1, sampler=ShardedGenerator, kind=kind)
    return [row.values["loss"] for row in one.run() if row.kind == "progress"][:3]


@needs_torchrec
@pytest.mark.slow
def test_the_generator_draws_alike_for_both_tables(tmp_path):
    graph = small_graph()
    own, other = (on_fresh_ranks(2, first_losses, graph, tmp_path, kind)[0] for kind in KINDS)
    assert own == pytest.approx(other, rel=1e-4)


def moved(folder):
    one = trainer(small_graph(), folder, kind=TorchRecTable)
    table = one.step.model.entity
    before = table.rows.weight.clone()
    used, unused = torch.tensor([3, 3, 7]), torch.tensor([11])
    loss, _ = table(used).sum(), table(unused)
    loss.backward()
    one.optimizer.step()
    one.optimizer.step()
    rows = (table.rows.weight != before).any(1).nonzero().flatten()
    return table.layout.entity(rows).sort().values.tolist(), table.trained.uses


@needs_torchrec
@pytest.mark.slow
def test_a_look_up_that_the_loss_does_not_use_moves_nothing(tmp_path):
    assert on_fresh_ranks(1, moved, tmp_path) == [([3, 7], [])]


def attached(graph, optimizer):
    _, step = made(graph, kind=TorchRecTable)
    table = step.model.entity
    with pytest.raises((ConfigError, MissingExtraError)) as refused:
        table.attach(OPTIMIZERS[optimizer](step.trainable_parameters()))
    return str(refused.value)


def test_another_optimizer_is_refused():
    assert "not TableAdam; choose it, or leave" in on_ranks(1, attached, small_graph(), "adam")[0]


def test_torchrec_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchrec", None)
    assert (
        "needs the package torchrec; run pip"
        in on_ranks(1, attached, small_graph(), "rowwise-adagrad")[0]
    )
