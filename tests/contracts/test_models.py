import pytest
import torch
from zoo import DERIVING_MODELS, EMBEDDING_MODELS, MODELS, NETWORKS

from sparring.corruption import make_queries, tail_and_head_queries
from sparring.models import RESCAL, ComplEx, DistMult, KGEModel, RotatE, TransE
from sparring.testing import check_model, tiny_graph, tiny_queries

OPTIONS = {
    "derived": {},
    "reciprocal-relations": {"reciprocal_relations": True},
    "regularized": {"l2": 0.1, "n3": 0.1},
    "sparse": {"sparse": True},
    "with-dropout": {"dropout": 0.2},
    "with-dropout-of-vectors": {"entity_dropout": 0.2, "relation_dropout": 0.2},
    "uniform-init": {"init_range": 0.3},
}
CONTRACTS = [
    *((name, option) for name in DERIVING_MODELS for option in OPTIONS),
    *((name, "derived") for name in NETWORKS),
]


def made(name, **options):
    torch.manual_seed(0)
    return MODELS[name](tiny_graph(), **options)


@pytest.mark.parametrize("name, options", CONTRACTS, ids=map("/".join, CONTRACTS))
def test_keeps_the_contract(name, options):
    torch.manual_seed(0)
    check_model(lambda graph: MODELS[name](graph, **OPTIONS[options]))


@pytest.mark.parametrize("name", DERIVING_MODELS)
def test_without_reciprocal_relations_both_queries_of_a_triple_score_it_alike(name):
    graph, model = tiny_graph(), made(name)
    tail, head = (
        make_queries(graph.triples, torch.full((len(graph.triples),), side), graph.num_relations)
        for side in (False, True)
    )
    from_head = model(tail)(tail.answer.unsqueeze(1))
    from_tail = model(head)(head.answer.unsqueeze(1))
    torch.testing.assert_close(from_head, from_tail)


@pytest.mark.parametrize("name", DERIVING_MODELS)
def test_with_reciprocal_relations_both_queries_of_a_triple_differ(name):
    graph, model = tiny_graph(), made(name, reciprocal_relations=True)
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    one, other = model(queries)(queries.answer.unsqueeze(1)).chunk(2)
    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("name", EMBEDDING_MODELS)
def test_relations_and_their_inverses_are_not_confused(name):
    """Rows r and r + R of the relation table serve the queries r and r + R."""
    graph, model = tiny_graph(), made(name, reciprocal_relations=True)
    queries = tiny_queries(graph)
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    before = model(queries)(everyone)
    changed = graph.num_relations + 1
    with torch.no_grad():
        model.relation.weight[changed] += 0.5
    moved = (model(queries)(everyone) - before).abs().amax(1) > 1e-6
    assert torch.equal(moved, queries.relation == changed)


@pytest.mark.parametrize("name", EMBEDDING_MODELS)
def test_sparse_gradients_are_the_dense_ones(name):
    graph = tiny_graph()
    queries = tiny_queries(graph)
    ids = torch.randint(11, (24, 4), generator=torch.Generator().manual_seed(0))
    dense, sparse = made(name, n3=0.1), made(name, n3=0.1, sparse=True)
    for model in (dense, sparse):
        scores = model(queries)(ids)
        ((scores**2).sum() + model.regularization(queries)).backward()
    for (where, one), two in zip(dense.named_parameters(), sparse.parameters()):
        assert two.grad.is_sparse, where
        torch.testing.assert_close(one.grad, two.grad.to_dense())


@pytest.mark.parametrize("name", DERIVING_MODELS)
def test_there_is_no_regularization_by_default(name):
    assert made(name).regularization(tiny_queries(tiny_graph())).item() == 0.0


@pytest.mark.parametrize("name", DERIVING_MODELS)
@pytest.mark.parametrize("kind", ["l2", "n3"])
def test_regularization_grows_with_its_weight(name, kind):
    queries = tiny_queries(tiny_graph())
    small, large = (made(name, **{kind: weight}).regularization(queries) for weight in (0.1, 0.2))
    torch.testing.assert_close(large, 2 * small)
    assert small > 0


@pytest.mark.parametrize("kind", ["dropout", "entity_dropout", "relation_dropout"])
@pytest.mark.parametrize("name", DERIVING_MODELS)
def test_dropout_is_for_training(name, kind):
    graph, model = tiny_graph(), made(name, **{kind: 0.5})
    queries = tiny_queries(graph)
    scores = lambda: model(queries)(queries.answer.unsqueeze(1))
    model.eval()
    assert torch.equal(scores(), scores())
    model.train()
    assert not torch.equal(scores(), scores())


@pytest.mark.parametrize("name", DERIVING_MODELS)
def test_init_sets_the_spread_of_entity_vectors(name):
    torch.manual_seed(0)
    model = MODELS[name](tiny_graph(num_entities=2000), init=0.3)
    assert abs(model.entity.weight[:, :8].std().item() - 0.3) < 0.01


@pytest.mark.parametrize("name", DERIVING_MODELS)
def test_init_range_bounds_entity_vectors(name):
    torch.manual_seed(0)
    model = MODELS[name](tiny_graph(num_entities=2000), init_range=0.3)
    vectors = model.entity.weight[:, :8]
    assert vectors.abs().max() <= 0.3
    assert abs(vectors.std().item() - 0.3 / 3**0.5) < 0.01


def test_an_initial_distribution_is_normal_or_uniform():
    with pytest.raises(ValueError, match=r"got init=0\.1, init_range=0\.3"):
        DistMult(tiny_graph(), dim=4, init=0.1, init_range=0.3)
    with pytest.raises(ValueError, match="got init=None, init_range=-1"):
        DistMult(tiny_graph(), dim=4, init_range=-1.0)


@pytest.mark.parametrize("cls", [ComplEx, RotatE])
def test_complex_models_need_an_even_dim(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__} needs a positive dim in multiples of 2"):
        cls(tiny_graph(), dim=7)


@pytest.mark.parametrize("cls", [DistMult, RESCAL, TransE])
def test_a_model_needs_a_positive_dim(cls):
    with pytest.raises(ValueError, match="needs a positive dim in multiples of 1; got 0"):
        cls(tiny_graph(), dim=0)


@pytest.mark.parametrize("cls", [TransE, RotatE])
def test_a_distance_has_norm_1_or_2(cls):
    with pytest.raises(ValueError, match="norm must be 1 or 2; got 3"):
        cls(tiny_graph(), dim=4, norm=3)


def test_the_default_regularization_is_zero():
    class Blank(KGEModel):
        def forward(self, queries):
            return lambda ids: torch.zeros(len(queries), ids.shape[1])

    assert Blank().regularization(tiny_queries(tiny_graph())).item() == 0.0
