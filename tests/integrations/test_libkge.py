"""In LibKGE's own training: everything still trains, and checkpoints hold the sampler."""

import pytest
import torch
from integrations.kit import words

from sparring.corruption import Bernoulli, CorruptBoth, to_triples
from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, MaskKnown, Uniform, UniformFiltered
from sparring.testing import report_external, tiny_graph

pytest.importorskip("kge", reason="needs LibKGE's source; see make test-hosts")
from kge import Config
from kge.job import Job
from kge.util import load_checkpoint
from kge.util.sampler import KgeUniformSampler

from sparring.integrations import libkge as host

GRAPH = tiny_graph()
LOSSES = ["bce", "bce_mean", "bce_self_adversarial", "kl", "margin_ranking", "se", "soft_margin"]


def learned(graph):
    return NSGenerator(graph, k=4, dim=8)


def hardest(graph):
    return DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3)


class Learned(host.TrainingJobSparring):
    adapter = Adapter(learned, corruption=CorruptBoth)


class Hardest(host.TrainingJobSparring):
    adapter = Adapter(hardest)


class Plain(host.TrainingJobSparring):
    adapter = Adapter(lambda graph: UniformFiltered(graph, k=4), corruption=CorruptBoth)


class OfOurs(host.TrainingJobSparring):
    adapter = Adapter(learned, corruption=CorruptBoth, loss=SampledSoftmax(correction="both"))


@pytest.fixture
def made(tmp_path):
    """A job of LibKGE by the name of its class here, as LibKGE makes them."""

    def make(name="Learned", model="distmult", reciprocal=False, **options):
        torch.manual_seed(0)
        config = Config(str(tmp_path))
        config._import(model)
        if reciprocal:
            config._import("reciprocal_relations_model")
            config.set("model", "reciprocal_relations_model")
            config.set("reciprocal_relations_model.base_model.type", model, create=True)
        else:
            config.set("model", model)
        usual = {
            "console.quiet": True,
            "job.device": "cpu",
            "modules": [*config.get("modules"), __name__],
            "lookup_embedder.dim": 32,
            "negative_sampling.class_name": name,
            "train.type": "negative_sampling",
            "train.batch_size": 16,
            "train.optimizer.default.type": "Adam",
            "train.optimizer.default.args.lr": 0.05,
            "train.max_epochs": 2,
            "valid.every": 0,
            "valid.last": False,
        }
        given = {key.replace("__", "."): value for key, value in options.items()}
        config.set_all(usual | given, create=True)
        facts = {name: GRAPH.triples for name in ("train", "valid", "test")}
        names = [[str(i) for i in range(n)] for n in (GRAPH.num_entities, GRAPH.num_relations)]
        return Job.create(config, host._dataset(facts, *names, config))

    return make


def parameters(job):
    return [p.detach().clone() for p in job.model.parameters()]


def changed(before, after):
    return [not torch.equal(a, b) for a, b in zip(before, after)]


@pytest.mark.parametrize("name", ["Learned", "Hardest"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_job_trains_by_each_of_their_losses(made, loss, name):
    job = made(name, train__loss=loss)
    before = parameters(job)
    job.run()
    assert all(changed(before, job.model.parameters()))
    assert torch.cat([p.flatten() for p in job.model.parameters()]).isfinite().all()


def test_a_loss_of_ours_stands_in(made):
    job = made("OfOurs", train__max_epochs=12)
    losses = []
    job.post_epoch_hooks.append(lambda job: losses.append(job.current_trace["epoch"]["avg_loss"]))
    job.run()
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.parametrize("model", ["complex", "conve", "rotate", "transe"])
def test_models_that_tell_directions_apart_train(made, model):
    job = made(model=model, reciprocal=True)
    before = parameters(job)
    job.run()
    assert all(changed(before, job.model.parameters()))


def test_the_generator_learns(made):
    job = made()
    before = [p.detach().clone() for p in job.adapter.sampler.parameters()]
    job.run()
    assert any(changed(before, job.adapter.sampler.parameters()))


def batch_of(job):
    if not job._is_prepared:
        job._prepare()
        job._is_prepared = True
    return next(iter(job.loader))


@pytest.mark.parametrize("loss", ["kl", "margin_ranking"])
def test_with_uniform_negatives_the_loss_is_their_own(made, loss):
    job = made("Plain", train__loss=loss, train__subbatch_size=5)
    batch = batch_of(job)
    result = job._process_batch(0, batch)
    queries, drawn = job.adapter.last_draw
    tails, heads = to_triples(queries, drawn.ids, GRAPH.num_relations).chunk(2)
    assert (tails[..., 0] == batch["triples"][:, :1]).all()
    total = 0.0
    for wrong in (tails, heads):
        triples = torch.cat([batch["triples"].unsqueeze(1), wrong], 1)
        scores = job.model.score_spo(*triples.flatten(0, 1).unbind(1)).view(-1, 5)
        labels = torch.tensor([[1.0, 0, 0, 0, 0]]).repeat(len(scores), 1)
        total += job.loss(scores, labels, num_negatives=4).item() / len(scores)
    assert drawn.mask.all() and result.avg_loss == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", ["Learned", "OfOurs"])
def test_parts_of_a_batch_teach_what_the_whole_teaches(made, name):
    found = []
    for size in (-1, 5):
        job = made(name, train__subbatch_size=size)
        torch.manual_seed(0)
        job.optimizer.zero_grad()
        job._process_batch(0, batch_of(job))
        found.append((job.adapter.flush()["generator_loss"], parameters_gradient(job)))
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)


def parameters_gradient(job):
    return torch.cat([p.grad.flatten() for p in job.model.parameters()])


def test_recorded_scores_are_those_of_the_drawn_triples(made):
    job = made()
    batch = batch_of(job)
    job._process_batch(0, batch)
    queries, drawn = job.adapter.last_draw
    ((positive, negative),) = job.adapter.recorded
    triples = to_triples(queries, drawn.ids, GRAPH.num_relations).flatten(0, 1)
    scores = job.model.score_spo(*triples.unbind(1)).view(drawn.mask.shape)
    torch.testing.assert_close(negative, scores)
    torch.testing.assert_close(
        positive, job.model.score_spo(*batch["triples"].unbind(1)).flatten().repeat(2)
    )
    assert negative.grad[drawn.mask].any() and not negative.grad[~drawn.mask].any()


def test_a_batch_that_ran_out_of_memory_is_drawn_again(made):
    job = made(train__subbatch_size=8, train__subbatch_auto_tune=True)
    score, failures = job.model.score_spo, []

    def failing(*args, **options):
        if job.adapter.recorded and not failures:  # in the second part of the first batch
            failures.append(1)
            raise RuntimeError("CUDA out of memory")
        return score(*args, **options)

    job.model.score_spo = failing
    job.run()
    assert failures and job._max_subbatch_size == 4 and job.epoch == 2


def test_reciprocal_models_are_asked_in_the_direction_of_the_question(made):
    job = made(reciprocal=True)
    job._process_batch(0, batch_of(job))
    queries, drawn = job.adapter.last_draw
    ((_, negative),) = job.adapter.recorded
    triples = to_triples(queries, drawn.ids, GRAPH.num_relations)
    for direction, asked, observed in zip("os", triples.chunk(2), negative.chunk(2)):
        scores = job.model.score_spo(*asked.flatten(0, 1).unbind(1), direction=direction)
        torch.testing.assert_close(observed, scores.view(observed.shape))


def test_a_job_is_traced_as_their_own_are(made):
    assert made().trace_entry["event"] == "job_created"


def test_scores_for_the_sampler_leave_the_mode_and_the_statistics_alone(made):
    job = made(model="conve", reciprocal=True)
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    job.adapter.draw_queries(GRAPH.triples)
    assert all(module.training for module in job.model.modules())
    assert all(torch.equal(before[name], value) for name, value in job.model.state_dict().items())


def test_loader_workers_only_fetch_triples(made):
    job = made(train__num_workers=1, train__max_epochs=1)
    job.run()
    assert job.adapter.metrics


def test_each_job_has_a_sampler_of_its_own(made):
    one, two = made(), made()
    one.run()
    assert one.adapter is not two.adapter and Learned.adapter.sampler is None
    pairs = zip(one.adapter.sampler.parameters(), two.adapter.sampler.parameters())
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_a_checkpoint_holds_the_sampler(made, monkeypatch):
    job = made()
    job.run()
    # LibKGE's checkpoints are more than tensors, which torch reads only if losses so
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    saved = load_checkpoint(job.config.checkpoint_file(2))
    heir = Job.create_from(saved, dataset=job.dataset)
    assert type(heir) is Learned and heir.epoch == 2
    assert torch.equal(heir.adapter.rng.get_state(), job.adapter.rng.get_state())
    pairs = zip(heir.adapter.sampler.parameters(), job.adapter.sampler.parameters())
    assert not any(changed(*zip(*pairs)))
    heir.config.set("train.max_epochs", 3)
    heir.run()
    assert heir.epoch == 3


def test_a_checkpoint_without_a_sampler_is_refused(made):
    job = made()
    with pytest.raises(ValueError, match="checkpoint old holds no sampler: it was saved by"):
        job._load({"type": "train", "file": "old"})


def test_the_loss_on_facts_can_be_evaluated_and_teaches_nothing(made):
    job = made()
    heir = Learned(job.config, job.dataset, model=job.model, forward_only=True)
    before = [p.detach().clone() for p in heir.adapter.sampler.parameters()]
    heir._prepare()
    with torch.no_grad():
        heir.run_epoch()
    assert not any(changed(before, heir.adapter.sampler.parameters()))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_samples__s": 7}, "draws k=4 negatives for each end; got negative_sampling.num_sam"),
        ({"num_samples__p": 2}, "replace heads and tails; got negative_sampling.num_samples.p=2"),
        ({"shared": True}, "negative_sampling.shared and negative_sampling.filtering belong to"),
        (
            {"filtering__o": True},
            "negative_sampling.shared and negative_sampling.filtering belong to",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(made, options, words):
    with pytest.raises(ValueError, match=words):
        made(**{f"negative_sampling__{name}": value for name, value in options.items()})


def test_the_same_number_may_be_asked_for(made):
    assert made(negative_sampling__num_samples__s=4).adapter.sampler.k == 4


def test_one_end_of_each_triple_may_be_chosen(made):
    class Chosen(host.TrainingJobSparring):
        adapter = Adapter(learned, corruption=Bernoulli)

    usual = made()
    job = Chosen(usual.config, usual.dataset)
    job._process_batch(0, batch_of(job))
    assert len(job.adapter.last_draw[0]) == 16


def test_a_graph_of_ours_is_evaluated_as_theirs(made):
    graph = load_embedded()
    usual = made()
    dataset = host.to_libkge(graph, usual.config)
    assert torch.equal(dataset.split("test").long(), graph.test)
    assert dataset.num_entities() == len(graph.entities)
    assert dataset.entity_ids()[:2] == list(graph.entities)[:2]
    head, relation, tail = graph.train[0].tolist()
    assert tail in dataset.index("train_sp_to_o")[(head, relation)]


def test_the_kit_checks_their_sampler():
    said = words(host.external_sampler(KgeUniformSampler, {}))
    assert "returned as its own negative" in said
    assert "facts of the training graph" in said


@pytest.mark.parametrize("made_", [UniformFiltered, NSGenerator])
def test_the_kit_finds_nothing_wrong_with_ours(made_):
    assert not report_external(host.adapted_sampler(made_)).violations
