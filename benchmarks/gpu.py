"""What a training step costs on a GPU, and the generator's share of it.

    python benchmarks/gpu.py

writes research/results/benchmarks/gpu.json and gpu.md. Milliseconds by the clock, the median of
rounds in
turns, the GPU being waited for before and after each round of steps. A step is TransE (L2) with
a softmax on both queries of 1,024 random triples and dense Adam; `sampling` is a round without
the main model: the sampler's draws, and its lessons from scores that stay the same. `seldom` is
the generator with a lesson in every fourth step. Ranking is both queries of 20,000 random
triples among all entities, filtered, with ComplEx, in 32 and in 16 bits.
"""

import json
import statistics
import time

import record
import torch
from generator import (
    BATCH,
    DIM,
    RELATIONS,
    TRIPLES,
    generator,
    random_graph,
    take_turns,
    uniform,
)

from sparring.batch import Feedback
from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.evaluation.ranking import evaluate
from sparring.experiments.environment import provenance
from sparring.generators import NSGenerator, UpdateSchedule
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx, TransE
from sparring.training import OPTIMIZERS, TrainingStep

GPU = torch.device("cuda")
ROUNDS, STEPS = 5, 20
SIZES = ((15_000, 8), (15_000, 64), (15_000, 256), (1_000_000, 8))


def seldom(graph, k):
    return NSGenerator(graph, k=k, schedule=UpdateSchedule(update_every=4))


class ExternalSampler:
    """Steps of one sampler on one graph, and its draws alone; milliseconds of each."""

    def __init__(self, graph, make, k):
        torch.manual_seed(0)
        self.graph, dim = graph, DIM if graph.num_entities < 100_000 else 32
        model = TransE(graph, dim=dim, norm=2, init=0.1)
        self.sampler = make(graph, k)
        loss = SampledSoftmax(
            correction="both" if self.sampler.capabilities.has_answer_log_q else "none"
        )
        self.step = TrainingStep(model, self.sampler, loss, CorruptBoth(graph)).to(GPU)
        self.optimizer = OPTIMIZERS["adam"](self.step.trainable_parameters(), lr=1e-2)
        self.rng = torch.Generator(GPU).manual_seed(0)
        rows = torch.arange(BATCH, device=GPU)
        self.queries = tail_and_head_queries(graph.triples[rows], RELATIONS)
        self.score = torch.randn(2 * BATCH, k, device=GPU)
        self.anyone = torch.randn(2 * BATCH, 256, device=GPU)
        self.whole, self.sampling = [], []

    def train(self):
        rows = torch.randint(TRIPLES, (BATCH,), generator=self.rng, device=GPU)
        self.step(self.graph.triples[rows], self.optimizer, self.rng)

    def draw(self):
        drawn = self.sampler.sample(
            self.queries, lambda ids: self.anyone[:, : ids.shape[1]], self.rng
        )
        answer = self.score[:, 0]
        self.sampler.observe(Feedback(self.queries, drawn, answer, self.score, self.score))

    def run(self):
        for call, times in ((self.train, self.whole), (self.draw, self.sampling)):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(STEPS):
                call()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / STEPS * 1e3)


def ranking(precision):
    """Queries a second, the median of rounds."""
    graph = random_graph(SIZES[0][0]).to(GPU)
    model, rates = ComplEx(graph, dim=2 * DIM).to(GPU).eval(), []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        evaluate(model, graph.triples[:20_000], graph.known, precision=precision)
        torch.cuda.synchronize()
        rates.append(2 * 20_000 / (time.perf_counter() - start))
    return round(statistics.median(rates[1:]))


def main():
    makers = {"uniform": uniform, "generator": generator, "seldom": seldom}
    contestants = {
        (name, entities, k): ExternalSampler(random_graph(entities).to(GPU), make, k)
        for entities, k in SIZES
        for name, make in makers.items()
    }
    take_turns(contestants.values(), ROUNDS)
    rows = []
    for (name, entities, k), one in contestants.items():
        step, sampling = statistics.median(one.whole), statistics.median(one.sampling)
        queries = round(2 * BATCH / step * 1e3)
        row = {"sampler": name, "entities": entities, "k": k, "step_ms": round(step, 3)}
        rows.append({**row, "sampling_ms": round(sampling, 3), "queries_per_second": queries})
    lines = [
        "| sampler | N | K | a step | the sampler's calls | queries a second |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row['sampler']} | {row['entities']:,} | {row['k']} | {row['step_ms']:.2f} ms | "
            f"{row['sampling_ms']:.2f} ms | {row['queries_per_second']:,} |"
            for row in rows
        ),
    ]
    ranked = {name: ranking(name) for name in ("float32", "bfloat16")}
    lines += [
        "",
        *(f"Ranking in {name}: {rate:,} queries a second" for name, rate in ranked.items()),
    ]
    about = {"rows": rows, "ranking": ranked, "rounds": ROUNDS, "steps": STEPS, **provenance()}
    record.write("gpu", about, f"{about['gpu']}\n\n" + "\n".join(lines) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
