"""DURA by hand, and where entity and relation dropout apply."""

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.embedding import EmbeddingTable
from sparring.models import RESCAL, ComplEx, DistMult, RotatE, TransE
from sparring.testing import tiny_graph

GRAPH, DIM = tiny_graph(), 4
QUERIES = tail_and_head_queries(GRAPH.triples[:5], GRAPH.num_relations)
ALL_ENTITIES = torch.arange(GRAPH.num_entities).unsqueeze(0)


def made(cls, **options):
    torch.manual_seed(0)
    return cls(GRAPH, dim=DIM, init=1.0, **options).double()


def matrix_of(cls, row):
    """The matrix R of a relation, so that the score of a tail query is h' R t."""
    if cls is RESCAL:
        return row.reshape(DIM, DIM)
    if cls is DistMult:
        return row.diag()
    real, imaginary = row.chunk(2)
    return torch.cat(
        [
            torch.cat([real.diag(), imaginary.diag()], 1),
            torch.cat([-imaginary.diag(), real.diag()], 1),
        ]
    )


@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("cls", [DistMult, ComplEx, RESCAL])
def test_dura_is_the_sum_of_the_papers_norms(cls, reciprocal):
    model = made(cls, dura=0.3, reciprocal_relations=reciprocal)
    scores = model(QUERIES)(QUERIES.answer.unsqueeze(1)).squeeze(1)
    total = 0.0
    for row, score in enumerate(scores):
        anchor, relation, answer = QUERIES.anchor[row], QUERIES.relation[row], QUERIES.answer[row]
        head, tail = model.entity.weight[anchor], model.entity.weight[answer]
        if relation >= GRAPH.num_relations and not reciprocal:
            head, tail = tail, head
        matrix = matrix_of(cls, model.relation.weight[relation % len(model.relation.weight)])
        torch.testing.assert_close(head @ matrix @ tail, score)
        parts = (head, tail, head @ matrix, tail @ matrix.T)
        total += sum((part**2).sum().item() for part in parts)
    want = torch.tensor(0.3 * total / len(QUERIES), dtype=torch.double)
    torch.testing.assert_close(model.regularization(QUERIES), want)


@pytest.mark.parametrize("many", [2, 24], ids=["few-queries", "many-queries"])
def test_a_matrix_is_penalized_as_often_as_it_occurs(many):
    """Whether there are more queries than matrices or not."""
    model = made(RESCAL, l2=0.2, n3=0.3, reciprocal_relations=True)
    queries = tail_and_head_queries(GRAPH.triples[: many // 2], GRAPH.num_relations)
    rows = [model.entity.weight[queries.anchor], model.entity.weight[queries.answer]]
    sizes = torch.cat([*rows, model.relation.weight[queries.relation]], 1).abs()
    want = (0.2 * sizes**2 + 0.3 * sizes**3).sum() / len(queries)
    torch.testing.assert_close(model.regularization(queries), want)


def test_dura_adds_to_other_penalties():
    one, other, both = (
        made(ComplEx, **options).regularization(QUERIES)
        for options in ({"dura": 0.3}, {"n3": 0.2}, {"dura": 0.3, "n3": 0.2})
    )
    torch.testing.assert_close(both, one + other)


@pytest.mark.parametrize("cls", [DistMult, ComplEx, RESCAL, TransE, RotatE])
def test_candidates_are_the_table_itself_unless_something_is_dropped(cls):
    """So that compiled loops score its rows without copying them."""
    assert isinstance(made(cls)(QUERIES).entity, EmbeddingTable)
    model = made(cls, entity_dropout=0.5)
    assert not isinstance(model(QUERIES).entity, EmbeddingTable)
    assert isinstance(model.eval()(QUERIES).entity, EmbeddingTable)


def test_numbers_of_a_vector_are_dropped_and_the_others_scaled():
    model = made(DistMult, entity_dropout=0.25)
    with torch.no_grad():
        model.entity.weight.fill_(1.0)
    ids = ALL_ENTITIES.repeat(1, 1000)
    values, counts = model.candidates(ids).unique(return_counts=True)
    torch.testing.assert_close(values, torch.tensor([0.0, 4 / 3], dtype=torch.double))
    dropped = counts[0].item() / counts.sum().item()
    assert abs(dropped - 0.25) < 5 * (0.25 * 0.75 / counts.sum().item()) ** 0.5


@pytest.mark.parametrize("kind", ["entity_dropout", "relation_dropout"])
def test_each_vector_of_a_batch_is_dropped_by_itself(kind):
    model = made(DistMult, **{kind: 0.5})
    with torch.no_grad():
        model.entity.weight.fill_(1.0)
        model.relation.weight.fill_(1.0)
    query = model(QUERIES).query
    assert len(query.unique(dim=0)) > 2
    assert set(query.unique().tolist()) == {0.0, 2.0}


def test_everything_dropped_leaves_no_score():
    for kind in ("dropout", "entity_dropout", "relation_dropout"):
        assert not made(ComplEx, **{kind: 1.0})(QUERIES)(ALL_ENTITIES).any()
