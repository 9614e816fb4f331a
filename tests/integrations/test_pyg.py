"""In PyTorch Geometric: the models of `nn.kge`, and link loaders."""

import pytest
import torch

from sparring.corruption import CorruptBoth, to_triples
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, MaskKnown, Uniform, UniformFiltered
from sparring.testing import report_external, tiny_graph

pytest.importorskip("torch_geometric", reason="needs torch_geometric 2.8.1; see make test-hosts")
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader
from torch_geometric.nn.kge import ComplEx, DistMult, RotatE, TransE
from torch_geometric.sampler import BaseSampler, NegativeSampling, SamplerOutput
from torch_geometric.utils import k_hop_subgraph

from sparring.integrations import pyg as host

GRAPH = tiny_graph()
MODELS = {"complex": ComplEx, "distmult": DistMult, "rotate": RotatE, "transe": TransE}


def learned(k=4):
    return lambda graph: NSGenerator(graph, k=k, dim=8)


def hardest(graph):
    return DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3)


def model_of(maker, make, **options):
    torch.manual_seed(0)
    adapter = Adapter(make, **options)
    model = host.with_adapter(maker, adapter)(GRAPH.num_entities, GRAPH.num_relations, 8)
    model.bind(GRAPH.triples)
    return model, adapter


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
    model, adapter = model_of(TransE, lambda graph: UniformFiltered(graph, k=1))
    loss = model.loss(*GRAPH.triples.unbind(1))
    ((positive, negative),) = adapter.recorded
    margin = (model.margin - positive + negative.squeeze(1)).clamp(min=0)
    _, drawn = adapter.last_draw
    torch.testing.assert_close(loss, margin[drawn.mask.squeeze(1)].mean())


def test_recorded_scores_are_those_of_the_drawn_triples():
    model, adapter = model_of(DistMult, learned())
    model.loss(*GRAPH.triples.unbind(1)).backward()
    queries, drawn = adapter.last_draw
    ((positive, negative),) = adapter.recorded
    compared = drawn.mask.any(1)
    scores = model(*GRAPH.triples.unbind(1)).detach()
    torch.testing.assert_close(positive[compared], scores[compared])
    triples = to_triples(queries, drawn.ids, GRAPH.num_relations)
    scores = model.score_triples(triples.flatten(0, 1)).view(drawn.mask.shape)
    torch.testing.assert_close(negative.detach(), scores * drawn.mask)
    assert (negative.grad[drawn.mask] >= 0).all() and negative.grad.any()


def test_the_generator_learns():
    model, adapter = model_of(ComplEx, learned())
    before = [p.detach().clone() for p in adapter.sampler.parameters()]
    train(model, steps=3)
    assert any(not torch.equal(a, b) for a, b in zip(before, adapter.sampler.parameters()))


def test_scores_for_the_sampler_leave_the_mode_alone():
    model, _ = model_of(ComplEx, learned())
    modes = []
    model.register_forward_hook(lambda module, *rest: modes.append(module.training))
    train(model, steps=2)
    assert all(modes) and model.training
    model.eval()
    model.score_triples(GRAPH.triples)
    assert not model.training


def test_the_state_of_the_model_holds_the_sampler():
    one, _ = model_of(ComplEx, learned())
    two, other = model_of(ComplEx, learned())
    train(one, steps=3)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.adapter.rng.get_state(), other.rng.get_state())
    for a, b in zip(one.adapter.sampler.parameters(), other.sampler.parameters()):
        assert torch.equal(a, b)


def test_the_first_loader_is_the_training_graph():
    adapter = Adapter(learned())
    model = host.with_adapter(ComplEx, adapter)(GRAPH.num_entities, GRAPH.num_relations, 8)
    loader = model.loader(*GRAPH.triples.unbind(1), batch_size=13, num_workers=1)
    sampler = adapter.sampler
    model.loader(*GRAPH.triples[:5].unbind(1), batch_size=5)
    assert adapter.sampler is sampler
    for batch in loader:  # workers pick triples only, and draw nothing
        model.loss(*batch).backward()


def test_negatives_can_be_drawn_without_a_loss():
    model, _ = model_of(ComplEx, learned())
    corrupted = model.random_sample(*GRAPH.triples.unbind(1))
    assert [len(part) for part in corrupted] == 3 * [4 * len(GRAPH.triples)]


def test_evaluation_hears_nothing():
    model, adapter = model_of(ComplEx, learned())
    model.test(*GRAPH.triples[:3].unbind(1), batch_size=5, log=False)
    assert not adapter.recorded


def test_the_kit_checks_their_sampler():
    found = report_external(host.external_sampler(TransE, {}))
    assert any("returned as its own negative" in violation.message for violation in found.errors)


@pytest.mark.parametrize("made", [UniformFiltered, NSGenerator])
def test_the_kit_finds_nothing_wrong_with_ours(made):
    assert not report_external(host.adapted_sampler(made)).violations


HEAD, RELATION, TAIL = GRAPH.triples.unbind(1)
NODES = torch.arange(GRAPH.num_entities)
DATA = Data(
    x=NODES.float().unsqueeze(1),
    edge_index=torch.stack([HEAD, TAIL]),
    edge_type=RELATION,
    num_nodes=GRAPH.num_entities,
)


def links_of(make, data=DATA, corruption=host.CorruptTail, loss=None, **options):
    adapter = Adapter(make, corruption=corruption, loss=loss)
    adapter.score_triples = lambda triples, head: (triples * torch.tensor([3, 1, 5])).sum(1).cos()
    return host.NegativeLinkSampler(data, adapter, **options)


def uniform(graph):
    return UniformFiltered(graph, k=4)


def loader_of(links, data=DATA, k=4, **options):
    return LinkLoader(data, links, neg_sampling=NegativeSampling("triplet", k), **options)


class OneStepNeighbors(BaseSampler):
    """All edges one step around the nodes, for which PyG's own samplers need compiled code."""

    def sample_from_nodes(self, index, **options):
        found, _, _, mask = k_hop_subgraph(index.node, 1, DATA.edge_index)
        node = torch.cat([index.node, found[~torch.isin(found, index.node)]])  # seeds first
        place = torch.empty(GRAPH.num_entities, dtype=torch.long)
        place[node] = torch.arange(len(node))
        row, col = place[DATA.edge_index[:, mask]]
        return SamplerOutput(node=node, row=row, col=col, edge=mask.nonzero().flatten())

    def sample_from_edges(self, index, neg_sampling=None):
        raise NotImplementedError


@pytest.mark.parametrize("neighbors", [None, OneStepNeighbors()], ids=["nodes", "neighborhood"])
def test_a_batch_holds_negative_targets_of_its_links(neighbors):
    links = links_of(uniform, neighbors=neighbors)
    seen = []
    for batch in loader_of(links, batch_size=7, shuffle=True):
        row = batch.input_id
        seen += row.tolist()
        assert torch.equal(batch.n_id[batch.src_index], HEAD[row])
        assert torch.equal(batch.n_id[batch.dst_pos_index], TAIL[row])
        assert batch.dst_neg_index.shape == (len(row), 4)
        queries, drawn = links.adapter.last_draw
        assert torch.equal(queries.relation, RELATION[row])
        assert torch.equal(batch.n_id[batch.dst_neg_index], drawn.ids)
        assert torch.equal(batch.x.flatten().long(), batch.n_id)
        known = set(map(tuple, GRAPH.triples.tolist()))
        for one, ids in zip(row.tolist(), batch.n_id[batch.dst_neg_index].tolist()):
            assert not any((HEAD[one].item(), RELATION[one].item(), e) in known for e in ids)
    assert sorted(seen) == list(range(len(HEAD)))


def test_the_neighborhood_is_that_of_the_given_sampler():
    (batch,) = loader_of(links_of(uniform, neighbors=OneStepNeighbors()), batch_size=99)
    ends = torch.stack([batch.n_id[batch.edge_index[0]], batch.n_id[batch.edge_index[1]]])
    assert torch.equal(ends, DATA.edge_index[:, batch.e_id])
    assert torch.equal(batch.edge_type, RELATION[batch.e_id])


def test_the_nodes_alone_have_no_edges():
    batch = next(iter(loader_of(links_of(uniform), batch_size=7)))
    assert batch.edge_index.shape == (2, 0) and len(batch.edge_type) == 0


def test_a_network_and_the_generator_learn():
    links = links_of(learned(), loss=SampledSoftmax(correction="both"))
    torch.manual_seed(0)
    node = torch.nn.Embedding(GRAPH.num_entities, 8)
    kind = torch.nn.Embedding(GRAPH.num_relations, 8)
    optimizer = torch.optim.Adam([*node.parameters(), *kind.parameters()], 0.05)
    before = [p.detach().clone() for p in links.adapter.sampler.parameters()]
    losses = []
    for _ in range(12):
        for batch in loader_of(links, batch_size=13, shuffle=True):
            vector = node(batch.n_id)
            asked = vector[batch.src_index] * kind(RELATION[batch.input_id])
            positive = (asked * vector[batch.dst_pos_index]).sum(1)
            negative = (asked.unsqueeze(1) * vector[batch.dst_neg_index]).sum(2)
            links.adapter.record_scores(positive, negative)
            loss = links.adapter.compute_loss(positive, negative)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
    after = links.adapter.sampler.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after))


def test_links_without_types_are_of_one_relation():
    data = Data(edge_index=DATA.edge_index, num_nodes=GRAPH.num_entities)
    links = links_of(uniform, data)
    batch = next(iter(loader_of(links, data, batch_size=7)))
    assert not links.adapter.last_draw[0].relation.any() and batch.dst_neg_index.shape == (7, 4)


def test_the_loader_may_have_links_of_its_own():
    some = torch.tensor([5, 3, 30])
    links = links_of(uniform, relation=RELATION[some])
    given = {"edge_label_index": DATA.edge_index[:, some]}
    batch = next(iter(loader_of(links, batch_size=3, **given)))
    assert torch.equal(links.adapter.last_draw[0].relation, RELATION[some])
    assert torch.equal(batch.n_id[batch.src_index], HEAD[some])


@pytest.mark.parametrize(
    "mode", [None, NegativeSampling("binary", 4), NegativeSampling("triplet", 5)]
)
def test_another_mode_or_number_is_refused(mode):
    loader = LinkLoader(DATA, links_of(uniform), neg_sampling=mode, batch_size=7)
    with pytest.raises(
        ValueError, match="draws k=4 negative targets for each link; build the loader"
    ):
        next(iter(loader))


def test_corruptions_that_replace_sources_are_refused():
    with pytest.raises(ValueError, match="with corruption=CorruptTail, not CorruptBoth"):
        links_of(uniform, corruption=CorruptBoth)


def test_a_link_loader_refuses_worker_processes():
    loader = loader_of(links_of(uniform), batch_size=7, num_workers=1)
    with pytest.raises(RuntimeError, match=r"in a worker process.*\n.*\n|set num_workers=0"):
        next(iter(loader))
