"""In PyKEEN: training with our samplers, and its evaluator next to ours."""

import copy

import pytest
import torch
from evaluation.fixtures import Table, random_graph

from sparring.evaluation.ranking import evaluate
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, MaskKnown, Uniform, UniformFiltered

REASON = "needs pykeen 1.11.1; see make test-hosts"
pytest.importorskip("pykeen", reason=REASON)
from pykeen.datasets import Nations  # noqa: E402
from pykeen.evaluation import RankBasedEvaluator  # noqa: E402
from pykeen.models import ConvE, DistMult, model_resolver  # noqa: E402
from pykeen.pipeline import pipeline  # noqa: E402
from pykeen.sampling import BasicNegativeSampler, PseudoTypedNegativeSampler  # noqa: E402
from pykeen.training import SLCWATrainingLoop, TrainingCallback  # noqa: E402
from pykeen.triples import CoreTriplesFactory  # noqa: E402

from sparring.integrations import pykeen as host  # noqa: E402
from sparring.testing import report_external  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
FACTS = Nations().training
QUIET = {"use_tqdm": False, "pin_memory": False, "batch_size": 256}


def learned(graph):
    return NSGenerator(graph, k=4, dim=8)


def hardest(graph):
    return DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3)


def model_of(name, facts=FACTS, **options):
    torch.manual_seed(0)
    return model_resolver.make(name, triples_factory=facts, random_seed=0, **options)


def loop_of(model, make=learned, facts=FACTS, **options):
    adapter = Adapter(make, **options)
    return host.SparringTrainingLoop(
        adapter=adapter, model=model, triples_factory=facts, optimizer_kwargs={"lr": 0.01}
    )


def train(loop, epochs=1, facts=FACTS, **options):
    return loop.train(facts, num_epochs=epochs, **QUIET, **options)


@pytest.mark.parametrize("loss", ["nssa", "marginranking", "crossentropy", "bceaftersigmoid"])
@pytest.mark.parametrize("make", [learned, hardest])
def test_the_pipeline_trains(make, loss, tmp_path):
    adapter = Adapter(make)
    result = pipeline(
        dataset="nations",
        model="DistMult",
        loss=loss,
        training_loop=host.SparringTrainingLoop,
        training_loop_kwargs={"adapter": adapter},
        training_kwargs={"num_epochs": 4, **QUIET},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=0,
        device="cpu",
    )
    assert len(result.losses) == 4 and torch.tensor(result.losses).isfinite().all()
    assert adapter.sampler.k in (3, 4)
    result.save_to_directory(tmp_path)


def test_the_generator_learns():
    loop = loop_of(model_of("DistMult"))
    train(loop)
    before = [p.detach().clone() for p in loop.adapter.sampler.parameters()]
    loop.train(FACTS, num_epochs=2, continue_training=True, **QUIET)
    after = loop.adapter.sampler.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after))


def test_a_loss_of_ours_stands_in():
    loop = loop_of(model_of("ComplEx"), loss=SampledSoftmax(correction="both"))
    losses = train(loop, epochs=8)
    assert losses[-1] < losses[0]


class Moved(TrainingCallback):
    """Which parameters the last epoch changed, and in which mode batches were trained."""

    def __init__(self):
        super().__init__()
        self.modes = []

    def pre_batch(self, **options):
        if not self.modes:
            self.before = copy.deepcopy(self.model.state_dict())
        self.modes.append([module.training for module in self.model.modules()])

    def names(self):
        found = dict(self.model.named_parameters())
        return {name for name in found if not torch.equal(found[name], self.before[name])}


def moved(model, facts=FACTS, make=learned):
    seen = Moved()
    loop = loop_of(model, make, facts) if make else plain_loop(model, facts)
    train(loop, epochs=2, facts=facts, callbacks=[seen])
    return seen


def plain_loop(model, facts):
    return SLCWATrainingLoop(
        model=model,
        triples_factory=facts,
        optimizer_kwargs={"lr": 0.01},
        negative_sampler_kwargs={"num_negs_per_pos": 4},
    )


SMALL = {"embedding_dim": 32, "output_channels": 4}
GRAPH_NETWORKS = {
    "rgcn": {"embedding_dim": 8},
    "compgcn": {"embedding_dim": 8, "create_inverse": True},
    "nodepiece": {"embedding_dim": 8, "create_inverse": True},
}


@pytest.mark.parametrize("name", GRAPH_NETWORKS)
def test_every_parameter_of_a_graph_network_trains_as_without_the_sampler(name):
    options = dict(GRAPH_NETWORKS[name])
    inverse = options.pop("create_inverse", False)
    facts = Nations(create_inverse_triples=inverse).training
    ours = moved(model_of(name, facts, **options), facts).names()
    theirs = moved(model_of(name, facts, **options), facts, make=None).names()
    assert theirs and ours >= theirs


def test_training_stays_training_and_dropout_with_it():
    facts = Nations(create_inverse_triples=True).training
    seen = moved(model_of("ConvE", facts, **SMALL), facts)
    assert all(all(modes) for modes in seen.modes)


def test_scores_for_the_sampler_leave_statistics_alone():
    facts = Nations(create_inverse_triples=True).training
    updates = []
    for make in (learned, lambda graph: UniformFiltered(graph, k=4)):
        model = model_of("ConvE", facts, **SMALL)
        assert isinstance(model, ConvE)
        train(loop_of(model, make, facts), facts=facts)
        updates.append([int(v) for k, v in model.state_dict().items() if "num_batches" in k])
    assert updates[0] == updates[1] and updates[0]


def test_inverse_triples_are_corrupted_as_the_loop_sees_them():
    facts = Nations(create_inverse_triples=True).training
    loop = loop_of(model_of("DistMult", facts), facts=facts)
    train(loop, facts=facts)
    assert loop.adapter.corruption.num_relations == 2 * facts.real_num_relations


def test_a_batch_may_be_split():
    trained = []
    for size in (None, 100):
        trained.append(model_of("DistMult"))
        torch.manual_seed(1)
        train(loop_of(trained[-1]), sub_batch_size=size)
    for one, two in zip(*(model.parameters() for model in trained)):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_worker_processes_are_refused():
    loop = loop_of(model_of("DistMult"))
    with pytest.raises(ValueError, match="num_workers must be 0, got 2"):
        train(loop, num_workers=2)


def test_a_second_sampler_is_refused():
    with pytest.raises(ValueError, match="this loop takes negatives from its adapter; give no"):
        host.SparringTrainingLoop(
            adapter=Adapter(learned),
            model=model_of("DistMult"),
            triples_factory=FACTS,
            negative_sampler="basic",
        )


SIZES = {"num_entities": FACTS.num_entities, "num_relations": FACTS.num_relations}


def sampler(make=lambda graph: UniformFiltered(graph, k=4), **options):
    adapter = Adapter(make)
    facts = FACTS.mapped_triples
    return host.SparringNegativeSampler(adapter=adapter, mapped_triples=facts, **SIZES, **options)


def test_a_sampler_that_needs_no_scores_serves_the_plain_loop():
    loop = SLCWATrainingLoop(
        model=model_of("DistMult"),
        triples_factory=FACTS,
        negative_sampler=host.SparringNegativeSampler,
        negative_sampler_kwargs={"adapter": Adapter(lambda graph: UniformFiltered(graph, k=4))},
    )
    assert len(train(loop)) == 1


def test_corrupting_gives_what_sampling_gives():
    corrupted, mask = sampler().sample(FACTS.mapped_triples[:9])
    assert corrupted.shape == (9, 4, 3) and mask.shape == (9, 4)
    assert torch.equal(sampler().corrupt_batch(FACTS.mapped_triples[:9]), corrupted)


def test_another_number_of_negatives_is_refused():
    assert sampler(num_negs_per_pos=4).num_negs_per_pos == 4
    with pytest.raises(ValueError, match="draws k=4 negatives for each triple; got num_negs_p"):
        sampler(num_negs_per_pos=7)


def test_their_filter_is_refused():
    with pytest.raises(ValueError, match="filter would hide negatives from the sampler"):
        sampler(filtered=True)


def checkpointed(folder, epochs):
    loop = loop_of(model_of("DistMult"))
    losses = train(
        loop,
        epochs=epochs,
        checkpoint_directory=folder,
        checkpoint_name="it.pt",
        checkpoint_frequency=0,
    )
    return losses, loop.adapter.state_dict()["sampler"]


def test_a_resumed_run_is_the_unbroken_one(tmp_path):
    whole, wanted = checkpointed(tmp_path / "whole", 4)
    checkpointed(tmp_path / "parts", 2)
    parts, got = checkpointed(tmp_path / "parts", 4)
    assert parts == whole
    for name, value in wanted.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, got[name]), name


def test_a_checkpoint_without_a_sampler_is_refused(tmp_path):
    place = {"checkpoint_directory": tmp_path, "checkpoint_name": "it.pt"}
    train(plain_loop(model_of("DistMult"), FACTS), checkpoint_frequency=0, **place)
    with pytest.raises(ValueError, match=r"it.pt holds no sampler: it was saved by another"):
        train(loop_of(model_of("DistMult")), epochs=2, checkpoint_frequency=0, **place)


def test_an_early_stopper_goes_back_to_the_best_sampler(tmp_path):
    adapter = Adapter(learned)
    pipeline(
        dataset="nations",
        model="DistMult",
        training_loop=host.SparringTrainingLoop,
        training_loop_kwargs={"adapter": adapter},
        training_kwargs={"num_epochs": 6, **QUIET},
        evaluation_kwargs={"use_tqdm": False},
        stopper="early",
        stopper_kwargs={"frequency": 1, "patience": 1, "evaluation_batch_size": 64},
        random_seed=0,
        device="cpu",
    )
    assert adapter.sampler.steps < 6 * 7


def test_the_kit_checks_their_samplers():
    found = report_external(host.external_sampler(PseudoTypedNegativeSampler, {}))
    assert any("returned as its own negative" in violation.message for violation in found.errors)
    good = report_external(
        host.external_sampler(BasicNegativeSampler, {"filtered": True, "filterer": "bloom"})
    )
    assert not good.violations


@pytest.mark.parametrize("made", [UniformFiltered, NSGenerator])
def test_the_kit_finds_nothing_wrong_with_ours(made):
    assert not report_external(host.adapted_sampler(made)).violations


RANKED = random_graph(entities=20, relations=3, size=300)
METRICS = {
    "inverse_harmonic_mean_rank": lambda found: found.mrr(),
    "arithmetic_mean_rank": lambda found: found.mr(),
    "adjusted_arithmetic_mean_rank_index": lambda found: found.amri(),
    "hits_at_1": lambda found: found.hits(1),
    "hits_at_3": lambda found: found.hits(3),
    "hits_at_10": lambda found: found.hits(10),
}


class PyKEENTable(DistMult):
    """A PyKEEN model that looks its scores up in ours."""

    def __init__(self, table, **options):
        super().__init__(embedding_dim=1, **options)
        self.table = table

    def score_t(self, hr_batch, **options):
        return self.table[hr_batch[:, 0], hr_batch[:, 1]]

    def score_h(self, rt_batch, **options):
        return self.table[rt_batch[:, 1], rt_batch[:, 0] + self.num_relations]


def pykeen_metrics(table):
    """PyKEEN's metrics, both sides together, of its "realistic" ranks."""
    factory = CoreTriplesFactory(RANKED.train, num_entities=20, num_relations=3)
    results = RankBasedEvaluator(filtered=True).evaluate(
        model=PyKEENTable(table, triples_factory=factory),
        mapped_triples=RANKED.test,
        additional_filter_triples=[RANKED.train, RANKED.valid],
        batch_size=16,
        use_tqdm=False,
    )
    return {name: results.get_metric(f"both.realistic.{name}") for name in METRICS}


@pytest.mark.parametrize("levels", [None, 5, 1], ids=["no ties", "ties", "only ties"])
def test_every_metric_agrees_with_pykeen(levels):
    model = Table.random(RANKED, levels=levels)
    found = evaluate(model, RANKED.test, RANKED.known)
    ours = {name: metric(found) for name, metric in METRICS.items()}
    assert ours == pytest.approx(pykeen_metrics(model.scores), abs=1e-6)
