"""When a run ends, what it leaves behind, and how it continues bit for bit."""

import math
import os
import signal
from functools import partial

import pytest
import torch
from training.runs import VALID, assert_resumes, logged, numbers, state, step_of, train, trainer_of

from sparring.corruption import CorruptBoth
from sparring.losses import Loss, NSSALoss
from sparring.models import DistMult
from sparring.registry import ConfigError
from sparring.samplers import Uniform
from sparring.seeds import Seeds
from sparring.testing import tiny_graph
from sparring.training import (
    OPTIMIZERS,
    CheckpointError,
    DivergedError,
    FitOptions,
    Trainer,
    TrainingStep,
    checkpoint,
)
from sparring.training.schedules import Constant, Plateau
from sparring.training.trainer import load_best


def resumed(folder, **options):
    """New objects, differently initialised, that go on from the checkpoint."""
    trainer = trainer_of(folder, init=1, **options)
    torch.manual_seed(99)
    trainer.resume()
    return trainer


@pytest.mark.parametrize("stop", [3, 5, 12])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, optimizer, stop):
    """With dropout, a learned temperature, a schedule and a choice of sides; 5 steps an epoch."""
    assert_resumes(partial(trainer_of, optimizer=optimizer), tmp_path, stop)


@pytest.mark.parametrize("stop", [3, 5, 12])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_a_stopped_run_with_averaged_weights_goes_on_bit_for_bit(tmp_path, optimizer, sparse, stop):
    make = partial(trainer_of, optimizer=optimizer, sparse=sparse, average=0.9)
    assert_resumes(make, tmp_path, stop)


@pytest.mark.parametrize("stop", [3, 12, 17])
def test_a_stopped_run_knows_how_far_its_rate_was_reduced(tmp_path, stop):
    optimizers = {}

    def make(folder, **options):
        schedule = Plateau(patience=0, threshold=1.0)
        trainer = trainer_of(folder, schedule=schedule, validate_every=1, **options)
        optimizers[folder.name] = trainer.optimizer
        return trainer

    assert_resumes(make, tmp_path, stop)
    rate, unbroken = (optimizers[name].param_groups[0]["lr"] for name in ("broken", "unbroken"))
    assert rate == unbroken < 0.05


def test_a_plateau_without_validations_is_refused(tmp_path):
    for options in ({"validate_every": 0}, {"valid": VALID[:0]}):
        with pytest.raises(ConfigError, match="Plateau follows the validation MRR, but nothing is"):
            trainer_of(tmp_path, schedule=Plateau(), **options)


def test_a_killed_run_goes_on_from_its_last_epoch(tmp_path):
    unbroken = trainer_of(tmp_path / "unbroken")
    records = train(unbroken)

    killed = trainer_of(tmp_path / "killed")
    for record in killed.run():
        if record.step == 13:  # in the third epoch; nothing gets to be saved
            break
    second = resumed(tmp_path / "killed")
    assert second.progress.step == 10
    assert train(second) == [record for record in records if record[2] > 10]
    assert state(second) == state(unbroken)


def test_a_run_may_be_stopped_again_and_again(tmp_path):
    unbroken = trainer_of(tmp_path / "unbroken")
    records = train(unbroken)
    seen = train(trainer_of(tmp_path / "broken"), until=2)
    for stop in (4, 7, 11):
        seen += train(resumed(tmp_path / "broken"), until=stop)
    last = resumed(tmp_path / "broken")
    assert seen + train(last) == records
    assert state(last) == state(unbroken)


def test_a_run_that_is_stopped_in_its_last_step_has_finished(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.step.register_forward_hook(lambda *_: trainer.stop())
    trainer.progress.step = trainer.steps - 1
    *_, end = trainer.run()
    assert trainer.progress.finished and end.values == {"stopped": 0.0}


def test_a_run_stopped_between_reports_checks_and_keeps_every_step(tmp_path):
    unbroken = trainer_of(tmp_path / "unbroken", log_every=4)
    records = train(unbroken)
    first = trainer_of(tmp_path / "broken", log_every=4)
    first.step.register_forward_hook(lambda *_: first.stop() if first.progress.step == 6 else None)
    train(first)
    second = resumed(tmp_path / "broken", log_every=4)
    assert second.progress.step == 7
    assert train(second)[1:] == [record for record in records if record[2] > 8]
    assert state(second) == state(unbroken)


def test_a_signal_stops_a_run_and_leaves_a_checkpoint(tmp_path):
    trainer = trainer_of(tmp_path)
    usual = signal.signal(signal.SIGTERM, lambda *_: trainer.stop())
    try:
        records = []
        for record in trainer.run():
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
    train(trainer_of(tmp_path))
    second = resumed(tmp_path)
    before = state(second)
    assert train(second) == []
    assert state(second) == before


def test_the_seed_alone_decides(tmp_path):
    one = trainer_of(tmp_path / "one")
    records = train(one)
    two = trainer_of(tmp_path / "two")
    assert train(two) == records
    assert state(two) == state(one)


def test_another_batch_size_is_refused(tmp_path):
    train(trainer_of(tmp_path), until=1)
    with pytest.raises(CheckpointError, match="was trained with batch_size = 8, not 9"):
        resumed(tmp_path, batch_size=9)


def test_another_graph_is_refused(tmp_path):
    train(trainer_of(tmp_path), until=1)
    trainer = trainer_of(tmp_path)
    trainer.triples = trainer.triples[1:]
    with pytest.raises(
        CheckpointError, match=f"trained with triples = {len(tiny_graph().triples)}"
    ):
        trainer.resume()


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        trainer_of(tmp_path).resume()


def test_every_triple_comes_by_once_an_epoch(tmp_path):
    """But for the first few, which fill up the last batch."""
    trainer = trainer_of(tmp_path)
    order = trainer._epoch_order(0)
    total = len(tiny_graph().triples)
    assert len(order) == 5 * 8
    assert order[:total].sort().values.tolist() == list(range(total))
    assert torch.equal(order[total:], order[: len(order) - total])


def test_every_epoch_has_an_order_of_its_own(tmp_path):
    trainer = trainer_of(tmp_path)
    assert not torch.equal(trainer._epoch_order(0), trainer._epoch_order(1))
    assert torch.equal(trainer._epoch_order(1), trainer_of(tmp_path, init=1)._epoch_order(1))


def test_records_say_where_the_run_stands(tmp_path):
    records = logged(trainer_of(tmp_path, epochs=2, log_every=3).run())
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
    every = train(trainer_of(tmp_path / "every", epochs=1, validate_every=0))
    rare = train(trainer_of(tmp_path / "rare", epochs=1, validate_every=0, log_every=3))
    losses = [values["loss"] for _, _, _, values in every]
    assert rare[0][3]["loss"] == pytest.approx(sum(losses[:3]) / 3)
    assert rare[1][3]["loss"] == pytest.approx(sum(losses[3:]) / 2)


def test_the_subset_for_validation_is_drawn_once(tmp_path):
    one = trainer_of(tmp_path, validate_on=2)
    two = trainer_of(tmp_path, init=1, validate_on=2)
    assert len(one.valid) == 2
    assert torch.equal(one.valid, two.valid)
    assert torch.equal(trainer_of(tmp_path, validate_on=9).valid, VALID)


class BreaksAt(Loss):
    """A loss that is NaN from one step on."""

    def __init__(self, step):
        super().__init__()
        self.inner, self.step, self.seen = (
            NSSALoss(margin=0.0, adversarial_temperature=0.0),
            step,
            0,
        )

    def forward(self, positive, negative, negatives, weight):
        self.seen += 1
        broken = math.nan if self.seen >= self.step else 1.0
        return broken * self.inner(positive, negative, negatives, weight)


def breaking(folder, step, **options):
    graph = tiny_graph()
    parts = DistMult(graph, dim=4), Uniform(graph, k=3), BreaksAt(step), CorruptBoth(graph)
    return trainer_of(folder, step=TrainingStep(*parts), **options)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    trainer = breaking(tmp_path, step=7)
    with pytest.raises(DivergedError, match=r"the loss of step 7 \(epoch 2\) is nan"):
        train(trainer)


def test_the_error_names_the_first_bad_step_even_if_nobody_looked(tmp_path):
    with pytest.raises(DivergedError, match=r"the loss of step 7 \(epoch 2\) is nan"):
        train(breaking(tmp_path, step=7, log_every=100))


def test_the_error_names_the_parameters_that_broke(tmp_path):
    with pytest.raises(DivergedError, match=r"no longer finite: model\.entity\.weight, model\.rel"):
        train(breaking(tmp_path, step=7))


def test_a_diverged_run_leaves_its_last_good_checkpoint(tmp_path):
    with pytest.raises(DivergedError, match="The last good checkpoint is in"):
        train(breaking(tmp_path, step=7))
    good = breaking(tmp_path, step=100)
    good.resume()
    assert good.progress.step == 5
    assert all(parameter.isfinite().all() for parameter in good.step.parameters())


def test_a_run_asked_to_stop_does_not_save_what_has_diverged(tmp_path):
    trainer = breaking(tmp_path, step=6, log_every=100)
    trainer.step.register_forward_hook(
        lambda *_: trainer.stop() if trainer.progress.step == 7 else None
    )
    with pytest.raises(DivergedError, match="the loss of step 6"):
        train(trainer)
    assert checkpoint.load(tmp_path, "last")["progress"]["step"] == 5


@pytest.mark.parametrize("validate_every", [0, 2])
def test_parameters_that_broke_in_the_last_step_are_not_saved(tmp_path, validate_every):
    """The loss of a step is finite although its update is not: the next loss would tell."""
    trainer = trainer_of(tmp_path, epochs=3, validate_every=validate_every)
    seen = []

    def break_parameters(*_):
        seen.append(1)
        if len(seen) == 10:
            trainer.step.model.entity.weight.data.fill_(math.inf)

    trainer.step.register_forward_hook(break_parameters)
    with pytest.raises(DivergedError, match=r"after step 10, .*: model\.entity\.weight"):
        train(trainer)
    assert checkpoint.load(tmp_path, "last")["progress"]["step"] == 5


class Scripted:
    """Validation results written in advance."""

    def __init__(self, *mrr):
        self.left = list(mrr)

    def __call__(self, *_, **__):
        return self

    def mrr(self):
        return self.left.pop(0)

    def hits(self, k):
        return 0.0

    def mr(self):
        return 0.0


def scripted(monkeypatch, folder, *mrr, **options):
    monkeypatch.setattr("sparring.training.trainer.evaluate", Scripted(*mrr))
    return trainer_of(folder, validate_every=1, **options)


def test_patience_ends_a_run_that_no_longer_improves(tmp_path, monkeypatch):
    trainer = scripted(monkeypatch, tmp_path, 0.1, 0.3, 0.2, 0.3, 0.9, epochs=5, patience=2)
    train(trainer)
    assert trainer.progress.finished
    assert trainer.progress.step == 4 * 5
    assert trainer.progress.best_epoch == 2
    assert trainer.progress.best_mrr == 0.3


def test_an_improvement_restores_patience(tmp_path, monkeypatch):
    trainer = scripted(monkeypatch, tmp_path, 0.1, 0.1, 0.2, 0.1, 0.3, epochs=5, patience=2)
    train(trainer)
    assert trainer.progress.step == 5 * 5


def test_without_patience_all_epochs_are_run(tmp_path, monkeypatch):
    trainer = scripted(monkeypatch, tmp_path, 0.4, 0.3, 0.2, 0.1, epochs=4, patience=0)
    train(trainer)
    assert trainer.progress.step == 4 * 5


def test_the_best_epoch_is_kept(tmp_path, monkeypatch):
    trainer = scripted(monkeypatch, tmp_path, 0.1, 0.3, 0.2, epochs=3)
    kept = []
    for record in trainer.run():
        if record.kind == "validation":
            kept.append(numbers(trainer.step.state_dict()))
    assert state(trainer)["step"] == kept[2]
    assert trainer.load_best() == 2
    assert state(trainer)["step"] == kept[1]


def missing(folder):
    (folder / "best.json").unlink()


def without_tensors(folder):
    next(folder.glob("best.*.safetensors")).unlink()


def damaged(folder):
    path = next(folder.glob("best.*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])


def of_another_epoch(folder):
    state = checkpoint.load(folder, "best")
    checkpoint.save(folder, "best", {**state, "epoch": 1})


def of_another_run(folder):
    state = checkpoint.load(folder, "best")
    train(trainer_of(folder / "other", lr=0.01))
    other = checkpoint.load(folder / "other", "best")
    checkpoint.save(folder, "best", {**other, "epoch": state["epoch"]})


@pytest.mark.parametrize("stop", [12, None])
@pytest.mark.parametrize(
    "lose", [missing, without_tensors, damaged, of_another_epoch, of_another_run]
)
def test_the_last_epoch_does_not_take_the_place_of_the_best(tmp_path, lose, stop):
    train(trainer_of(tmp_path), until=stop)
    lose(tmp_path)
    remedy = r"best\..* restore it from a copy, or train again in another folder"
    with pytest.raises(CheckpointError, match=remedy):
        resumed(tmp_path)
    with pytest.raises(CheckpointError, match=remedy):
        load_best(tmp_path)


def test_the_best_epoch_may_be_ahead_of_the_last_checkpoint(tmp_path, monkeypatch):
    """Killed after it was found, before the next regular checkpoint; training finds it again."""
    options = {"epochs": 5, "save_every": 3}
    killed = scripted(monkeypatch, tmp_path, 0.2, 0.1, 0.1, 0.3, **options)
    for record in killed.run():
        if record.kind == "validation" and record.step == 20:
            break
    assert load_best(tmp_path)["epoch"] == 4
    second = scripted(monkeypatch, tmp_path, 0.3, 0.1, init=1, **options)
    second.resume()
    assert (second.progress.step, second.progress.best_epoch) == (15, 1)
    train(second)
    assert second.load_best() == 4


def test_a_checkpoint_of_another_model_is_refused_in_one_line(tmp_path):
    train(trainer_of(tmp_path))
    other = TrainingStep(
        DistMult(tiny_graph(), dim=4),
        *(getattr(step_of(tiny_graph()), name) for name in ("sampler", "loss", "corruption")),
    )
    with pytest.raises(CheckpointError, match=r"does not fit the model and its options: [^\n]*$"):
        trainer_of(tmp_path, step=other).resume()


def test_of_equally_good_epochs_the_first_is_kept(tmp_path, monkeypatch):
    trainer = scripted(monkeypatch, tmp_path, 0.3, 0.3, 0.3, epochs=3)
    train(trainer)
    assert trainer.load_best() == 1


def test_patience_survives_a_restart(tmp_path, monkeypatch):
    train(scripted(monkeypatch, tmp_path, 0.3, 0.2, epochs=6, patience=2), until=11)
    second = scripted(monkeypatch, tmp_path, 0.1, 0.9, epochs=6, patience=2)
    second.resume()
    train(second)
    assert second.progress.step == 3 * 5


def test_a_run_without_validation_has_no_best_epoch(tmp_path):
    trainer = trainer_of(tmp_path, validate_every=0, epochs=1)
    train(trainer)
    assert trainer.load_best() == 0


def test_a_graph_without_validation_triples_is_not_validated(tmp_path):
    trainer = trainer_of(tmp_path, valid=torch.zeros(0, 3, dtype=torch.long), epochs=1)
    assert {kind for kind, *_ in train(trainer)} == {"progress"}


def test_the_last_epoch_is_always_validated(tmp_path):
    records = train(trainer_of(tmp_path, epochs=3, validate_every=2))
    assert [epoch for kind, epoch, *_ in records if kind == "validation"] == [2.0, 3.0]


def test_validation_leaves_the_run_as_it_was(tmp_path):
    looked = trainer_of(tmp_path / "looked")
    train(looked)
    blind = trainer_of(tmp_path / "blind", validate_every=0)
    train(blind)
    assert state(looked)["step"] == state(blind)["step"]
    assert looked.step.model.training


def test_checkpoints_come_every_few_epochs_and_at_the_end(tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path, epochs=5, save_every=2, validate_every=0)
    saved = []
    monkeypatch.setattr(trainer, "save", lambda: saved.append(trainer.progress.step // 5))
    train(trainer)
    assert saved == [2, 4, 5]


def test_there_must_be_something_to_train_on(tmp_path):
    graph = tiny_graph()
    step = step_of(graph)
    none = graph.triples[:0]
    with pytest.raises(ValueError, match="there are no training triples"):
        Trainer(
            step,
            torch.optim.SGD(step.trainable_parameters(), 0.1),
            Constant(),
            Seeds(0),
            FitOptions(),
            triples=none,
            valid=none,
            known=graph.known,
            folder=tmp_path,
        )


@pytest.mark.parametrize("name", ["batch_size", "save_every", "log_every", "max_scores"])
def test_there_is_at_least_one_of_it(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        FitOptions(**{name: 0})


@pytest.mark.parametrize("name", ["epochs", "validate_every", "validate_on", "patience"])
def test_there_may_be_none_of_it(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative; got -1"):
        FitOptions(**{name: -1})


def test_without_an_epoch_an_untrained_model_is_validated(tmp_path):
    trainer = trainer_of(tmp_path, epochs=0)
    before = [parameter.clone() for parameter in trainer.step.parameters()]
    records = train(trainer)
    assert [(kind, epoch, step) for kind, epoch, step, _ in records] == [("validation", 0.0, 0)]
    assert trainer.progress.finished
    trainer.load_best()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.step.parameters()))
    again = trainer_of(tmp_path, epochs=0)
    again.resume()
    assert train(again) == []


class TestMinutes:
    """A limit of processor time for training and validation."""

    def test_training_ends_within_an_epoch_and_keeps_the_best(self, tmp_path):
        trainer = trainer_of(tmp_path, minutes=1e-9)
        records = train(trainer)
        assert [kind for kind, *_ in records] == ["progress", "validation"]
        assert trainer.progress.step == 1 < trainer.steps_per_epoch
        assert trainer.progress.finished and trainer.share_done == 1
        assert trainer.load_best() == trainer.progress.best_epoch == 1
        again = resumed(tmp_path, minutes=1e-9)
        assert train(again) == []

    def test_a_limit_that_is_not_reached_changes_nothing(self, tmp_path):
        free = trainer_of(tmp_path / "free")
        records = train(free)
        limited = trainer_of(tmp_path / "limited", minutes=1e6)
        assert train(limited) == records
        assert state(free) == state(limited)

    def test_the_schedule_follows_the_time(self, tmp_path):
        trainer = trainer_of(tmp_path, minutes=1.0, lr=1.0)
        trainer.progress.cpu_seconds, trainer.progress.validation_seconds = 15.0, 30.0
        trainer._set_learning_rates()
        assert trainer.share_done == 0.75
        expected = (1 + math.cos(0.75 * math.pi)) / 2
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(expected)

    def test_the_last_validation_is_within_the_limit(self, tmp_path):
        trainer = trainer_of(tmp_path, minutes=1.0)
        assert not trainer._out_of_time()
        trainer.progress.cpu_seconds, trainer.progress.validation_seconds = 45.0, 10.0
        trainer.progress.validations = [{}, {}]
        assert trainer._out_of_time()  # 55 of 60 seconds, and a validation takes 5

    @pytest.mark.parametrize("minutes", [-1.0, math.nan])
    def test_a_senseless_limit_is_refused(self, minutes):
        with pytest.raises(ValueError, match="minutes"):
            FitOptions(minutes=minutes)


def test_a_checkpoint_of_something_else_is_refused_in_one_line(tmp_path):
    checkpoint.save(tmp_path, "best", [1, 2])
    with pytest.raises(CheckpointError, match=r"best\.json holds no state of a training; [^\n]*$"):
        load_best(tmp_path)
