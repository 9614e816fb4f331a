"""Everything that is wrong with a sampler, of this library or another."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.graph.sides import ChosenSide, answered
from sparring.samplers.base import NegativeSampler
from sparring.testing.corruptions import Contestant, Draw, look_at_corruptions
from sparring.testing.density import look_at_density
from sparring.testing.report import Report
from sparring.testing.samplers import look_at_contract
from sparring.testing.worlds import tiny_graph

MakeWide = Callable[[TrainGraph, int], NegativeSampler]


def judge(contestant: Contestant) -> Report:
    """Everything that is wrong with the corrupted triples that a sampler draws."""
    report = Report()
    look_at_corruptions(report, contestant)
    return report


def judge_sampler(
    make: MakeWide, name: str, *, widths: tuple[int, ...], filtered: bool = False
) -> Report:
    """Everything that is wrong with a `NegativeSampler`: its contract, density and corruptions.

    Args:
        make: builds it for a graph and a number of candidates.
        widths: see `Contestant`.
        filtered: whether it promises that facts of the training graph never count.
    """
    report = Report()
    narrow = lambda graph: make(graph, min(widths[-1], 5))
    look_at_contract(report, narrow)
    with report.about("density") as expect:
        states = narrow(tiny_graph()).states_density
        expect(states, "no density is stated, so no loss can correct for it", "warning")
    if states:
        look_at_density(report, narrow)
    faulted = {fault.about for fault in report.faults}
    drawn = judge(Contestant(name, drawing(make), widths, filtered))
    report.looked_at += [about for about in drawn.looked_at if about not in report.looked_at]
    report.faults += [fault for fault in drawn.faults if fault.about not in faulted]
    return report


def drawing(make: MakeWide) -> Callable[[TrainGraph, int, int], Draw]:
    """A `NegativeSampler` as what makes corrupted triples, one end of each chosen at random."""

    def prepared(graph: TrainGraph, width: int, seed: int) -> Draw:
        torch.manual_seed(seed)
        sampler, sides = make(graph, width), ChosenSide(graph)
        rng = torch.Generator().manual_seed(seed)

        def draw(triples):
            queries = sides(triples, rng)
            drawn = sampler.sample(queries, opinion(queries), rng)
            return answered(queries, drawn.ids, graph.num_relations), drawn.mask

        return draw

    return prepared


def opinion(queries: Queries) -> Scorer:
    """Scores of a model that likes other entities for every query."""
    lean = (3 * queries.anchor + queries.relation).unsqueeze(1)
    return lambda ids: ((7 * per_query(ids, len(queries)) + lean) % 11).float()


def taste(triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
    """Scores of a model that likes some triples better than others."""
    return ((triples * torch.tensor([3, 1, 7], device=triples.device)).sum(1) % 11).float()
