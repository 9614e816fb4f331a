"""A run that is stopped and resumed ends bit for bit where an unbroken run ends."""

import os
import signal

import pytest
import torch
from golden_runs import VALID, fit_of, state, told, train

from sparring.testing import tiny_graph
from sparring.training import OPTIMIZERS, CheckpointError


def resumed(folder, **options):
    """New objects, differently initialised, that go on from the checkpoint."""
    fit = fit_of(folder, init=1, **options)
    torch.manual_seed(99)
    fit.resume()
    return fit


@pytest.mark.parametrize("stop", [3, 5, 12])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, optimizer, stop):
    """With dropout, a learned temperature, a schedule and a choice of sides; 5 steps an epoch."""
    unbroken = fit_of(tmp_path / "unbroken", optimizer=optimizer)
    records = train(unbroken)

    first = fit_of(tmp_path / "broken", optimizer=optimizer)
    before = train(first, until=stop)
    second = resumed(tmp_path / "broken", optimizer=optimizer)
    after = train(second)

    assert before + after == records
    assert state(second) == state(unbroken)


def test_a_killed_run_goes_on_from_its_last_epoch(tmp_path):
    unbroken = fit_of(tmp_path / "unbroken")
    records = train(unbroken)

    killed = fit_of(tmp_path / "killed")
    for record in killed.run():
        if record.step == 13:  # in the third epoch; nothing gets to be saved
            break
    second = resumed(tmp_path / "killed")
    assert second.progress.step == 10
    assert train(second) == [record for record in records if record[2] > 10]
    assert state(second) == state(unbroken)


def test_a_run_may_be_stopped_again_and_again(tmp_path):
    unbroken = fit_of(tmp_path / "unbroken")
    records = train(unbroken)
    seen = train(fit_of(tmp_path / "broken"), until=2)
    for stop in (4, 7, 11):
        seen += train(resumed(tmp_path / "broken"), until=stop)
    last = resumed(tmp_path / "broken")
    assert seen + train(last) == records
    assert state(last) == state(unbroken)


def test_a_run_stopped_between_reports_checks_and_keeps_every_step(tmp_path):
    unbroken = fit_of(tmp_path / "unbroken", log_every=4)
    records = train(unbroken)
    first = fit_of(tmp_path / "broken", log_every=4)
    first.step.register_forward_hook(lambda *_: first.stop() if first.progress.step == 6 else None)
    train(first)
    second = resumed(tmp_path / "broken", log_every=4)
    assert second.progress.step == 7
    assert train(second)[1:] == [record for record in records if record[2] > 8]
    assert state(second) == state(unbroken)


def test_a_signal_stops_a_run_and_leaves_a_checkpoint(tmp_path):
    fit = fit_of(tmp_path)
    usual = signal.signal(signal.SIGTERM, lambda *_: fit.stop())
    try:
        records = []
        for record in fit.run():
            records.append(record)
            if record.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert [record.step for record in records] == [1, 2, 3, 3]
    assert records[-1].kind == "end"
    assert records[-1].values == {"stopped": 1.0}
    assert resumed(tmp_path).progress.step == 3


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path):
    train(fit_of(tmp_path))
    second = resumed(tmp_path)
    before = state(second)
    assert train(second) == []
    assert state(second) == before


def test_the_seed_alone_decides(tmp_path):
    one = fit_of(tmp_path / "one")
    records = train(one)
    two = fit_of(tmp_path / "two")
    assert train(two) == records
    assert state(two) == state(one)


def test_another_batch_size_is_refused(tmp_path):
    train(fit_of(tmp_path), until=1)
    with pytest.raises(CheckpointError, match="was trained with batch_size = 8, not 9"):
        resumed(tmp_path, batch_size=9)


def test_another_graph_is_refused(tmp_path):
    train(fit_of(tmp_path), until=1)
    fit = fit_of(tmp_path)
    fit.triples = fit.triples[1:]
    with pytest.raises(
        CheckpointError, match=f"trained with triples = {len(tiny_graph().triples)}"
    ):
        fit.resume()


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        fit_of(tmp_path).resume()


def test_every_triple_comes_by_once_an_epoch(tmp_path):
    """But for the first few, which fill up the last batch."""
    fit = fit_of(tmp_path)
    order = fit._epoch_order(0)
    total = len(tiny_graph().triples)
    assert len(order) == 5 * 8
    assert order[:total].sort().values.tolist() == list(range(total))
    assert torch.equal(order[total:], order[: len(order) - total])


def test_every_epoch_has_an_order_of_its_own(tmp_path):
    fit = fit_of(tmp_path)
    assert not torch.equal(fit._epoch_order(0), fit._epoch_order(1))
    assert torch.equal(fit._epoch_order(1), fit_of(tmp_path, init=1)._epoch_order(1))


def test_records_say_where_the_run_stands(tmp_path):
    records = told(fit_of(tmp_path, epochs=2, log_every=3).run())
    where = [(kind, epoch, step) for kind, epoch, step, _ in records]
    assert where == [
        ("progress", 0.6, 3),
        ("progress", 1.0, 5),
        ("progress", 1.2, 6),
        ("progress", 1.8, 9),
        ("progress", 2.0, 10),
        ("validation", 2.0, 10),
    ]


def test_records_are_means_over_the_steps_since_the_last(tmp_path):
    every = train(fit_of(tmp_path / "every", epochs=1, validate_every=0))
    rare = train(fit_of(tmp_path / "rare", epochs=1, validate_every=0, log_every=3))
    losses = [values["loss"] for _, _, _, values in every]
    assert rare[0][3]["loss"] == pytest.approx(sum(losses[:3]) / 3)
    assert rare[1][3]["loss"] == pytest.approx(sum(losses[3:]) / 2)


def test_the_subset_for_validation_is_drawn_once(tmp_path):
    one = fit_of(tmp_path, validate_on=2)
    two = fit_of(tmp_path, init=1, validate_on=2)
    assert len(one.valid) == 2
    assert torch.equal(one.valid, two.valid)
    assert torch.equal(fit_of(tmp_path, validate_on=9).valid, VALID)
