"""In training loops like those of TorchKGE's documentation."""

import pytest
import torch
from integrations.kit import words

from sparring.corruption import to_triples
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, MaskKnown, Uniform, UniformFiltered
from sparring.testing import report_external, tiny_graph

pytest.importorskip("torchkge", reason="needs torchkge 0.17.7; see make test-hosts")
from torchkge.models import ComplExModel, ConvKBModel, TransEModel, TransRModel
from torchkge.sampling import (
    BernoulliRelationNegativeSampler,
    PositionalNegativeSampler,
    UniformNegativeSampler,
)
from torchkge.utils import LogisticLoss, MarginLoss

from sparring.integrations import torchkge as host

GRAPH = tiny_graph()
KG = host.to_torchkge(GRAPH)
HEAD, RELATION, TAIL = GRAPH.triples.unbind(1)
SIZES = GRAPH.num_entities, GRAPH.num_relations
MODELS = {
    "complex": lambda: ComplExModel(8, *SIZES),
    "convkb": lambda: ConvKBModel(8, 3, *SIZES),
    "transe": lambda: TransEModel(8, *SIZES),
    "transr": lambda: TransRModel(8, 4, *SIZES),
}


def learned(graph):
    return NSGenerator(graph, k=4, dim=8)


def hardest(graph):
    return DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3)


def trained(name, make, criterion, steps=30, **options):
    torch.manual_seed(0)
    adapter, model = Adapter(make, **options), MODELS[name]()
    sampler = host.SparringNegativeSampler(KG, adapter, model)
    observed = host.ObservedLoss(criterion, adapter)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    losses = []
    for _ in range(steps):
        negative = sampler.corrupt_batch(HEAD, TAIL, RELATION)
        loss = observed(*model(HEAD, TAIL, RELATION, *negative))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, adapter, losses


@pytest.mark.parametrize("criterion", [MarginLoss(0.5), LogisticLoss()], ids=["margin", "logistic"])
@pytest.mark.parametrize("make", [learned, hardest])
@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_of_a_model_trains(name, make, criterion):
    torch.manual_seed(0)
    before = MODELS[name]().state_dict()
    model, _, losses = trained(name, make, criterion)
    assert torch.tensor(losses).isfinite().all()
    assert all(not torch.equal(before[key], p) for key, p in model.named_parameters())


def test_a_model_trains_by_a_loss_of_ours():
    _, _, losses = trained(
        "complex", learned, MarginLoss(0.5), loss=SampledSoftmax(correction="both")
    )
    assert sum(losses[-5:]) < sum(losses[:5])


def test_the_generator_learns():
    one, two = (trained("complex", learned, MarginLoss(0.5), steps=n)[1] for n in (1, 3))
    pairs = zip(one.sampler.parameters(), two.sampler.parameters())
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_the_whole_batch_is_repeated_for_each_negative():
    sampler = host.SparringNegativeSampler(KG, Adapter(learned), MODELS["transe"]())
    head, tail = sampler.corrupt_batch(HEAD, TAIL, RELATION)
    assert ((head == HEAD.repeat(4)) | (tail == TAIL.repeat(4))).all()


def test_recorded_scores_are_those_of_the_drawn_triples():
    adapter, model = Adapter(learned), MODELS["complex"]()
    sampler = host.SparringNegativeSampler(KG, adapter, model)
    negative = sampler.corrupt_batch(HEAD, TAIL, RELATION)
    queries, drawn = adapter.last_draw
    loss = host.ObservedLoss(LogisticLoss(), adapter)(*model(HEAD, TAIL, RELATION, *negative))
    ((positive, scores),) = adapter.recorded
    triples = to_triples(queries, drawn.ids, GRAPH.num_relations).flatten(0, 1)
    torch.testing.assert_close(scores, sampler.score_triples(triples).view(scores.shape))
    torch.testing.assert_close(positive, model.scoring_function(HEAD, TAIL, RELATION))
    counted = torch.nn.functional.softplus(scores)[drawn.mask].sum()
    right = torch.nn.functional.softplus(-positive) * drawn.mask.sum(1)
    torch.testing.assert_close(loss, counted + right.sum())


def test_scores_for_the_sampler_leave_the_mode_alone():
    sampler = host.SparringNegativeSampler(KG, Adapter(learned), model := MODELS["convkb"]())
    sampler.corrupt_batch(HEAD, TAIL, RELATION)
    assert all(module.training for module in model.modules())


def test_a_sampler_that_ignores_scores_needs_no_model():
    sampler = host.SparringNegativeSampler(KG, Adapter(lambda graph: UniformFiltered(graph, k=2)))
    assert len(sampler.corrupt_batch(HEAD, TAIL, RELATION)[0]) == 2 * len(HEAD)


def test_another_number_of_negatives_is_refused():
    sampler = host.SparringNegativeSampler(KG, Adapter(lambda graph: UniformFiltered(graph, k=2)))
    with pytest.raises(ValueError, match="draws k=2 negatives for each triple; got n_neg=1"):
        sampler.corrupt_batch(HEAD, TAIL, RELATION, n_neg=1)


def test_scores_of_another_batch_are_refused():
    adapter = Adapter(lambda graph: UniformFiltered(graph, k=2))
    sampler = host.SparringNegativeSampler(KG, adapter)
    criterion = host.ObservedLoss(MarginLoss(0.5), adapter)
    sampler.corrupt_batch(HEAD, TAIL, RELATION)
    with pytest.raises(RuntimeError, match="6 scores of negatives are not those of the last"):
        criterion(torch.zeros(6), torch.zeros(6))


def test_splits_share_what_is_known_of_both():
    names = [str(i) for i in range(11)]
    some = GRAPH.triples
    graph = KnowledgeGraph(
        "it", Vocabulary(names), Vocabulary(names[:3]), some[5:], some[:2], some[2:5]
    )
    train, test = host.train_and_test(graph)
    assert torch.equal(train.head_idx, some[5:, 0]) and torch.equal(test.tail_idx, some[2:5, 2])
    assert train.dict_of_tails == test.dict_of_tails and train.n_ent == test.n_ent == 11


@pytest.mark.parametrize(
    "sampler, said",
    [
        (UniformNegativeSampler, "entity 0 is never drawn"),
        (PositionalNegativeSampler, "K is ignored: asked for 64 per triple, got 1"),
        (BernoulliRelationNegativeSampler, "the relation is replaced"),
    ],
)
def test_the_kit_checks_their_samplers(sampler, said):
    assert said in words(host.external_sampler(sampler, {}))


@pytest.mark.parametrize("made", [UniformFiltered, NSGenerator])
def test_the_kit_finds_nothing_wrong_with_ours(made):
    assert not report_external(host.adapted_sampler(made)).violations
