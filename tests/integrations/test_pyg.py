"""In the `nn.kge` models of PyTorch Geometric."""

import pytest
import torch

from sparring.corruption import to_triples
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, MaskKnown, Uniform, UniformFiltered
from sparring.testing import judge, tiny_graph

pytest.importorskip("torch_geometric", reason="needs torch_geometric 2.8.1; see make test-hosts")
from torch_geometric.nn.kge import ComplEx, DistMult, RotatE, TransE

from sparring.integrations import pyg as host

GRAPH = tiny_graph()
MODELS = {"complex": ComplEx, "distmult": DistMult, "rotate": RotatE, "transe": TransE}


def learned(k=4):
    return lambda graph: NSGenerator(graph, k=k, dim=8)


def hardest(graph):
    return DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3)


def model_of(maker, make, **options):
    torch.manual_seed(0)
    bridge = Adapter(make, **options)
    model = host.bridged(maker, bridge)(GRAPH.num_entities, GRAPH.num_relations, 8)
    model.enter(GRAPH.triples)
    return model, bridge


def train(model, steps=30, triples=GRAPH.triples):
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    losses = []
    for _ in range(steps):
        loss = model.loss(*triples.unbind(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make", [learned(), learned(k=1), hardest], ids=["k4", "k1", "hardest"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_by_its_own_loss(name, make):
    model, _ = model_of(MODELS[name], make)
    before = [p.detach().clone() for p in model.parameters()]
    assert torch.tensor(train(model)).isfinite().all()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters()))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_by_a_loss_of_ours(name):
    model, _ = model_of(MODELS[name], learned(), loss=SampledSoftmax(correction="both"))
    losses = train(model)
    assert sum(losses[-5:]) < sum(losses[:5])


def test_with_one_uniform_negative_the_loss_is_the_hosts_own():
    model, bridge = model_of(TransE, lambda graph: UniformFiltered(graph, k=1))
    loss = model.loss(*GRAPH.triples.unbind(1))
    ((positive, negative),) = bridge.heard
    margin = (model.margin - positive + negative.squeeze(1)).clamp(min=0)
    _, drawn = bridge.last
    torch.testing.assert_close(loss, margin[drawn.mask.squeeze(1)].mean())


def test_what_is_heard_are_the_scores_of_what_was_drawn():
    model, bridge = model_of(DistMult, learned())
    model.loss(*GRAPH.triples.unbind(1)).backward()
    queries, drawn = bridge.last
    ((positive, negative),) = bridge.heard
    compared = drawn.mask.any(1)
    scores = model(*GRAPH.triples.unbind(1)).detach()
    torch.testing.assert_close(positive[compared], scores[compared])
    triples = to_triples(queries, drawn.ids, GRAPH.num_relations)
    scores = model.judge(triples.flatten(0, 1)).view(drawn.mask.shape)
    torch.testing.assert_close(negative.detach(), scores * drawn.mask)
    assert (negative.grad[drawn.mask] >= 0).all() and negative.grad.any()


def test_the_generator_learns():
    model, bridge = model_of(ComplEx, learned())
    before = [p.detach().clone() for p in bridge.sampler.parameters()]
    train(model, steps=3)
    assert any(not torch.equal(a, b) for a, b in zip(before, bridge.sampler.parameters()))


def test_scores_for_the_sampler_leave_the_mode_alone():
    model, _ = model_of(ComplEx, learned())
    modes = []
    model.register_forward_hook(lambda module, *rest: modes.append(module.training))
    train(model, steps=2)
    assert all(modes) and model.training
    model.eval()
    model.judge(GRAPH.triples)
    assert not model.training


def test_the_state_of_the_model_holds_the_sampler():
    one, _ = model_of(ComplEx, learned())
    two, other = model_of(ComplEx, learned())
    train(one, steps=3)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.bridge.rng.get_state(), other.rng.get_state())
    for a, b in zip(one.bridge.sampler.parameters(), other.sampler.parameters()):
        assert torch.equal(a, b)


def test_the_first_loader_is_the_training_graph():
    bridge = Adapter(learned())
    model = host.bridged(ComplEx, bridge)(GRAPH.num_entities, GRAPH.num_relations, 8)
    loader = model.loader(*GRAPH.triples.unbind(1), batch_size=13, num_workers=1)
    sampler = bridge.sampler
    model.loader(*GRAPH.triples[:5].unbind(1), batch_size=5)
    assert bridge.sampler is sampler
    for batch in loader:  # workers pick triples only, and draw nothing
        model.loss(*batch).backward()


def test_negatives_can_be_drawn_without_a_loss():
    model, _ = model_of(ComplEx, learned())
    corrupted = model.random_sample(*GRAPH.triples.unbind(1))
    assert [len(part) for part in corrupted] == 3 * [4 * len(GRAPH.triples)]


def test_evaluation_hears_nothing():
    model, bridge = model_of(ComplEx, learned())
    model.test(*GRAPH.triples[:3].unbind(1), batch_size=5, log=False)
    assert not bridge.heard


def test_the_kit_judges_their_sampler():
    found = judge(host.contestant(TransE, {}))
    assert any("returned as its own negative" in fault.words for fault in found.errors)


@pytest.mark.parametrize("made", [UniformFiltered, NSGenerator])
def test_the_kit_finds_nothing_wrong_with_ours(made):
    assert not judge(host.adapted(made)).faults
