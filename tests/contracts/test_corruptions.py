import pytest
import torch
from zoo import CORRUPTIONS

from sparring.testing import tiny_graph


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_query_is_a_triple_without_one_of_its_ends(name):
    graph = tiny_graph()
    queries = CORRUPTIONS[name](graph)(graph.triples, torch.Generator().manual_seed(0))
    read = torch.stack([queries.anchor, queries.relation, queries.answer], 1)
    backwards = queries.relation >= graph.num_relations
    read[backwards] = read[backwards].flip(1) - torch.tensor([0, graph.num_relations, 0])
    copies = len(read) // len(graph.triples)
    assert torch.equal(read, graph.triples.repeat(copies, 1))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_weights_are_positive_and_one_on_average(name):
    graph = tiny_graph()
    queries = CORRUPTIONS[name](graph)(graph.triples, torch.Generator().manual_seed(0))
    assert (queries.weight > 0).all()
    torch.testing.assert_close(queries.weight.mean(), torch.tensor(1.0))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_makes_the_same_queries(name):
    graph = tiny_graph()
    corruption = CORRUPTIONS[name](graph)
    state = torch.get_rng_state()
    one, two = (corruption(graph.triples, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.relation, two.relation)
    assert torch.equal(state, torch.get_rng_state())
