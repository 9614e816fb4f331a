"""Squared distances with biases: the formula of MuRE, and what dropout leaves alone."""

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.models import MuRE, RotE
from sparring.testing import check_model, tiny_graph

GRAPH, DIM = tiny_graph(), 6
QUERIES = tail_and_head_queries(GRAPH.triples[:7], GRAPH.num_relations)
ALL_ENTITIES = torch.arange(GRAPH.num_entities).unsqueeze(0)


def made(cls, **options):
    torch.manual_seed(0)
    model = cls(GRAPH, dim=DIM, init=1.0, **options).double()
    torch.nn.init.normal_(model.entity.weight)  # biases too
    return model


def test_mure_is_a_squared_distance_with_biases():
    model = made(MuRE).eval()
    entity, relation = model.entity.weight.tolist(), model.relation.weight.tolist()
    want = [
        [
            entity[a][DIM]
            + entity[c][DIM]
            - sum(
                (relation[r][j] * entity[a][j] + relation[r][DIM + j] - entity[c][j]) ** 2
                for j in range(DIM)
            )
            for c in range(GRAPH.num_entities)
        ]
        for a, r in zip(QUERIES.anchor.tolist(), QUERIES.relation.tolist())
    ]
    got = model(QUERIES)(ALL_ENTITIES)
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.double))


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.1, "n3": 0.1},
        {"sparse": True},
        {"dropout": 0.2, "entity_dropout": 0.2, "relation_dropout": 0.2},
        {"init_range": 0.3},
    ],
    ids=["regularized", "sparse", "dropout", "uniform"],
)
def test_every_option_of_mure_keeps_the_contract(options):
    torch.manual_seed(0)
    check_model(lambda graph: MuRE(graph, dim=DIM, **options))


@pytest.mark.parametrize("cls", [RotE, MuRE])
def test_biases_start_at_0(cls):
    model = cls(GRAPH, dim=DIM, init_range=0.5)
    assert model.entity.weight.shape == (GRAPH.num_entities, DIM + 1)
    assert not model.entity.weight[:, DIM].any()


@pytest.mark.parametrize("cls", [RotE, MuRE])
def test_biases_are_not_dropped(cls):
    """With all vectors at 0 a score is the sum of two biases, whatever is dropped."""
    model = made(cls, dropout=0.5, entity_dropout=0.5, relation_dropout=0.5).train()
    with torch.no_grad():
        model.entity.weight[:, :DIM] = 0.0
        model.relation.weight.zero_()
    bias = model.entity.weight[:, DIM]
    want = bias[QUERIES.anchor].unsqueeze(1) + bias
    torch.testing.assert_close(model(QUERIES)(ALL_ENTITIES), want)


@pytest.mark.parametrize("cls", [RotE, MuRE])
def test_rotations_and_diagonals_are_not_dropped(cls):
    model = made(cls, relation_dropout=0.9)
    with torch.no_grad():
        model.relation.weight[:, -DIM:] = 0.0  # translations
    assert torch.equal(model.train()(QUERIES)(ALL_ENTITIES), model.eval()(QUERIES)(ALL_ENTITIES))
