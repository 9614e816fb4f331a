"""Scorers: any vectors, chunks, and scores that are computed already."""

import pytest
import torch

from sparring.models import ComplEx, DistMult, RotatE, RotE, TransE, scorers
from sparring.models.scorers import BroadcastScorer, PrecomputedScorer, negative_modulus_sum
from sparring.testing import tiny_graph, tiny_queries

GRAPH = tiny_graph()
QUERIES = tiny_queries(GRAPH)
IDS = torch.randint(11, (24, 6), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("model", [DistMult, ComplEx, TransE, RotatE, RotE])
def test_a_scorer_scores_an_entitys_vector_as_the_entity(model):
    torch.manual_seed(0)
    score = model(GRAPH, dim=8)(QUERIES)
    for ids in (IDS, IDS[:1], IDS[:3]):
        torch.testing.assert_close(score.score_embeddings(score.embeddings(ids)), score(ids))


@pytest.mark.parametrize("lists", [1, 3, 24])
def test_a_broadcast_in_chunks_gives_the_same_scores(monkeypatch, lists):
    rng = torch.Generator().manual_seed(0)
    query, entity = torch.randn(24, 6, generator=rng), torch.randn(11, 6, generator=rng)
    score = BroadcastScorer(query, lambda ids: entity[ids], negative_modulus_sum)
    whole = score(IDS[:lists])
    monkeypatch.setattr(scorers, "MAX_BROADCAST_ELEMENTS", 1)
    assert torch.equal(score(IDS[:lists]), whole)


@pytest.mark.parametrize("lists", [1, 3, 24])
def test_precomputed_scores_are_looked_up(lists):
    table = torch.randn(24, 11, generator=torch.Generator().manual_seed(0))
    each = IDS[:lists].repeat_interleave(24 // lists, dim=0)
    assert torch.equal(PrecomputedScorer(table)(IDS[:lists]), table.gather(1, each))
