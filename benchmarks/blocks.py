"""What a training step costs with own, shared, blocks of and grouped negatives.

    python benchmarks/blocks.py [CORE]

writes research/results/benchmarks/blocks.json and blocks.md. One thread; processor milliseconds of
a step on both queries of 1,024 random triples, d = 100, Adam, with the corrected softmax: medians
of rounds that all cases take in turns. TransE has the L2 norm, whose shared lists are a matrix
product, and the L1 norm, whose are not. Scores per query are counted as they are: in own lists, and
in lists that queries share.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from record import load, write

from sparring.corruption import CorruptBoth
from sparring.data.graph import TrainGraph
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx, KGEModel, TransE
from sparring.samplers import Blocks, MaskKnown, NegativeSampler, Uniform
from sparring.training import OPTIMIZERS, TrainingStep

SIZES, RELATIONS, TRIPLES, BATCH, DIM = (14_541, 200_000), 237, 272_115, 1024, 100
STEPS, ROUNDS = 4, 5
MODELS: dict[str, Callable[[TrainGraph], KGEModel]] = {
    "ComplEx": partial(ComplEx, dim=DIM, sparse=True),
    "TransE L2": partial(TransE, dim=DIM, norm=2, sparse=True),
    "TransE L1": partial(TransE, dim=DIM, norm=1, sparse=True),
}


def graph_of(entities: int) -> TrainGraph:
    """Random facts, some entities in many more than others."""
    rng = torch.Generator().manual_seed(0)
    head, tail = (torch.rand(2, TRIPLES, generator=rng) ** 2 * entities).long()
    relation = torch.randint(RELATIONS, (TRIPLES,), generator=rng)
    return TrainGraph(torch.stack([head, relation, tail], 1), entities, RELATIONS)


def samplers(graph: TrainGraph) -> dict[str, Callable[[], NegativeSampler]]:
    """The samplers by name."""
    uniform = lambda k: lambda: MaskKnown(graph, inner=Uniform(graph, k=k))
    shared = lambda k: Uniform(graph, k=k, groups=1)
    own = lambda k: lambda: NSGenerator(graph, k=k)
    blocks = lambda few, many: lambda: Blocks(graph, parts=[own(few)(), shared(many)])
    grouped = lambda size: lambda: NSGenerator(graph, k=256, group_size=size)
    return {
        "uniform, own 8": uniform(8),
        "uniform, own 128": uniform(128),
        "uniform, shared 512": lambda: MaskKnown(graph, inner=shared(512)),
        "generator, own 8": own(8),
        "generator, own 32": own(32),
        "blocks 8 + 128": blocks(8, 128),
        "blocks 8 + 512": blocks(8, 512),
        "blocks 16 + 512": blocks(16, 512),
        "generator, 256 by groups of 32": grouped(32),
        "generator, 256 by groups of 64": grouped(64),
        "generator, 256 by groups of 128": grouped(128),
    }


class Case:
    """A training step, and the milliseconds it took."""

    def __init__(
        self,
        graph: TrainGraph,
        model: Callable[[TrainGraph], KGEModel],
        make: Callable[[], NegativeSampler],
    ):
        torch.manual_seed(0)
        self.graph, self.sampler, self.milliseconds = graph, make(), []
        self.step = TrainingStep(
            model(graph),
            self.sampler,
            SampledSoftmax(correction="both"),
            CorruptBoth(graph),
        )
        self.optimizer = OPTIMIZERS["adam"](self.step.trainable_parameters(), lr=1e-3)
        self.rng = torch.Generator().manual_seed(0)

    def run(self) -> float:
        """Processor milliseconds of a step, the mean of several."""
        start = time.process_time()
        for _ in range(STEPS):
            rows = torch.randint(len(self.graph.triples), (BATCH,), generator=self.rng)
            self.step(self.graph.triples[rows], self.optimizer, self.rng)
        return (time.process_time() - start) / STEPS * 1e3


def measured(entities: int, name: str, model: Callable[[TrainGraph], KGEModel]) -> list[dict]:
    """A row for each sampler."""
    graph = graph_of(entities)
    cases = {sampler: Case(graph, model, make) for sampler, make in samplers(graph).items()}
    for round_ in range(ROUNDS + 1):  # the first is for warming up
        for case in cases.values():
            case.milliseconds += [case.run()] * (round_ > 0)
    rows = []
    for sampler, case in cases.items():
        known = case.sampler.capabilities
        total = case.sampler.k + known.num_extra_scores
        rows.append(
            {
                "entities": entities,
                "model": name,
                "sampler": sampler,
                "scored_per_query": total,
                "shared_per_query": known.num_shared,
                "milliseconds": round(statistics.median(case.milliseconds), 1),
            }
        )
        print(rows[-1], flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """The record for readers: milliseconds of a step."""
    places = list(dict.fromkeys((row["model"], row["entities"]) for row in rows))
    heads = [f"{model}, N = {entities:,}" for model, entities in places]
    lines = [f"| negatives | own scores | shared scores | {' | '.join(heads)} |"]
    lines.append("| --- " * (3 + len(places)) + "|")
    for name in dict.fromkeys(row["sampler"] for row in rows):
        own = [row for row in rows if row["sampler"] == name]
        shared, total = own[0]["shared_per_query"], own[0]["scored_per_query"]
        found = {(row["model"], row["entities"]): row["milliseconds"] for row in own}
        times = " | ".join(str(found[place]) for place in places)
        lines.append(f"| {name} | {total - shared} | {shared} | {times} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = [
        row
        for entities in SIZES
        for name, model in MODELS.items()
        for row in measured(entities, name, model)
    ]
    setting = {"batch": BATCH, "dim": DIM, "unit": "processor milliseconds of a step"}
    write("blocks", {**provenance(), "load": load(), **setting, "rows": rows}, table(rows))


if __name__ == "__main__":
    main()
