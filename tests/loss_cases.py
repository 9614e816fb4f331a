"""Scores, negatives and expectations for tests of losses."""

import itertools
import math

import torch

from sparring.batch import Negatives, Queries
from sparring.corruption import CorruptBoth

RIGHT = torch.tensor([2.0, -1.0])
WRONG = torch.tensor([[0.0, -1.0, 3.0], [1.0, 0.5, -2.0]])
P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.double)
Q = torch.tensor([0.05, 0.5, 0.1, 0.25, 0.1], dtype=torch.double)
SIZE = len(P)
CLOSE = {"atol": 1e-4, "rtol": 0.0}


def make_negatives(batch=3, k=4, seed=0, **fields):
    """Negatives that all count, with the fields as on_example; log-densities are random."""
    rng = torch.Generator().manual_seed(seed)
    shape = (batch, k)
    plain = {
        "blocks": (torch.zeros(shape, dtype=torch.long),),
        "mask": torch.ones(shape, dtype=torch.bool),
        "weight": torch.ones(shape),
        "p_false_negative": torch.zeros(shape),
        "log_policy": torch.zeros(shape),
        "log_q": -3 * torch.rand(shape, generator=rng),
        "answer_log_q": -3 * torch.rand(batch, generator=rng),
    }
    return Negatives(**plain | fields)


def scores(batch=3, k=4, seed=1, dtype=torch.double):
    """Random scores of answers and negatives, with gradients."""
    rng = torch.Generator().manual_seed(seed)
    positive = torch.randn(batch, generator=rng, dtype=dtype)
    negative = torch.randn(batch, k, generator=rng, dtype=dtype)
    return positive.requires_grad_(), negative.requires_grad_()


def ones(batch=3):
    return torch.ones(batch)


def minimum(loss, start, steps=60):
    """Where a smooth function of one tensor is smallest."""
    at = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([at], max_iter=steps, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(at)
        value.backward()
        return value

    optimizer.step(closure)
    return at.detach()


def centred(values):
    return values - values.mean()


def on_example(loss, negatives=None, weight=None):
    drawn = make_negatives(2, 3) if negatives is None else negatives
    return loss(RIGHT, WRONG, drawn, ones(2) if weight is None else weight)


def sigmoid_loss(score):
    return math.log1p(math.exp(-score))


def expected(loss, score, times=1.0):
    """The loss over answers from P, with negatives at their expectation: all, weighed by Q."""
    share = (times * Q).expand(SIZE, SIZE)
    drawn = make_negatives(
        SIZE, SIZE, weight=share, log_q=Q.log().expand(SIZE, SIZE), answer_log_q=Q.log()
    )
    return loss(score, score.expand(SIZE, SIZE), drawn, P)


def every_draw(loss, score, k):
    """The loss over answers from P and all lists of k draws from Q, each by its probability."""
    lists = torch.tensor(list(itertools.product(range(SIZE), repeat=k + 1)))
    answer, ids = lists[:, 0], lists[:, 1:]
    drawn = make_negatives(len(lists), k, log_q=Q.log()[ids], answer_log_q=Q.log()[answer])
    return loss(score[answer], score[ids], drawn, P[answer] * Q[ids].prod(1))


def flat():
    return torch.zeros(SIZE, dtype=torch.double)


def evaluate(loss, positive, negative, drawn):
    return loss(positive, negative, drawn, ones(len(positive)))


def distinct_queries(graph):
    """Each query of the graph once, with the multi-hot row of its known answers."""
    everything = CorruptBoth(graph)(graph.triples, torch.Generator())
    pair = torch.stack([everything.anchor, everything.relation], 1).unique(dim=0)
    anchor, relation = pair.unbind(1)
    queries = Queries(anchor, relation, torch.zeros_like(anchor), torch.ones(len(pair)))
    row, entity = graph.known.answers(queries)
    label = torch.zeros(len(pair), graph.num_entities)
    label[row, entity] = 1.0
    return queries, label
