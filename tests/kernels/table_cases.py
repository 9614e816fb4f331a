"""A small table, and a step that uses it in three ways."""

import torch

from sparring.embedding import EmbeddingTable
from sparring.models.scorers import (
    BiasedSquaredL2Scorer,
    ComplexL1Scorer,
    DotScorer,
    L1Scorer,
    L2Scorer,
)

SCORERS = {
    "product": DotScorer,
    "distance": L2Scorer,
    "biased": BiasedSquaredL2Scorer,
    "city-block": L1Scorer,
    "moduli": ComplexL1Scorer,
}
ROWS, DIM, BATCH = 30, 6, 12


def made(*, sparse=False, dtype=torch.float32):
    torch.manual_seed(0)
    return EmbeddingTable(ROWS, DIM, sparse=sparse).to(dtype)


def ids(lists, width=5):
    return torch.randint(ROWS, (lists, width), generator=torch.Generator().manual_seed(lists))


def learnt(scorer, entity, lists):
    """Scores and gradients of a step with three uses of the table, as a main model makes them."""
    torch.manual_seed(1)
    shift = torch.randn(BATCH, DIM, dtype=entity.weight.dtype, requires_grad=True)
    anchor, answer = torch.randint(ROWS, (2, BATCH))
    score = scorer(entity(anchor) + shift, entity)
    scores = torch.cat([score(answer.unsqueeze(1)), score(ids(lists))], 1)
    entity.weight.grad = None
    (scores * torch.randn_like(scores)).sum().backward()
    return scores.detach(), shift.grad, entity.weight.grad
