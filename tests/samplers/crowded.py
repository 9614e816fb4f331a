"""One query with many known answers, asked many times, and a chi-square test of its draws."""

import math

import torch

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.groups import ungroup
from sparring.testing import tiny_graph

BATCH, K = 300, 60
GRAPH = tiny_graph()


def crowded_queries() -> Queries:
    """The training query with most known answers, over and over."""
    queries = tail_and_head_queries(GRAPH.triples, GRAPH.num_relations)
    row = GRAPH.known.count(queries).argmax()
    return queries[row.repeat(BATCH)]


QUERIES = crowded_queries()
KNOWN = GRAPH.known.contains(QUERIES[:1], torch.arange(GRAPH.num_entities).unsqueeze(0))[0]


QUERIES = crowded_queries()
KNOWN = GRAPH.known.contains(QUERIES[:1], torch.arange(GRAPH.num_entities).unsqueeze(0))[0]


def assert_follows(ids, share):
    """Raise AssertionError unless counts of ids look like draws from `share`.

    The cube root of a chi-square over its degrees of freedom is nearly normal (Wilson &
    Hilferty, 1931).
    """
    counts = torch.bincount(ids.flatten(), minlength=len(share)).double()
    share = share.double()
    torch.testing.assert_close(share.sum(), torch.tensor(1.0, dtype=torch.double))
    assert not counts[share == 0].any(), "drawn although impossible"
    expected = (counts.sum() * share)[share > 0]
    assert expected.min() > 5, "too few draws to tell"
    chi = ((counts[share > 0] - expected) ** 2 / expected).sum().item()
    freedom = len(expected) - 1
    spread = 2 / (9 * freedom)
    sigma = ((chi / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    assert sigma < 5, f"{sigma:.1f} sigma from the stated distribution"


def with_rest(share):
    """The share of what does not count comes last."""
    return torch.cat([share, (1 - share.sum()).clamp(min=0).unsqueeze(0)])


def counted_or_rest(drawn):
    """The candidates, where those that do not count have one more id."""
    return ungroup(drawn.ids, BATCH).masked_fill(~drawn.mask, GRAPH.num_entities)


def stated(sampler):
    """The probability of every entity under the sampler."""
    everyone = torch.arange(GRAPH.num_entities).unsqueeze(0)
    return sampler.log_prob(QUERIES[:1], everyone)[0].double().exp()


def by_degree(power):
    """The probability of every entity in proportion to a power of its degree."""
    mass = GRAPH.degree.double() ** power
    return mass / mass.sum()
