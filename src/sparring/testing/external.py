"""What may be asked of any negative sampler, of whatever library: corrupted triples are enough.

Everything that is wrong with a sampler, of this library or another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer, ungroup
from sparring.corruption import CorruptEither, tail_and_head_queries, to_triples
from sparring.data.graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.testing.fixtures import CHANCE, Report, chi_square, tiny_graph
from sparring.testing.samplers import look_at_contract, look_at_density

Draw = Callable[[Tensor], tuple[Tensor, Tensor]]
ROUNDS, ASKED = 100, 24  # so many triples can be divided among most numbers of lists


@dataclass(frozen=True, eq=False)
class ExternalSampler:
    """A sampler of any library, as the kit sees it.

    Attributes:
        name: what to call it.
        make: builds it for a graph, a number of candidates and a seed, and gives what draws: a
            function from triples [B, 3] to corrupted triples [B, K, 3] and a mask [B, K], True
            where they count.
        widths: numbers of candidates to ask for; one alone if the sampler has but one.
        filtered: whether it promises that facts of the training graph never count.
        uniform: whether it promises that all other entities are alike.
    """

    name: str
    make: Callable[[TrainGraph, int, int], Draw]
    widths: tuple[int, ...] = (1, 2, 64)
    filtered: bool = False
    uniform: bool = False

    def __post_init__(self):
        if not self.widths:
            raise ValueError(f"{self.name} must be asked for some number of candidates; got none")

    @property
    def few(self) -> int:
        """A small number of candidates that is not the smallest, where there is a choice."""
        return max(self.widths[0], min(self.widths[-1], 5))


@dataclass(frozen=True, eq=False)
class Corruptions:
    """Everything that a sampler made of the same triples in many rounds."""

    graph: TrainGraph
    triples: Int[Tensor, "B 3"]
    corrupted: Int[Tensor, "rounds B K 3"]
    mask: Bool[Tensor, "rounds B K"]

    @property
    def original(self) -> Int[Tensor, "rounds B K 3"]:
        """The triples, in the shape of their corruptions."""
        return self.triples.view(1, -1, 1, 3).expand_as(self.corrupted)

    @property
    def changed(self) -> Bool[Tensor, "rounds B K 3"]:
        """Where they differ."""
        return self.corrupted != self.original

    def counted(self, column: int) -> Int[Tensor, "n"]:
        """Entities that count and replaced another one in this column."""
        return self.corrupted[..., column][self.mask & self.changed[..., column]]


def look_at_corruptions(report: Report, contestant: ExternalSampler) -> None:
    """Report everything that is wrong with what a sampler draws on a graph of 11 entities."""
    graph = tiny_graph()
    drawn = None
    with report.about("number of candidates") as expect:
        for width in contestant.widths:
            corrupted, mask = contestant.make(graph, width, 0)(graph.triples[:ASKED].clone())
            wanted = (ASKED, width, 3)
            got = corrupted.shape[1] if corrupted.dim() == 3 else tuple(corrupted.shape)
            expect(
                tuple(corrupted.shape) == wanted,
                f"K is ignored: asked for {width} per triple, got {got}",
            )
            expect(
                mask.shape == corrupted.shape[:2], "the mask is not one value for each candidate"
            )
        drawn = _rounds(contestant, graph)
    if drawn is None:
        return
    _look_at_ids(report, drawn)
    if not any(fault.about == "ids in range" for fault in report.faults):
        _look_at_ends(report, drawn)
        _look_at_reach(report, drawn)
        _look_at_facts(report, drawn, contestant.filtered)
        _look_at_variety(report, drawn)
        if contestant.uniform:
            _look_at_uniformity(report, drawn)
    _look_at_seeds(report, contestant, graph)
    _look_at_hard_cases(report, contestant)


def _rounds(contestant: ExternalSampler, graph: TrainGraph) -> Corruptions:
    draw = contestant.make(graph, contestant.few, 1)
    rounds = [draw(graph.triples[:ASKED].clone()) for _ in range(ROUNDS)]
    return Corruptions(graph, graph.triples[:ASKED], *map(torch.stack, zip(*rounds)))


def _look_at_ids(report: Report, drawn: Corruptions) -> None:
    with report.about("ids in range") as expect:
        expect(
            drawn.corrupted.dtype == torch.long,
            f"ids are {drawn.corrupted.dtype}, where int64 is expected",
        )
        ends = drawn.corrupted[..., [0, 2]]
        lost = (ends < 0) | (ends >= drawn.graph.num_entities)
        expect(not lost.any(), f"{_share(lost)} of the ids are of no entity")


def _look_at_ends(report: Report, drawn: Corruptions) -> None:
    changed, mask = drawn.changed, drawn.mask
    with report.about("answer") as expect:
        same = mask & ~changed.any(-1)
        expect(
            not same.any(),
            f"the triple itself is returned as its own negative: {_share(same[mask])} of them",
        )
    with report.about("one end") as expect:
        expect(not (changed[..., 1] & mask).any(), "the relation is replaced", "warning")
        both = (changed[..., 0] & changed[..., 2])[mask]
        expect(not both.any(), f"both ends are replaced in {_share(both)} of the negatives")
        for column, end in ((0, "head"), (2, "tail")):
            expect(len(drawn.counted(column)), f"no {end} is ever replaced", "warning")


def _look_at_reach(report: Report, drawn: Corruptions) -> None:
    with report.about("reach") as expect:
        found = torch.cat([drawn.counted(0), drawn.counted(2)])
        times = torch.bincount(found, minlength=drawn.graph.num_entities)
        never = (times == 0).nonzero().flatten().tolist()
        last = drawn.graph.num_entities - 1
        for entity, name in ((0, "entity 0"), (last, f"the last entity, {last},")):
            expect(entity not in never, f"{name} is never drawn")
        middle = [entity for entity in never if entity not in (0, last)]
        expect(not middle, f"never drawn: entities {middle}")


def _look_at_facts(report: Report, drawn: Corruptions, promised: bool) -> None:
    with report.about("known facts") as expect:
        flat = drawn.corrupted[drawn.mask]
        tails = tail_and_head_queries(flat, drawn.graph.num_relations)[: len(flat)]
        known = drawn.graph.known.contains(tails, tails.answer.unsqueeze(1)).squeeze(1)
        known &= drawn.changed.any(-1)[drawn.mask]  # the triple itself is told of elsewhere
        words = f"{_share(known)} of the negatives are facts of the training graph"
        if promised:
            expect(not known.any(), f"{words}, though they are filtered")
        else:
            expect(not known.any(), f"{words}; nothing keeps them out", "warning")


def _look_at_variety(report: Report, drawn: Corruptions) -> None:
    ends = drawn.corrupted[..., [0, 2]]
    in_order = ends.flatten(-2).sort(-1).values
    everyone = ends.shape[2] >= drawn.graph.num_entities  # a list of all never changes
    with report.about("variety") as expect:
        expect(
            everyone or not (in_order == in_order[:1]).all(),
            "the same negatives for every batch",
        )
        if ends.shape[2] > 1:
            alike = (ends == ends[:, :, :1]).all(-1).all(-1)
            expect(
                alike.float().mean() < 0.95,
                f"all candidates of a triple are the same one, for {_share(alike)} of the triples",
            )


def _look_at_uniformity(report: Report, drawn: Corruptions) -> None:
    """Chi-square of the replacements of every row and end against all other entities alike."""
    with report.about("density") as expect:
        for column, end in ((0, "heads"), (2, "tails")):
            hit = drawn.mask & drawn.changed[..., column]
            counts = torch.bincount(
                drawn.corrupted[..., column][hit], minlength=drawn.graph.num_entities
            )
            missed = torch.bincount(
                drawn.original[..., column][hit], minlength=drawn.graph.num_entities
            )
            expected = (hit.sum() - missed) / (drawn.graph.num_entities - 1)
            chance = chi_square(counts, expected)
            expect(
                chance > CHANCE,
                f"replaced {end} are not uniform: the chance of these counts is {chance:.0e}",
            )


def _look_at_seeds(report: Report, contestant: ExternalSampler, graph: TrainGraph) -> None:
    width = contestant.few
    asked = graph.triples[:ASKED].clone()
    draw = lambda seed: contestant.make(graph, width, seed)(asked)[0]
    with report.about("reproducible") as expect:
        one, again, other = draw(3), draw(3), draw(4)
        expect(torch.equal(one, again), "the same seed gives other negatives")
        everyone = width >= graph.num_entities
        expect(everyone or not torch.equal(one, other), "another seed gives the same negatives")
    with report.about("queries unchanged") as expect:
        same = torch.equal(asked, graph.triples[:ASKED])
        expect(same, "drawing changed the triples it was given")


def _look_at_hard_cases(report: Report, contestant: ExternalSampler) -> None:
    """Graphs that leave little to draw; to refuse them by a ValueError is fair."""
    pair = torch.tensor([[0, 0, 1]])
    crowd = torch.cartesian_prod(torch.arange(4), torch.arange(1), torch.arange(4))
    cases = {
        "two entities": TrainGraph(pair, 2, 1),
        "an unseen relation": TrainGraph(torch.tensor([[0, 0, 1], [1, 0, 2]]), 6, 2),
        "all triples are facts": TrainGraph(crowd, 4, 1),
    }
    asked = {"an unseen relation": torch.tensor([[3, 1, 2]])}
    for name, graph in cases.items():
        triples = asked.get(name, graph.triples).repeat(ASKED, 1)[:ASKED]
        with report.about(name) as expect:
            try:
                corrupted, mask = contestant.make(graph, contestant.widths[0], 5)(triples.clone())
            except ValueError:
                continue
            ends = corrupted[..., [0, 2]]
            inside = ((ends >= 0) & (ends < graph.num_entities)).all()
            expect(inside, "ids are of no entity")
            same = (corrupted == triples.unsqueeze(1)).all(-1) & mask
            expect(not same.any(), "the triple itself counts as its negative")


def _share(hit: Tensor) -> str:
    return f"{hit.float().mean().item():.1%}"


MakeWide = Callable[[TrainGraph, int], NegativeSampler]


def judge(contestant: ExternalSampler) -> Report:
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
        widths: see `ExternalSampler`.
        filtered: whether it promises that facts of the training graph never count.
    """
    report = Report()
    narrow = lambda graph: make(graph, min(widths[-1], 5))
    look_at_contract(report, narrow)
    with report.about("density") as expect:
        states = narrow(tiny_graph()).capabilities.has_log_q
        expect(states, "no density is stated, so no loss can correct for it", "warning")
    if states:
        look_at_density(report, narrow)
    faulted = {fault.about for fault in report.faults}
    drawn = judge(ExternalSampler(name, drawing(make), widths, filtered))
    report.looked_at += [about for about in drawn.looked_at if about not in report.looked_at]
    report.faults += [fault for fault in drawn.faults if fault.about not in faulted]
    return report


def drawing(make: MakeWide) -> Callable[[TrainGraph, int, int], Draw]:
    """A `NegativeSampler` as what makes corrupted triples, one end of each chosen at random."""

    def prepared(graph: TrainGraph, width: int, seed: int) -> Draw:
        torch.manual_seed(seed)
        sampler, corruption = make(graph, width), CorruptEither(graph)
        rng = torch.Generator().manual_seed(seed)

        def draw(triples):
            queries = corruption(triples, rng)
            drawn = sampler.sample(queries, opinion(queries), rng)
            return to_triples(queries, drawn.ids, graph.num_relations), drawn.mask

        return draw

    return prepared


def opinion(queries: Queries) -> Scorer:
    """Scores of a model that likes other entities for every query."""
    lean = (3 * queries.anchor + queries.relation).unsqueeze(1)
    return lambda ids: ((7 * ungroup(ids, len(queries)) + lean) % 11).float()


def dummy_scores(triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
    """Scores of a model that likes some triples better than others."""
    return ((triples * torch.tensor([3, 1, 7], device=triples.device)).sum(1) % 11).float()
