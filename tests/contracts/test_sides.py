import pytest
import torch
from zoo import SIDES

from sparring.corruption import CORRUPTIONS as REGISTERED
from sparring.testing import tiny_graph


@pytest.mark.parametrize("registered", REGISTERED.values(), ids=REGISTERED)
def test_every_choice_of_sides_is_in_the_zoo(registered):
    graph = tiny_graph()
    assert any(type(make(graph)) is registered for make in SIDES.values())


@pytest.mark.parametrize("name", SIDES)
def test_every_query_is_a_triple_read_from_one_of_its_ends(name):
    graph = tiny_graph()
    queries = SIDES[name](graph)(graph.triples, torch.Generator().manual_seed(0))
    read = torch.stack([queries.anchor, queries.relation, queries.answer], 1)
    backwards = queries.relation >= graph.num_relations
    read[backwards] = read[backwards].flip(1) - torch.tensor([0, graph.num_relations, 0])
    copies = len(read) // len(graph.triples)
    assert torch.equal(read, graph.triples.repeat(copies, 1))


@pytest.mark.parametrize("name", SIDES)
def test_weights_are_positive_and_one_on_average(name):
    graph = tiny_graph()
    queries = SIDES[name](graph)(graph.triples, torch.Generator().manual_seed(0))
    assert (queries.weight > 0).all()
    torch.testing.assert_close(queries.weight.mean(), torch.tensor(1.0))


@pytest.mark.parametrize("name", SIDES)
def test_the_same_seed_asks_the_same_queries(name):
    graph = tiny_graph()
    corruption = SIDES[name](graph)
    state = torch.get_rng_state()
    one, two = (corruption(graph.triples, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.relation, two.relation)
    assert torch.equal(state, torch.get_rng_state())
