"""When a run ends, and what it leaves behind."""

import math

import pytest
import torch
from golden_runs import fit_of, numbers, state, step_of, train

from sparring.corruption import CorruptBoth
from sparring.losses import Loss, NSSALoss
from sparring.models import DistMult
from sparring.samplers import Uniform
from sparring.seeds import Seeds
from sparring.testing import tiny_graph
from sparring.training import DivergedError, FitOptions, Trainer, TrainingStep, checkpoint
from sparring.training.schedules import Constant


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
    return fit_of(folder, step=TrainingStep(*parts), **options)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    fit = breaking(tmp_path, step=7)
    with pytest.raises(DivergedError, match=r"the loss of step 7 \(epoch 2\) is nan"):
        train(fit)


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
    fit = breaking(tmp_path, step=6, log_every=100)
    fit.step.register_forward_hook(lambda *_: fit.stop() if fit.progress.step == 7 else None)
    with pytest.raises(DivergedError, match="the loss of step 6"):
        train(fit)
    assert checkpoint.load(tmp_path, "last")["progress"]["step"] == 5


@pytest.mark.parametrize("validate_every", [0, 2])
def test_parameters_that_broke_in_the_last_step_are_not_saved(tmp_path, validate_every):
    """The loss of a step is finite although its update is not: the next loss would tell."""
    fit = fit_of(tmp_path, epochs=3, validate_every=validate_every)
    seen = []

    def break_parameters(*_):
        seen.append(1)
        if len(seen) == 10:
            fit.step.model.entity.weight.data.fill_(math.inf)

    fit.step.register_forward_hook(break_parameters)
    with pytest.raises(DivergedError, match=r"after step 10, .*: model\.entity\.weight"):
        train(fit)
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
    return fit_of(folder, validate_every=1, **options)


def test_patience_ends_a_run_that_no_longer_improves(tmp_path, monkeypatch):
    fit = scripted(monkeypatch, tmp_path, 0.1, 0.3, 0.2, 0.3, 0.9, epochs=5, patience=2)
    train(fit)
    assert fit.progress.finished
    assert fit.progress.step == 4 * 5
    assert fit.progress.best_epoch == 2
    assert fit.progress.best_mrr == 0.3


def test_an_improvement_restores_patience(tmp_path, monkeypatch):
    fit = scripted(monkeypatch, tmp_path, 0.1, 0.1, 0.2, 0.1, 0.3, epochs=5, patience=2)
    train(fit)
    assert fit.progress.step == 5 * 5


def test_without_patience_all_epochs_are_run(tmp_path, monkeypatch):
    fit = scripted(monkeypatch, tmp_path, 0.4, 0.3, 0.2, 0.1, epochs=4, patience=0)
    train(fit)
    assert fit.progress.step == 4 * 5


def test_the_best_epoch_is_kept(tmp_path, monkeypatch):
    fit = scripted(monkeypatch, tmp_path, 0.1, 0.3, 0.2, epochs=3)
    kept = []
    for record in fit.run():
        if record.kind == "validation":
            kept.append(numbers(fit.step.state_dict()))
    assert state(fit)["step"] == kept[2]
    assert fit.load_best() == 2
    assert state(fit)["step"] == kept[1]


def test_of_equally_good_epochs_the_first_is_kept(tmp_path, monkeypatch):
    fit = scripted(monkeypatch, tmp_path, 0.3, 0.3, 0.3, epochs=3)
    train(fit)
    assert fit.load_best() == 1


def test_patience_survives_a_restart(tmp_path, monkeypatch):
    train(scripted(monkeypatch, tmp_path, 0.3, 0.2, epochs=6, patience=2), until=11)
    second = scripted(monkeypatch, tmp_path, 0.1, 0.9, epochs=6, patience=2)
    second.resume()
    train(second)
    assert second.progress.step == 3 * 5


def test_a_run_without_validation_has_no_best_epoch(tmp_path):
    fit = fit_of(tmp_path, validate_every=0, epochs=1)
    train(fit)
    assert fit.load_best() == 0


def test_a_graph_without_validation_triples_is_not_validated(tmp_path):
    fit = fit_of(tmp_path, valid=torch.zeros(0, 3, dtype=torch.long), epochs=1)
    assert {kind for kind, *_ in train(fit)} == {"progress"}


def test_the_last_epoch_is_always_validated(tmp_path):
    records = train(fit_of(tmp_path, epochs=3, validate_every=2))
    assert [epoch for kind, epoch, *_ in records if kind == "validation"] == [2.0, 3.0]


def test_validation_leaves_the_run_as_it_was(tmp_path):
    looked = fit_of(tmp_path / "looked")
    train(looked)
    blind = fit_of(tmp_path / "blind", validate_every=0)
    train(blind)
    assert state(looked)["step"] == state(blind)["step"]
    assert looked.step.model.training


def test_checkpoints_come_every_few_epochs_and_at_the_end(tmp_path, monkeypatch):
    fit = fit_of(tmp_path, epochs=5, save_every=2, validate_every=0)
    saved = []
    monkeypatch.setattr(fit, "save", lambda: saved.append(fit.progress.step // 5))
    train(fit)
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


def test_without_an_epoch_a_model_is_judged_as_it_is_made(tmp_path):
    fit = fit_of(tmp_path, epochs=0)
    before = [parameter.clone() for parameter in fit.step.parameters()]
    records = train(fit)
    assert [(kind, epoch, step) for kind, epoch, step, _ in records] == [("validation", 0.0, 0)]
    assert fit.progress.finished
    fit.load_best()
    assert all(torch.equal(a, b) for a, b in zip(before, fit.step.parameters()))
    again = fit_of(tmp_path, epochs=0)
    again.resume()
    assert train(again) == []
