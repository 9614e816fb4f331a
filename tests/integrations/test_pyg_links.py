"""In the link loaders of PyTorch Geometric."""

import pytest
import torch

from sparring.corruption import CorruptBoth
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered
from sparring.testing import tiny_graph

pytest.importorskip("torch_geometric", reason="needs torch_geometric 2.8.1; see make test-hosts")
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader
from torch_geometric.sampler import BaseSampler, NegativeSampling, SamplerOutput
from torch_geometric.utils import k_hop_subgraph

from sparring.integrations import pyg as host

GRAPH = tiny_graph()
HEAD, RELATION, TAIL = GRAPH.triples.unbind(1)
NODES = torch.arange(GRAPH.num_entities)
DATA = Data(
    x=NODES.float().unsqueeze(1),
    edge_index=torch.stack([HEAD, TAIL]),
    edge_type=RELATION,
    num_nodes=GRAPH.num_entities,
)


def links_of(make, data=DATA, corruption=host.Tails, loss=None, **options):
    bridge = Adapter(make, corruption=corruption, loss=loss)
    bridge.judge = lambda triples, head: (triples * torch.tensor([3, 1, 5])).sum(1).cos()
    return host.LinkNegatives(data, bridge, **options)


def uniform(graph):
    return UniformFiltered(graph, k=4)


def learned(graph):
    return NSGenerator(graph, k=4, dim=8)


def loader_of(links, data=DATA, k=4, **options):
    return LinkLoader(data, links, neg_sampling=NegativeSampling("triplet", k), **options)


class Around(BaseSampler):
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


@pytest.mark.parametrize("around", [None, Around()], ids=["nodes", "neighbourhood"])
def test_a_batch_holds_wrong_targets_of_its_links(around):
    links = links_of(uniform, around=around)
    seen = []
    for batch in loader_of(links, batch_size=7, shuffle=True):
        row = batch.input_id
        seen += row.tolist()
        assert torch.equal(batch.n_id[batch.src_index], HEAD[row])
        assert torch.equal(batch.n_id[batch.dst_pos_index], TAIL[row])
        assert batch.dst_neg_index.shape == (len(row), 4)
        queries, drawn = links.bridge.last
        assert torch.equal(queries.relation, RELATION[row])
        assert torch.equal(batch.n_id[batch.dst_neg_index], drawn.ids)
        assert torch.equal(batch.x.flatten().long(), batch.n_id)
        known = set(map(tuple, GRAPH.triples.tolist()))
        for one, ids in zip(row.tolist(), batch.n_id[batch.dst_neg_index].tolist()):
            assert not any((HEAD[one].item(), RELATION[one].item(), e) in known for e in ids)
    assert sorted(seen) == list(range(len(HEAD)))


def test_the_neighbourhood_is_that_of_the_sampler_around():
    (batch,) = loader_of(links_of(uniform, around=Around()), batch_size=99)
    ends = torch.stack([batch.n_id[batch.edge_index[0]], batch.n_id[batch.edge_index[1]]])
    assert torch.equal(ends, DATA.edge_index[:, batch.e_id])
    assert torch.equal(batch.edge_type, RELATION[batch.e_id])


def test_the_nodes_alone_have_no_edges():
    batch = next(iter(loader_of(links_of(uniform), batch_size=7)))
    assert batch.edge_index.shape == (2, 0) and len(batch.edge_type) == 0


def test_a_network_and_the_generator_learn():
    links = links_of(learned, loss=SampledSoftmax(correction="both"))
    torch.manual_seed(0)
    node = torch.nn.Embedding(GRAPH.num_entities, 8)
    kind = torch.nn.Embedding(GRAPH.num_relations, 8)
    optimizer = torch.optim.Adam([*node.parameters(), *kind.parameters()], 0.05)
    before = [p.detach().clone() for p in links.bridge.sampler.parameters()]
    losses = []
    for _ in range(12):
        for batch in loader_of(links, batch_size=13, shuffle=True):
            vector = node(batch.n_id)
            asked = vector[batch.src_index] * kind(RELATION[batch.input_id])
            positive = (asked * vector[batch.dst_pos_index]).sum(1)
            negative = (asked.unsqueeze(1) * vector[batch.dst_neg_index]).sum(2)
            links.bridge.hear(positive, negative)
            loss = links.bridge.own_loss(positive, negative)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
    after = links.bridge.sampler.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after))


def test_links_without_types_are_of_one_relation():
    data = Data(edge_index=DATA.edge_index, num_nodes=GRAPH.num_entities)
    links = links_of(uniform, data)
    batch = next(iter(loader_of(links, data, batch_size=7)))
    assert not links.bridge.last[0].relation.any() and batch.dst_neg_index.shape == (7, 4)


def test_the_loader_may_have_links_of_its_own():
    some = torch.tensor([5, 3, 30])
    links = links_of(uniform, relation=RELATION[some])
    given = {"edge_label_index": DATA.edge_index[:, some]}
    batch = next(iter(loader_of(links, batch_size=3, **given)))
    assert torch.equal(links.bridge.last[0].relation, RELATION[some])
    assert torch.equal(batch.n_id[batch.src_index], HEAD[some])


@pytest.mark.parametrize(
    "mode", [None, NegativeSampling("binary", 4), NegativeSampling("triplet", 5)]
)
def test_another_mode_or_number_is_refused(mode):
    loader = LinkLoader(DATA, links_of(uniform), neg_sampling=mode, batch_size=7)
    with pytest.raises(ValueError, match="draws k=4 wrong targets for each link; build the loader"):
        next(iter(loader))


def test_sides_that_replace_sources_are_refused():
    with pytest.raises(ValueError, match="with corruption=Tails, not CorruptBoth"):
        links_of(uniform, corruption=CorruptBoth)


def test_worker_processes_are_refused():
    loader = loader_of(links_of(uniform), batch_size=7, num_workers=1)
    with pytest.raises(RuntimeError, match=r"in a worker process.*\n.*\n|set num_workers=0"):
        next(iter(loader))
