"""Do draws follow the density that a sampler states?"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparring.batch import Queries, per_query
from sparring.samplers.base import NegativeSampler
from sparring.testing.corruptions import CHANCE, chi_square
from sparring.testing.report import Report
from sparring.testing.samplers import Make
from sparring.testing.worlds import seeded, table_scorer, tiny_graph, tiny_queries

DRAWS, COPIES, ASKED = 100, 4, 24


def check_density(make: Make, device: str = "cpu") -> None:
    """Raise AssertionError unless draws follow the density that is stated for them.

    For every query and every entity that counts at least once, the sum over the entity's
    counted appearances of 1 / (K exp(log_q)) must be 1 in the mean over many draws, to 5 sigma.
    Where `log_prob` is known, counts must also pass Pearson's chi-square test against it.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 96 queries.
        device: where the graph lies, and the sampler is moved to.
    """
    report = Report()
    look_at_density(report, make, device)
    report.confirm()


def look_at_density(report: Report, make: Make, device: str = "cpu") -> None:
    """Report draws that do not follow their density; see `check_density`."""
    with report.about("density") as expect:
        graph = tiny_graph().to(torch.device(device))
        queries = tiny_queries(graph, ASKED)[torch.arange(COPIES * ASKED) % ASKED]
        sampler = make(graph).to(device)
        rng = seeded(device, 12)
        table = torch.randn(ASKED, graph.num_entities, generator=rng, device=device)
        table = table.repeat(COPIES, 1)
        size = (DRAWS, len(queries), graph.num_entities)
        found = torch.zeros(size, dtype=torch.double, device=device)
        drawn_times, counts = found.new_zeros(2, *size[1:])
        for one in found:
            drawn = sampler.sample(queries, table_scorer(table), rng)
            assert drawn.log_q is not None, "there is no density to check"
            share = drawn.mask * (-drawn.log_q.double()).exp().nan_to_num(posinf=0.0) / sampler.k
            ids = per_query(drawn.ids, len(queries))
            one.scatter_add_(1, ids, share)
            counts.scatter_add_(1, ids, drawn.mask.double())
            drawn_times.scatter_add_(1, ids, torch.ones_like(share))
        found = found.unflatten(1, (COPIES, ASKED)).mean(1)
        mean, deviation = found.mean(0), found.std(0)
        # an entity that is offered every time has no deviation, only rounding
        sigma = (mean - 1).abs() / (deviation / math.sqrt(DRAWS) + 1e-6)
        worst = (sigma * (mean > 0)).max().item()
        expect(worst < 5, f"log_q is not the density of the draws: off by {worst:.1f} sigma")
        hidden = (drawn_times > 0) & (counts == 0)
        _look_at_counts(expect, sampler, queries, counts, hidden)


def _look_at_counts(
    expect: Callable[..., None],
    sampler: NegativeSampler,
    queries: Queries,
    counts: Float[Tensor, "B N"],
    hidden: Bool[Tensor, "B N"],
) -> None:
    """Chi-square of each query's counts; what never counts and what is left are one more cell."""
    everyone = torch.arange(counts.shape[1], device=counts.device).unsqueeze(0)
    stated = sampler.log_prob(queries, everyone)
    if stated is None:
        return
    draws = DRAWS * sampler.k
    expected = (draws * stated.double().exp()).masked_fill(hidden, 0.0)
    never = (expected == 0) & (counts > 0)
    expect(not never.any(), f"{int(counts[never].sum())} draws that log_prob calls impossible")
    rest = lambda cells: (draws - cells.sum(1, keepdim=True)).clamp(min=0)
    pairs = [torch.cat([cells, rest(cells)], 1)[:ASKED] for cells in (counts, expected)]
    chance = min(chi_square(*pair) for pair in zip(*pairs))
    expect(
        chance > CHANCE / ASKED,
        "draws do not follow log_prob: by chi-square, the chance of the counts of one of "
        f"{ASKED} queries is {chance:.0e}",
    )
