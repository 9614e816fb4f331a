"""MIDX: cells of the main model's vectors."""

import pytest
import torch

from sparring.generators import MIDX
from sparring.models import DistMult, TransE
from sparring.testing import table_scorer, tiny_graph, tiny_queries

GRAPH = tiny_graph()
QUERIES = tiny_queries(GRAPH)
EVERYONE = torch.arange(GRAPH.num_entities).unsqueeze(0)


def scorer(model=DistMult):
    torch.manual_seed(0)
    return model(GRAPH, dim=8)(QUERIES)


def draw(made, score, seed=0):
    return made.sample(QUERIES, torch.no_grad()(score), torch.Generator().manual_seed(seed))


def density(made, score):
    """Log-density of every entity, read off many draws."""
    found = torch.full((len(QUERIES), GRAPH.num_entities), torch.nan)
    for seed in range(30):
        drawn = draw(made, score, seed)
        found.scatter_(1, drawn.ids, drawn.log_q)
    return found


@pytest.mark.parametrize("model", [DistMult, TransE])
def test_with_a_code_for_every_entity_it_is_the_softmax_of_the_model(model):
    score = scorer(model)
    made = MIDX(GRAPH, k=50, codes=11, temperature=0.7)
    want = (score(EVERYONE) / 0.7).log_softmax(1)
    drawn = draw(made, score)
    torch.testing.assert_close(drawn.log_q, want.gather(1, drawn.ids))
    at_answer = want.gather(1, QUERIES.answer.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(drawn.answer_log_q, at_answer)


def test_without_vectors_it_is_the_softmax_of_the_most_central_entities():
    table = torch.randn(len(QUERIES), 11, generator=torch.Generator().manual_seed(1))
    made = MIDX(GRAPH, k=400, codes=11)
    drawn = draw(made, table_scorer(table))
    alone = made.cells.size[made.cells.cell] == 1
    cell = made.cells.cell
    middle = made.cells.order[made.cells.central][cell]
    mass = made.cells.size[cell]
    first = middle == torch.arange(11)
    weight = table[:, middle].exp()
    want = (weight / (weight[:, first] * mass[first]).sum(1, keepdim=True)).log()
    torch.testing.assert_close(drawn.log_q, want.gather(1, drawn.ids))
    assert alone.any()


def test_a_cell_weighs_its_size_times_the_softmax_of_its_center():
    score = scorer()
    made = MIDX(GRAPH, k=200, codes=2)
    got = density(made, score)
    index = made.cells
    logit = score.query @ index.center.T
    mass = index.size * logit.exp()
    want = (logit.exp() / mass.sum(1, keepdim=True)).log()[:, index.cell].detach()
    seen = ~got.isnan()
    assert seen.float().mean() > 0.9
    torch.testing.assert_close(got[seen], want[seen])


def test_each_half_of_a_vector_goes_to_the_nearest_code_of_its_book():
    score = scorer()
    made = MIDX(GRAPH, k=2, codes=3)
    draw(made, score)
    halves = score.embeddings(EVERYONE)[0].tensor_split(2, 1)
    first, second = (
        torch.cdist(half, codes).argmin(1)
        for half, codes in zip(halves, (made.cells.codebook_1, made.cells.codebook_2))
    )
    assert torch.equal(made.cells.cell, 3 * first + second)


def test_the_index_is_rebuilt_every_so_many_steps():
    made = MIDX(GRAPH, k=2, codes=2, rebuild_every=3)
    builds = []
    for step in range(7):
        draw(made, scorer(), seed=step)
        builds.append(id(made.cells))
    assert builds[0] == builds[1] == builds[2] != builds[3]
    assert builds[3] == builds[5] != builds[6]


def test_an_audit_does_not_rebuild_the_index():
    made = MIDX(GRAPH, k=2, codes=2, rebuild_every=1)
    draw(made, scorer())
    built = made.cells
    draw(made.eval(), scorer())
    assert made.cells is built
    assert made.steps == 1


def test_a_rebuild_sees_vectors_that_have_moved():
    score = scorer()
    made = MIDX(GRAPH, k=2, codes=11, rebuild_every=1)
    draw(made, score)
    score.entity.weight.data += 0.05 * torch.randn(11, 8)
    drawn = draw(made, score)
    want = score(EVERYONE).log_softmax(1)
    torch.testing.assert_close(drawn.log_q, want.gather(1, drawn.ids))


def test_the_scores_it_asks_for_are_announced():
    made = MIDX(GRAPH, k=2, codes=3)
    asked = []

    def score(ids):
        asked.append(ids.shape[1])
        return torch.zeros(len(QUERIES), ids.shape[1])

    made.sample(QUERIES, score, torch.Generator().manual_seed(0))
    assert asked == [made.capabilities.num_extra_scores] == [9]


@pytest.mark.parametrize("options", [{"codes": 0}, {"rebuild_every": 0}])
def test_an_index_has_codes_and_steps(options):
    with pytest.raises(ValueError, match="codes and rebuild_every are at least 1; got codes="):
        MIDX(GRAPH, k=2, **options)


def test_an_index_is_restored_with_its_codes():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    made, fresh = (MIDX(graph, k=2, codes=3) for _ in range(2))
    torch.manual_seed(0)
    made.sample(queries, DistMult(graph, dim=8)(queries), torch.Generator())
    fresh.load_state_dict(made.state_dict())
    assert fresh.steps == 1
    parts = vars(fresh.cells).items()
    assert all(torch.equal(getattr(made.cells, name), part) for name, part in parts)
