import math

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.models import DistMult
from sparring.models.base import KGEModel
from sparring.training.curated import CuratedNegatives, curated_terms

TRIPLES = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 1, 3], [3, 1, 4]])
REJECTED = torch.tensor([[0, 0, 4], [2, 1, 0]])
GRAPH = TrainGraph(TRIPLES, num_entities=5, num_relations=2, rejected=REJECTED)


class Fixed(KGEModel):
    """The same scores for every query."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, queries):
        return lambda ids: self.scores[ids].expand(len(queries), -1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DistMult(GRAPH, dim=8)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_minus_the_log_probability_of_being_false(model):
    # with so many uniform entities, the sample of Z is all but exact
    term = CuratedNegatives(GRAPH, weight=0.5, batch_size=2)
    term.num_uniform, term.batch_size = 200_000, 400
    queries = tail_and_head_queries(REJECTED, 2)
    score = model(queries)
    everything = score(torch.arange(5).unsqueeze(0)).logsumexp(1)
    p = (score(queries.answer.unsqueeze(1)).squeeze(1) - everything).exp()
    each = -(1 - p / (1 + p)).log()  # p / (1 + p) = e^s / (e^s + Z)
    assert term(model, rng()).item() == pytest.approx(0.5 * 2 / 4 * each.mean().item(), rel=0.02)


def test_only_rejected_answers_are_pushed(model):
    scores = torch.zeros(5, requires_grad=True)
    term = CuratedNegatives(GRAPH)
    term(Fixed(scores), rng()).backward()
    assert (scores.grad >= 0).all()
    ends = set(REJECTED[:, [0, 2]].flatten().tolist())
    assert set(scores.grad.nonzero().flatten().tolist()) == ends


def test_training_lowers_rejected_triples(model):
    term = CuratedNegatives(GRAPH)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    before = term(model, rng()).item()
    for step in range(50):
        optimizer.zero_grad()
        term(model, rng(step)).backward()
        optimizer.step()
    assert term(model, rng()).item() < before / 2
    assert math.isfinite(before)


def test_without_rejected_triples_there_is_no_term():
    assert curated_terms(TrainGraph(TRIPLES, 5, 2), weight=1.0) == ()
    assert curated_terms(GRAPH, weight=0.0) == ()
    (term,) = curated_terms(GRAPH, weight=2.0)
    assert term.weight == 2.0 * 2 / 4 and not term.state_dict()
