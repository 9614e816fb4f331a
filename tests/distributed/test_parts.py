"""Who owns what, what is refused, and checkpoints that are damaged."""

from contextlib import suppress

import pytest
import torch
from distributed.ranks import made, on_ranks, small_graph, trainer

from sparring.distributed import checkpoint
from sparring.distributed.facts import Facts, PartialGraphError
from sparring.distributed.launch import check_workers, with_virtual_workers, without_option
from sparring.distributed.layout import Layout
from sparring.distributed.step import PerWorkerSampler, UnsupportedPartError, refuse_unsupported
from sparring.distributed.table import WholeTableError
from sparring.distributed.world import LaunchError, on_first_rank
from sparring.models import MODELS
from sparring.samplers import SAMPLERS
from sparring.training import CheckpointError


def owned(graph):
    layout = Layout(len(graph.entities), len(graph.relations), 4)
    facts = Facts.of(graph, layout)
    ids = torch.arange(layout.num_entities)
    assert torch.equal(layout.entity(layout.row(ids)), ids)
    assert len(layout.row(ids).unique()) == len(ids)
    entities = torch.cat([layout.entities_of(worker) for worker in layout.own])
    rank = layout.rank_of_row(layout.row(entities))
    assert rank.eq(rank[0]).all()
    return facts.queries, entities, facts.weights()


def test_ranks_own_every_query_and_every_entity_once():
    graph = small_graph()
    parts = on_ranks(2, owned, graph)
    queries = torch.cat([part[0] for part in parts])
    head, relation, tail = graph.train.unbind(1)
    inverse = torch.stack([tail, relation + len(graph.relations), head], 1)
    both = torch.cat([graph.train, inverse])
    order = lambda rows: rows[((rows[:, 0] * 99 + rows[:, 1]) * 99 + rows[:, 2]).argsort()]
    assert torch.equal(order(queries), order(both))
    entities = torch.cat([part[1] for part in parts])
    assert torch.equal(entities.sort().values, torch.arange(len(graph.entities)))
    weights = torch.cat([part[2] for part in parts])
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))


def refused(graph):
    layout = Layout(len(graph.entities), len(graph.relations), 4)
    partial = Facts.of(graph, layout).graph()
    with pytest.raises(LaunchError, match="from 1 to the number of entities"):
        Layout(3, 2, 4)
    with pytest.raises(LaunchError, match="cannot share 5 virtual workers"):
        Layout(99, 2, 5)
    with pytest.raises(PartialGraphError, match="no rank holds all"):
        _ = partial.triples
    for name in ("kbgan", "dynamic-negatives"):
        with pytest.raises(UnsupportedPartError, match="works in one process"):
            PerWorkerSampler(SAMPLERS.example(name, graph=graph.training), layout.own)
    with pytest.raises(UnsupportedPartError, match="Dropout"):
        made(graph, dropout=0.1)[1].model.apply(refuse)
    with pytest.raises(UnsupportedPartError, match="no table"):
        refuse_unsupported(MODELS["complex"](graph.training, dim=8))
    _, step = made(graph)
    with pytest.raises(WholeTableError, match="no weight of all rows"):
        _ = step.model.entity.weight
    return True


def refuse(module):
    if hasattr(module, "entity"):
        refuse_unsupported(module)


def test_what_cannot_be_sharded_is_refused():
    assert all(on_ranks(2, refused, small_graph()))


def failing():
    try:
        on_first_rank(lambda: 1 / 0)
    except (ZeroDivisionError, LaunchError) as error:
        return f"{type(error).__name__}: {error}"


def test_an_error_on_the_first_rank_reaches_all():
    first, second = on_ranks(2, failing)
    assert first.startswith("ZeroDivisionError")
    assert second == "FirstProcessError: process 0 has failed: ZeroDivisionError: division by zero"


def saved(graph, folder):
    one = trainer(graph, folder)
    one.save()
    one.save()


def loaded(graph, folder):
    try:
        trainer(graph, folder).resume()
    except CheckpointError as error:
        return str(error)


def test_a_checkpoint_beyond_memory_is_not_read_in_one_process(tmp_path, monkeypatch):
    on_ranks(1, saved, small_graph(), tmp_path)
    with_optimizer = checkpoint.load_whole(tmp_path, "last")
    assert checkpoint.load_whole(tmp_path, "last", leave_out=["optimizer"]).keys() == (
        with_optimizer.keys() - {"optimizer"}
    )
    monkeypatch.setattr(checkpoint, "available_memory", lambda: 100)
    with pytest.raises(CheckpointError, match=r"GB in one process, but 0\.00 GB are free; use"):
        checkpoint.load_whole(tmp_path, "last")


def interrupted(graph, folder):
    """A checkpoint, and a crash after the tensors of the next one were written."""
    one = trainer(graph, folder)
    one.save()
    rows = one.step.model.entity.rows.weight
    before = rows.detach().clone()
    with torch.no_grad():
        rows.add_(1)
    write, checkpoint.write_object = checkpoint.write_object, lambda *_: 1 / 0
    with suppress(ZeroDivisionError):
        one.save()
    checkpoint.write_object = write
    other = trainer(graph, folder)
    other.resume()
    return torch.equal(other.step.model.entity.rows.weight, before)


def test_a_crash_between_two_checkpoints_leaves_the_former_one(tmp_path):
    assert on_ranks(1, interrupted, small_graph(), tmp_path) == [True]


def test_a_damaged_checkpoint_is_named(tmp_path):
    graph = small_graph()
    on_ranks(1, saved, graph, tmp_path)
    (place,) = (tmp_path / "sharded").iterdir()
    assert place.name == "last-1"
    assert on_ranks(1, loaded, graph, tmp_path) == [None]
    content = (place / ".metadata").read_bytes()
    (place / ".metadata").write_bytes(content[:50])
    assert "is damaged" in on_ranks(1, loaded, graph, tmp_path)[0]
    (place / ".metadata").unlink()
    assert "is missing" in on_ranks(1, loaded, graph, tmp_path)[0]
    other = small_graph(entities=40)
    assert "of entities = 61, not" in on_ranks(1, loaded, other, tmp_path)[0]
    (tmp_path / "sharded-last.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has format None"):
        checkpoint.outline(tmp_path, "last")


def test_words_of_a_launch():
    words = ["fit", "atlas", "--workers", "4", "--epochs=2", "--workers=3"]
    assert without_option(words, "--workers") == ["fit", "atlas", "--epochs=2"]
    assert with_virtual_workers(["seed=1"]) == ["seed=1", "distributed.virtual_workers=64"]
    assert with_virtual_workers(["distributed.virtual_workers = 8"])[1:] == []
    check_workers(["distributed.virtual_workers = 6"], 3)
    with pytest.raises(ValueError, match="3 processes cannot share 64 virtual workers evenly"):
        check_workers(["seed=1"], 3)
