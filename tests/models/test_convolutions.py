"""The convolutions, against PyTorch Geometric and the paper's formula."""

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.models.adjacency import RelationalAdjacency
from sparring.testing import tiny_graph

nn = pytest.importorskip("torch_geometric.nn", reason="the extra graph is not installed")
convolutions = pytest.importorskip("sparring.models.convolutions")

GRAPH = tiny_graph()
RELATIONS = GRAPH.num_relations
QUERIES = tail_and_head_queries(GRAPH.triples[:6], RELATIONS)


def test_the_relational_convolution_is_that_of_pytorch_geometric():
    torch.manual_seed(0)
    graph, x = RelationalAdjacency(GRAPH), torch.randn(11, 5)
    ours, theirs = (
        convolutions.RelationalConvolution(5, RELATIONS, 3),
        nn.RGCNConv(5, 5, 2 * RELATIONS, 3),
    )
    with torch.no_grad():
        theirs.weight.copy_(ours.basis)
        theirs.comp.copy_(ours.coefficient)
        theirs.root.copy_(ours.self_loop.weight.T)
        theirs.bias.copy_(ours.self_loop.bias)
    edges = torch.stack([graph.neighbor, graph.target[graph.row]])
    keep = graph.edges_without(QUERIES)
    kept = keep.bool()
    want = theirs(x, edges[:, kept], graph.relation[graph.row][kept])
    torch.testing.assert_close(ours(x, graph, keep), want)


def correlated(a, b):
    return torch.stack(
        [sum(a[i] * b[(i + k) % len(b)] for i in range(len(b))) for k in range(len(b))]
    )


PHI = {"corr": correlated, "mult": lambda a, b: a * b, "sub": lambda a, b: a - b}


@pytest.mark.parametrize("composition", PHI)
def test_the_composed_convolution_is_that_of_the_formula(composition):
    torch.manual_seed(0)
    compose, phi = convolutions.COMPOSITIONS[composition], PHI[composition]
    layer = convolutions.CompositionConvolution(5, compose=compose, dropout=0.0).eval()
    torch.nn.init.normal_(layer.norm.running_mean)
    graph, x, relation = (
        RelationalAdjacency(GRAPH),
        torch.randn(11, 5),
        torch.randn(2 * RELATIONS, 5),
    )
    weight = graph.normalize(graph.all_edges())
    total = torch.stack([layer.w_self_loop(phi(row, layer.self_loop_relation[0])) for row in x])
    for fact, row in enumerate(graph.row.tolist()):
        target, r = int(graph.target[row]), int(graph.relation[row])
        linear = layer.w_inverse if r >= RELATIONS else layer.w_original
        message = phi(x[graph.neighbor[fact]], relation[r])
        total[target] = total[target] + weight[fact] * linear(message)
    got, relations = layer(x, relation, graph, weight)
    torch.testing.assert_close(got, torch.tanh(layer.norm(total / 3)))
    torch.testing.assert_close(relations, layer.w_relation(relation))
