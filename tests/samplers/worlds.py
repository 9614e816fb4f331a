"""Small graphs and the checks that tests of samplers share."""

import math

import torch

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup


def graph_of(*triples, num_entities=6, num_relations=2, entity_type=None):
    """A training graph of (head, relation, tail) triples."""
    pairs = None if entity_type is None else torch.tensor(entity_type, dtype=torch.long).view(-1, 2)
    triples = torch.tensor(triples, dtype=torch.long).view(-1, 3)
    return TrainGraph(triples, num_entities, num_relations, pairs)


def make_queries(anchor, relation, answer, times=1):
    """The same query, `times` over."""
    ids = (torch.full((times,), x) for x in (anchor, relation, answer))
    return Queries(*ids, torch.ones(times))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def scores_of(*scores, times=1):
    """A scorer that gives every one of `times` queries these scores."""
    table = torch.tensor(scores, dtype=torch.float32).expand(times, -1)
    return lambda ids: table.gather(1, ungroup(ids, times))


def no_scores(ids):
    raise AssertionError("this sampler draws without scores")


def draw(sampler, queries, score=no_scores, seed=0):
    return sampler.sample(queries, score, rng(seed))


def counted(drawn, batch):
    """Which entities count for the first query, ascending, each as often as offered."""
    return ungroup(drawn.ids, batch)[0][drawn.mask[0]].sort().values.tolist()


def support(sampler, queries, score=no_scores, rounds=15):
    """Every entity that counts for any of the queries in some round."""
    source, found = rng(), set()
    for _ in range(rounds):
        drawn = sampler.sample(queries, score, source)
        found |= set(ungroup(drawn.ids, len(queries))[drawn.mask].tolist())
    return found


def misfit(sampler, queries, num_entities, score=no_scores, draws=50_000):
    """Sigmas by which chi-square of draws against `log_prob` exceeds its mean.

    All queries must be the same. Draws that cannot happen count as infinitely far off.
    """
    everyone = torch.arange(num_entities).unsqueeze(0)
    expected = sampler.log_prob(queries, everyone)[0].double().exp()
    torch.testing.assert_close(expected.sum(), torch.ones((), dtype=torch.double))
    return chi_square(_tally(sampler, queries, num_entities, score, draws), expected)


def chi_square(tally, share):
    """Sigmas by which the tally is off the shares; rare entities share a cell."""
    if tally[share == 0].any():
        return math.inf
    expected, order = (share * tally.sum()).sort(descending=True)
    cell = torch.arange(len(share)).clamp(max=int((expected >= 5).sum()) - 1)
    tally, expected = (
        torch.zeros(int(cell[-1]) + 1, dtype=torch.double).index_add(0, cell, column)
        for column in (tally[order], expected)
    )
    freedom = len(expected) - 1
    statistic = ((tally - expected) ** 2 / expected).sum().item()
    return (statistic - freedom) / math.sqrt(2 * max(freedom, 1))


def _tally(sampler, queries, num_entities, score, draws):
    source = rng(1)
    tally = torch.zeros(num_entities, dtype=torch.double)
    while tally.sum() < draws:
        drawn = sampler.sample(queries, score, source)
        tally += torch.bincount(drawn.ids.flatten(), minlength=num_entities)
    return tally
