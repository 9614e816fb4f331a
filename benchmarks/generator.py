"""What the generator costs: its share of a training step, and how that grows with N.

    python benchmarks/generator.py

writes research/results/benchmarks/generator.json. One thread; processor time, the median of
interleaved
rounds. A step is TransE (L2) with a corrected softmax on both queries of 1,024 random triples, by
row-wise Adagrad, which costs next to nothing, and at the least N also by Adam, the default. What
the generator costs is the time spent in its `sample` and `observe`, and its share of the re-sorting
of all entities that ends a round of visits.
"""

import json
import statistics
import time
from pathlib import Path

import torch

from sparring.corruption import CorruptBoth
from sparring.data.graph import TrainGraph
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import TransE
from sparring.samplers import MaskKnown, Uniform
from sparring.training import OPTIMIZERS, TrainingStep

RESULTS = Path(__file__).parents[1] / "research" / "results" / "benchmarks" / "generator.json"
SIZES, TRIPLES, RELATIONS, BATCH = (15_000, 150_000, 1_000_000), 300_000, 200, 1024
DIM, K, ROUNDS, STEPS = 200, 8, 7, 10
CHEAP, DEFAULT = "rowwise-adagrad", "adam"


class Timed:
    """Adds up the processor time of a sampler's two methods."""

    def __init__(self, sampler):
        self.seconds = 0.0
        for name in ("sample", "observe"):
            setattr(sampler, name, self.timed(getattr(sampler, name)))

    def timed(self, method):
        def call(*given):
            start = time.process_time()
            try:
                return method(*given)
            finally:
                self.seconds += time.process_time() - start

        return call


class ExternalSampler:
    """A training step of one sampler on one graph, with its times per step in milliseconds."""

    def __init__(self, graph, make, dim, optimizer=CHEAP):
        torch.manual_seed(0)
        sampler = make(graph)
        self.clock = Timed(sampler)
        model = TransE(graph, dim=dim, norm=2, init=0.1, sparse=True)
        self.step = TrainingStep(
            model, sampler, SampledSoftmax(correction="both"), CorruptBoth(graph)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.step.trainable_parameters(), lr=1e-2)
        self.rng, self.graph = torch.Generator().manual_seed(0), graph
        self.whole, self.sampling = [], []

    def run(self):
        start, before = time.process_time(), self.clock.seconds
        for _ in range(STEPS):
            rows = torch.randint(len(self.graph.triples), (BATCH,), generator=self.rng)
            self.step(self.graph.triples[rows], self.optimizer, self.rng)
        self.whole.append((time.process_time() - start) / STEPS * 1e3)
        self.sampling.append((self.clock.seconds - before) / STEPS * 1e3)

    def sorting(self):
        """Milliseconds per step for what happens only at the end of a round of visits."""
        sampler, times = self.step.sampler, []
        for _ in range(3):
            start = time.process_time()
            sampler.index._rebuild(sampler.student.vectors)
            times.append(time.process_time() - start)
        steps = sampler.schedule.update_every * -(
            -sampler.num_entities // sampler.index.assign_per_update
        )
        return statistics.median(times) / steps * 1e3


def uniform(graph, k=K):
    return MaskKnown(graph, inner=Uniform(graph, k=k))


def generator(graph, k=K):
    return NSGenerator(graph, k=k)


def random_graph(entities, triples=TRIPLES):
    rng = torch.Generator().manual_seed(0)
    head, tail = torch.randint(entities, (2, triples), generator=rng)
    relation = torch.randint(RELATIONS, (triples,), generator=rng)
    return TrainGraph(torch.stack([head, relation, tail], 1), entities, RELATIONS)


def take_turns(contestants, rounds):
    """Let all run so many times in turns, after once to warm up."""
    for round_ in range(rounds + 1):
        for one in contestants:
            one.run()
            if not round_:
                one.whole.clear(), one.sampling.clear()


def main():
    torch.set_num_threads(1)
    keep_freed_memory()
    makers = {"generator": generator, "uniform": uniform}
    cases = [(SIZES[0], DEFAULT), *((entities, CHEAP) for entities in SIZES)]
    graphs = {entities: random_graph(entities) for entities in SIZES}
    contestants = {
        (name, entities, optimizer): ExternalSampler(
            graphs[entities], make, DIM if entities == SIZES[0] else 32, optimizer
        )
        for entities, optimizer in cases
        for name, make in makers.items()
    }
    take_turns(contestants.values(), ROUNDS)
    median = statistics.median
    sorting = {case: contestants["generator", *case].sorting() for case in cases}
    cost = {
        case: median(contestants["generator", *case].sampling) + sorting[case] for case in cases
    }
    step = {case: median(contestants["generator", *case].whole) + sorting[case] for case in cases}
    small, setting = (SIZES[0], CHEAP), f"N = {SIZES[0]:,}, d = {DIM}, K = {K}"
    rows = [
        *(
            {
                "name": f"generator's share of a step, {setting}, {name}",
                "ours": round(cost[SIZES[0], name] / step[SIZES[0], name], 3),
                "unit": "share of processor time",
            }
            for name in (CHEAP, DEFAULT)
        ),
        *(
            {
                "name": f"generator's time, N = {size:,}",
                "ours": round(cost[size, CHEAP] / (2 * BATCH) * 1e3, 2),
                "peer": round(cost[small] / (2 * BATCH) * 1e3, 2),
                "peer_name": f"the same at N = {SIZES[0]:,}",
                "unit": "processor microseconds per query",
                "ratio": round(cost[small] / cost[size, CHEAP], 3),
            }
            for size in SIZES
        ),
        *(
            {
                "name": f"a step with the generator, {setting}, {name}",
                "ours": round(step[SIZES[0], name], 1),
                "peer": round(median(contestants["uniform", SIZES[0], name].whole), 1),
                "peer_name": "the same with uniform negatives",
                "unit": "processor milliseconds",
                "ratio": round(
                    median(contestants["uniform", SIZES[0], name].whole) / step[SIZES[0], name], 3
                ),
            }
            for name in (CHEAP, DEFAULT)
        ),
    ]
    report = {"measurements": rows, **provenance(), "threads": 1, "rounds": ROUNDS}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
