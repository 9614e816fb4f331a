"""Checks of any library's negative sampler: corrupted triples are all that they need."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.corruption import CorruptEither, tail_and_head_queries, to_triples
from sparring.data.graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.testing.fixtures import dummy_scorer, tiny_graph
from sparring.testing.report import Report
from sparring.testing.samplers import CHANCE, check_contract, check_densities, chi_square

Draw = Callable[[Tensor], tuple[Tensor, Tensor]]
ROUNDS, BATCH = 100, 24  # 24 triples divide evenly among most numbers of lists


@dataclass(frozen=True, eq=False)
class ExternalSampler:
    """A sampler of any library, as the checks see it.

    Attributes:
        name: of the sampler.
        make: builds the sampler for a graph, a number of candidates K and a seed. It returns a
            function from triples [B, 3] to corrupted triples [B, K, 3] and a mask [B, K], True
            where a candidate counts.
        widths: values of K to try, in increasing order.
        filtered: whether the sampler promises that facts of the training graph never count.
        uniform: whether it promises to draw all other entities with the same probability.

    Raises:
        ValueError: if there is no value of K to try.
    """

    name: str
    make: Callable[[TrainGraph, int, int], Draw]
    widths: tuple[int, ...] = (1, 2, 64)
    filtered: bool = False
    uniform: bool = False

    def __post_init__(self):
        if not self.widths:
            raise ValueError(f"{self.name} needs at least one number of candidates in `widths`")

    @property
    def few(self) -> int:
        """A small K, but not the smallest, where there is a choice."""
        return max(self.widths[0], min(self.widths[-1], 5))


@dataclass(frozen=True, eq=False)
class Corruptions:
    """What a sampler made of the same triples in many rounds."""

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
        """True where they differ from the original."""
        return self.corrupted != self.original

    def counted(self, column: int) -> Int[Tensor, "n"]:
        """Entities that replaced another one in this column, in candidates that count."""
        return self.corrupted[..., column][self.mask & self.changed[..., column]]


def check_corruptions(report: Report, external: ExternalSampler) -> None:
    """Check what a sampler draws on a graph of 11 entities."""
    graph = tiny_graph()
    drawn = None
    with report.check("number of candidates") as expect:
        for width in external.widths:
            corrupted, mask = external.make(graph, width, 0)(graph.triples[:BATCH].clone())
            wanted = (BATCH, width, 3)
            got = corrupted.shape[1] if corrupted.dim() == 3 else tuple(corrupted.shape)
            expect(
                tuple(corrupted.shape) == wanted,
                f"K is ignored: asked for {width} per triple, got {got}",
            )
            expect(
                mask.shape == corrupted.shape[:2], "the mask does not have one value per candidate"
            )
        drawn = _rounds(external, graph)
    if drawn is None:
        return
    _check_ids(report, drawn)
    if not any(violation.check == "ids in range" for violation in report.violations):
        _check_ends(report, drawn)
        _check_reach(report, drawn)
        _check_facts(report, drawn, external.filtered)
        _check_variety(report, drawn)
        if external.uniform:
            _check_uniformity(report, drawn)
    _check_seeds(report, external, graph)
    _check_small_graphs(report, external)


def _rounds(external: ExternalSampler, graph: TrainGraph) -> Corruptions:
    draw = external.make(graph, external.few, 1)
    rounds = [draw(graph.triples[:BATCH].clone()) for _ in range(ROUNDS)]
    return Corruptions(graph, graph.triples[:BATCH], *map(torch.stack, zip(*rounds)))


def _check_ids(report: Report, drawn: Corruptions) -> None:
    with report.check("ids in range") as expect:
        expect(
            drawn.corrupted.dtype == torch.long,
            f"ids are {drawn.corrupted.dtype}, where int64 is expected",
        )
        ends = drawn.corrupted[..., [0, 2]]
        invalid = (ends < 0) | (ends >= drawn.graph.num_entities)
        expect(not invalid.any(), f"{_share(invalid)} of the ids are not entities")


def _check_ends(report: Report, drawn: Corruptions) -> None:
    changed, mask = drawn.changed, drawn.mask
    with report.check("answer") as expect:
        same = mask & ~changed.any(-1)
        expect(
            not same.any(),
            f"the triple itself is returned as its own negative: {_share(same[mask])} of them",
        )
    with report.check("one end") as expect:
        expect(not (changed[..., 1] & mask).any(), "the relation is replaced", "warning")
        both = (changed[..., 0] & changed[..., 2])[mask]
        expect(not both.any(), f"both ends are replaced in {_share(both)} of the negatives")
        for column, end in ((0, "head"), (2, "tail")):
            expect(len(drawn.counted(column)), f"no {end} is ever replaced", "warning")


def _check_reach(report: Report, drawn: Corruptions) -> None:
    with report.check("reach") as expect:
        found = torch.cat([drawn.counted(0), drawn.counted(2)])
        times = torch.bincount(found, minlength=drawn.graph.num_entities)
        never = (times == 0).nonzero().flatten().tolist()
        last = drawn.graph.num_entities - 1
        for entity, name in ((0, "entity 0"), (last, f"the last entity, {last},")):
            expect(entity not in never, f"{name} is never drawn")
        middle = [entity for entity in never if entity not in (0, last)]
        expect(not middle, f"never drawn: entities {middle}")


def _check_facts(report: Report, drawn: Corruptions, promised: bool) -> None:
    with report.check("known facts") as expect:
        flat = drawn.corrupted[drawn.mask]
        tails = tail_and_head_queries(flat, drawn.graph.num_relations)[: len(flat)]
        known = drawn.graph.known.contains(tails, tails.answer.unsqueeze(1)).squeeze(1)
        known &= drawn.changed.any(-1)[drawn.mask]  # the triple itself is another check's
        message = f"{_share(known)} of the negatives are facts of the training graph"
        if promised:
            expect(not known.any(), f"{message}, though the sampler is filtered")
        else:
            expect(not known.any(), f"{message}; nothing excludes them", "warning")


def _check_variety(report: Report, drawn: Corruptions) -> None:
    ends = drawn.corrupted[..., [0, 2]]
    in_order = ends.flatten(-2).sort(-1).values
    everyone = ends.shape[2] >= drawn.graph.num_entities  # a list of all never changes
    with report.check("variety") as expect:
        expect(
            everyone or not (in_order == in_order[:1]).all(),
            "the same negatives for every batch",
        )
        if ends.shape[2] > 1:
            alike = (ends == ends[:, :, :1]).all(-1).all(-1)
            expect(
                alike.float().mean() < 0.95,
                f"all candidates of a triple are the same, for {_share(alike)} of the triples",
            )


def _check_uniformity(report: Report, drawn: Corruptions) -> None:
    """Chi-square test of the replacements against a uniform draw of all other entities."""
    with report.check("density") as expect:
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
                f"replaced {end} are not uniform: p = {chance:.0e} by a chi-square test",
            )


def _check_seeds(report: Report, external: ExternalSampler, graph: TrainGraph) -> None:
    width = external.few
    asked = graph.triples[:BATCH].clone()
    draw = lambda seed: external.make(graph, width, seed)(asked)[0]
    with report.check("reproducible") as expect:
        one, again, other = draw(3), draw(3), draw(4)
        expect(torch.equal(one, again), "the same seed gives other negatives")
        everyone = width >= graph.num_entities
        expect(everyone or not torch.equal(one, other), "another seed gives the same negatives")
    with report.check("queries unchanged") as expect:
        same = torch.equal(asked, graph.triples[:BATCH])
        expect(same, "sampling changed the triples that were passed in")


def _check_small_graphs(report: Report, external: ExternalSampler) -> None:
    """Graphs that leave little to draw; a sampler may refuse them with a ValueError."""
    pair = torch.tensor([[0, 0, 1]])
    complete = torch.cartesian_prod(torch.arange(4), torch.arange(1), torch.arange(4))
    cases = {
        "two entities": TrainGraph(pair, 2, 1),
        "an unseen relation": TrainGraph(torch.tensor([[0, 0, 1], [1, 0, 2]]), 6, 2),
        "all triples are facts": TrainGraph(complete, 4, 1),
    }
    asked = {"an unseen relation": torch.tensor([[3, 1, 2]])}
    for name, graph in cases.items():
        triples = asked.get(name, graph.triples).repeat(BATCH, 1)[:BATCH]
        with report.check(name) as expect:
            try:
                corrupted, mask = external.make(graph, external.widths[0], 5)(triples.clone())
            except ValueError:
                continue
            ends = corrupted[..., [0, 2]]
            inside = ((ends >= 0) & (ends < graph.num_entities)).all()
            expect(inside, "ids are not entities")
            same = (corrupted == triples.unsqueeze(1)).all(-1) & mask
            expect(not same.any(), "the triple itself counts as a negative")


def _share(hit: Tensor) -> str:
    return f"{hit.float().mean().item():.1%}"


MakeWide = Callable[[TrainGraph, int], NegativeSampler]


def check_external(external: ExternalSampler) -> None:
    """Raise AssertionError unless the corrupted triples that a sampler draws are sound."""
    report_external(external).raise_errors()


def report_external(external: ExternalSampler) -> Report:
    """Check the corrupted triples that a sampler of any library draws."""
    report = Report()
    check_corruptions(report, external)
    return report


def report_sampler(
    make: MakeWide, name: str, *, widths: tuple[int, ...], filtered: bool = False
) -> Report:
    """Check a `NegativeSampler` in every way: its contract, density and corrupted triples.

    Args:
        make: builds the sampler for a graph and a number of candidates.
        name: of the sampler.
        widths, filtered: as in `ExternalSampler`.
    """
    report = Report()
    narrow = lambda graph: make(graph, min(widths[-1], 5))
    check_contract(report, narrow)
    with report.check("density") as expect:
        known = narrow(tiny_graph()).capabilities.has_log_q
        expect(known, "the density is not known, so no loss can correct for it", "warning")
    if known:
        check_densities(report, narrow)
    reported = {violation.check for violation in report.violations}
    drawn = report_external(ExternalSampler(name, external_maker(make), widths, filtered))
    report.checks += [name for name in drawn.checks if name not in report.checks]
    report.violations += [
        violation for violation in drawn.violations if violation.check not in reported
    ]
    return report


def external_maker(make: MakeWide) -> Callable[[TrainGraph, int, int], Draw]:
    """The `make` of an `ExternalSampler` that replaces one end of each triple, chosen at random."""

    def build(graph: TrainGraph, width: int, seed: int) -> Draw:
        torch.manual_seed(seed)
        sampler, corruption = make(graph, width), CorruptEither(graph)
        rng = torch.Generator().manual_seed(seed)

        def draw(triples: Tensor) -> tuple[Tensor, Tensor]:
            queries = corruption(triples, rng)
            drawn = sampler.sample(queries, dummy_scorer(queries), rng)
            return to_triples(queries, drawn.ids, graph.num_relations), drawn.mask

        return draw

    return build
