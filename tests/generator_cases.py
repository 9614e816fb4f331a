"""Queries, fixed scores and feedback for tests of generators."""

import itertools

import torch
from torch import nn

from sparring.batch import Feedback, Negatives, Queries
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup

# two of four belong to entity 0: lists of all of them are draws from (1/2, 1/4, 1/4)
ENTITIES = (0, 0, 1, 2)
PROBABILITY = torch.tensor([0.5, 0.25, 0.25])


def small_graph(entities=3):
    """One relation; entity 0 has the last entity as its tail."""
    return TrainGraph(torch.tensor([[0, 0, entities - 1]]), entities, 1)


def same_query(batch, answer=-1):
    """The query (0, 0, ?) many times; its answer is no entity unless given."""
    zero = torch.zeros(batch, dtype=torch.long)
    return Queries(zero, zero, zero + answer, torch.ones(batch))


def every_list(k):
    """All lists of k draws, which are equally likely."""
    return torch.tensor(list(itertools.product(ENTITIES, repeat=k)))


def scored_queries(queries=6, entities=20, seed=0):
    """A graph, queries of one anchor each, and scores of all entities for them."""
    rng = torch.Generator().manual_seed(seed)
    anchor = torch.arange(queries)
    zero = torch.zeros(queries, dtype=torch.long)
    asked = Queries(anchor, zero, zero + entities - 1, torch.ones(queries))
    return small_graph(entities), asked, torch.randn(queries, entities, generator=rng)


def no_score(ids):
    """A main model that must not be asked."""
    raise AssertionError("this generator needs no scores")


def feedback(queries, drawn, score):
    """Feedback in which entity e scores score[e]."""
    negative = score[ungroup(drawn.ids, len(queries))]
    return Feedback(queries, drawn, torch.zeros(len(queries)), negative, torch.zeros_like(negative))


def negatives_of(queries, ids, **fields):
    shape = ungroup(ids, len(queries)).shape
    plain = {
        "mask": torch.ones(shape, dtype=torch.bool),
        "weight": torch.ones(shape),
        "p_false_negative": torch.zeros(shape),
        "log_policy": torch.zeros(shape),
    }
    return Negatives((ids,), **plain | fields)


class TableModel(nn.Module):
    """A generator's model that gives every entity a logit of its own, the same for all queries."""

    def __init__(self, entities):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(entities))
        self.steps = 0

    def forward(self, queries):
        return lambda ids: self.logit[ungroup(ids, len(queries))]

    def regularization(self, queries):
        return torch.zeros(())

    def after_step(self):
        self.steps += 1
