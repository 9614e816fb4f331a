"""One update step of models, samplers and losses in many combinations, and what a step promises."""

import itertools
import random
from functools import cache

import pytest
import torch
from zoo import CORRUPTIONS, LOSSES, MODELS, OPTIMIZERS, SAMPLERS, SCHEDULES

from sparring.corruption import CorruptBoth
from sparring.losses import NSSALoss, SampledSoftmax
from sparring.models import DistMult
from sparring.samplers import Capabilities, KvsAll, Uniform
from sparring.testing import tiny_graph
from sparring.training import TrainingStep

WITHOUT_VECTORS = {"nbfnet", "rules", "text"}  # entities are not embedded
NEED_VECTORS = {"eans"}
COMBINATIONS = 150


@cache
def made(make):
    """One of each part, to see what it can be trained with."""
    return make(tiny_graph())


def trains(model, sampler, loss):
    """Whether the three can be trained together."""
    if sampler in NEED_VECTORS and model in WITHOUT_VECTORS:
        return False
    try:
        LOSSES[loss]().check(made(SAMPLERS[sampler]), made(MODELS[model]))
    except ValueError:
        return False
    return True


def combinations():
    """Triples of names: each part in turn, with others drawn until they can be trained together."""
    rng, kinds = random.Random(0), [sorted(kind) for kind in (MODELS, SAMPLERS, LOSSES)]
    turns = [(place, name) for place, kind in enumerate(kinds) for name in kind]
    found = {}
    for place, name in itertools.islice(itertools.cycle(turns), max(COMBINATIONS, len(turns))):
        chosen = []
        while not chosen or not trains(*chosen):
            chosen = [rng.choice(kind) for kind in kinds]
            chosen[place] = name
        found["/".join(chosen)] = chosen
    return found


COMBINED = combinations()


def test_every_part_is_in_some_combination():
    for dealt, kind in zip(zip(*COMBINED.values()), (MODELS, SAMPLERS, LOSSES)):
        assert set(dealt) == set(kind)


def build(model, sampler, loss, corruption=CorruptBoth, **options):
    torch.manual_seed(0)
    graph = tiny_graph()
    parts = (
        MODELS[model](graph, **options),
        SAMPLERS[sampler](graph),
        LOSSES[loss](),
        corruption(graph),
    )
    return TrainingStep(*parts), graph


def learn(step, triples, optimizer):
    before = [parameter.clone() for parameter in step.trainable_parameters()]
    metrics = step(triples, optimizer, torch.Generator().manual_seed(0))
    return metrics, [not torch.equal(a, b) for a, b in zip(before, step.trainable_parameters())]


@pytest.mark.parametrize("model, sampler, loss", COMBINED.values(), ids=COMBINED)
def test_one_step_trains_any_combination(model, sampler, loss):
    step, graph = build(model, sampler, loss)
    encodings = []
    step.model.register_forward_hook(lambda *_: encodings.append(1))
    metrics, moved = learn(
        step, graph.triples[:6], torch.optim.SGD(step.trainable_parameters(), 0.1)
    )
    assert metrics["loss"].isfinite()
    assert all(moved)
    assert len(encodings) == 1, "the encoder runs once"


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_step_of_every_optimizer(optimizer, sparse):
    if sparse and optimizer == "adam":
        pytest.skip("Adam takes dense gradients only")
    step, graph = build("transe", "uniform", "nssa-plain", sparse=sparse)
    assert all(learn(step, graph.triples, OPTIMIZERS[optimizer](step.trainable_parameters()))[1])


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_one_step_of_every_corruption(corruption):
    step, graph = build("transe", "uniform", "nssa-plain", CORRUPTIONS[corruption])
    assert all(learn(step, graph.triples, torch.optim.SGD(step.trainable_parameters(), 0.1))[1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_starts_at_the_full_rate_and_never_exceeds_it(schedule):
    factors = [SCHEDULES[schedule]()(step, 100) for step in range(100)]
    assert factors[0] == 1.0
    assert all(0 <= late <= early for early, late in itertools.pairwise(factors))


@pytest.mark.parametrize("correction", ["negatives", "both"])
def test_a_correction_without_a_density_is_refused_before_training(correction):
    graph = tiny_graph()
    with pytest.raises(ValueError, match="density of its negatives, which KvsAll does not know"):
        TrainingStep(
            MODELS["transe"](graph),
            KvsAll(graph),
            SampledSoftmax(correction=correction),
            CorruptBoth(graph),
        )


def test_a_correction_of_answers_without_their_density_is_refused_before_training():
    graph = tiny_graph()
    model, sampler = MODELS["transe"](graph), SAMPLERS["kbgan"](graph)
    with pytest.raises(ValueError, match="density of answers, which KBGAN does not know"):
        TrainingStep(model, sampler, SampledSoftmax(correction="both"), CorruptBoth(graph))


def test_a_correction_for_mutants_is_refused_before_training():
    graph = tiny_graph()
    model, sampler = MODELS["mutated"](graph), Uniform(graph, k=3)
    with pytest.raises(ValueError, match="but Mutated alters them, and the density of the result"):
        TrainingStep(model, sampler, SampledSoftmax(correction="negatives"), CorruptBoth(graph))


def test_the_step_trains_the_temperature_only_if_it_is_learned():
    graph = tiny_graph()
    parts = MODELS["distmult"](graph), Uniform(graph, k=3)
    fixed = TrainingStep(*parts, SampledSoftmax(), CorruptBoth(graph))
    learned = TrainingStep(*parts, SampledSoftmax(learn_temperature=True), CorruptBoth(graph))
    assert len(learned.trainable_parameters()) == len(fixed.trainable_parameters()) + 1


def test_samplers_see_scores_without_gradients():
    class Looking(Uniform):
        capabilities = Capabilities(needs_scores=True)

        def sample(self, queries, score, rng):
            drawn = super().sample(queries, score, rng)
            self.tied = score(drawn.ids).requires_grad
            return drawn

    graph = tiny_graph()
    sampler = Looking(graph, k=3)
    step = TrainingStep(
        MODELS["distmult"](graph),
        sampler,
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        CorruptBoth(graph),
    )
    step(graph.triples[:6], torch.optim.SGD(step.trainable_parameters(), 0.1), torch.Generator())
    assert not sampler.tied


def test_a_step_adds_the_penalty_to_the_loss():
    moved = {}
    for weight in (0.0, 10.0):
        graph = tiny_graph()
        torch.manual_seed(0)
        model = MODELS["distmult"](graph, l2=weight)
        step = TrainingStep(
            model,
            Uniform(graph, k=3),
            NSSALoss(margin=0.0, adversarial_temperature=0.0),
            CorruptBoth(graph),
        )
        optimizer = torch.optim.SGD(step.trainable_parameters(), 0.01)
        step(graph.triples, optimizer, torch.Generator().manual_seed(0))
        moved[weight] = model.entity.weight.norm().item()
    assert moved[10.0] < 0.98 * moved[0.0]


def test_hard_constraints_are_restored_after_the_update():
    class Bounded(DistMult):
        def after_step(self):
            self.entity.weight.data.clamp_(-0.1, 0.1)

    graph = tiny_graph()
    step = TrainingStep(
        Bounded(graph, dim=4),
        Uniform(graph, k=3),
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        CorruptBoth(graph),
    )
    step(graph.triples, torch.optim.SGD(step.trainable_parameters(), 10.0), torch.Generator())
    assert step.model.entity.weight.abs().max() <= 0.1


def test_feedback_is_the_gradient_of_the_loss_alone():
    """The penalty must not show in it, and `push` does not depend on the batch size."""

    class Listening(Uniform):
        def observe(self, feedback):
            self.heard = feedback
            return {"heard": feedback.gradient.sum()}

    graph = tiny_graph()
    torch.manual_seed(0)
    sampler = Listening(graph, k=3)
    step = TrainingStep(
        MODELS["distmult"](graph, n3=5.0),
        sampler,
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        CorruptBoth(graph),
    )
    metrics = step(
        graph.triples[:6], torch.optim.SGD(step.trainable_parameters(), 0.1), torch.Generator()
    )

    heard = sampler.heard
    negative = heard.negative.clone().requires_grad_()
    loss = step.loss(heard.positive, negative, heard.negatives, heard.queries.weight)
    (gradient,) = torch.autograd.grad(loss, negative)
    torch.testing.assert_close(heard.gradient, gradient)
    torch.testing.assert_close(heard.push, gradient * 12)
    torch.testing.assert_close(metrics["heard"], gradient.sum())
    torch.testing.assert_close(metrics["loss"], loss.detach())


def test_training_fits_a_small_graph():
    step, graph = build("distmult", "all-entities", "sampled-softmax", reciprocal_relations=True)
    optimizer = torch.optim.Adam(step.trainable_parameters(), 0.1)
    rng = torch.Generator().manual_seed(0)
    losses = [step(graph.triples, optimizer, rng)["loss"].item() for _ in range(60)]
    assert losses[-1] < losses[0] / 2
