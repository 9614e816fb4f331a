"""How the time of a training step grows with the number of entities, all else the same.

    python benchmarks/growth.py

writes research/results/benchmarks/growth.json and the same as a table, growth.md. One thread;
processor
time, the median of interleaved rounds. A step is ComplEx on both queries of 1,024 triples of a
random graph with five times as many triples as entities. With row-wise Adagrad and sparse
gradients no step passes over a whole table; Adam, which must, stands beside it. What still grows
is the number of different rows that B K candidates fall on, given with each time.
"""

import statistics

import torch
from generator import BATCH, ExternalSampler, Timed, generator, random_graph, take_turns, uniform
from record import load, write

from sparring.corruption import CorruptBoth
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx
from sparring.training import OPTIMIZERS, TrainingStep

SIZES, DIM, ROUNDS = (15_000, 150_000, 1_500_000), 64, 7


# what is measured: K, the sampler, the optimiser, its rate, and whether gradients are sparse
CASES = {
    "uniform, K = 8": (8, uniform, "rowwise-adagrad", 0.1, True),
    "generator, K = 8": (8, generator, "rowwise-adagrad", 0.1, True),
    "uniform, K = 64": (64, uniform, "rowwise-adagrad", 0.1, True),
    "generator, K = 64": (64, generator, "rowwise-adagrad", 0.1, True),
    "uniform, K = 8, Adam": (8, uniform, "adam", 0.001, False),
}


class Step(ExternalSampler):
    """A training step on one graph, with its times in milliseconds."""

    def __init__(self, graph, k, make, optimizer, lr, sparse):
        torch.manual_seed(0)
        sampler = make(graph, k)
        self.clock, self.graph, self.whole, self.sampling = Timed(sampler), graph, [], []
        model = ComplEx(graph, dim=DIM, init=0.1, sparse=sparse)
        self.step = TrainingStep(
            model, sampler, SampledSoftmax(correction="both"), CorruptBoth(graph)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.step.trainable_parameters(), lr=lr)
        self.rng = torch.Generator().manual_seed(0)

    def sorting(self):
        return super().sorting() if isinstance(self.step.sampler, NSGenerator) else 0.0


def different(size: int, k: int) -> int:
    """How many entities are expected among a step's uniform candidates."""
    return round(size * (1 - (1 - 1 / size) ** (2 * BATCH * k)))


def table(rows: list[dict], about: dict) -> str:
    """The record for readers."""
    lines = [
        f"{about['cpu']}, {about['threads']} thread; load {about['load']}. {2 * BATCH:,} queries a "
        f"step, ComplEx d = {DIM}; processor milliseconds a step "
        f"(and how many different rows are expected).",
        "",
        f"| step | {' | '.join(f'N = {size:,}' for size in SIZES)} | last to first |",
        "| --- |" + " --- |" * (len(SIZES) + 1),
    ]
    for row in rows:
        times = " | ".join(
            f"{row['milliseconds'][str(size)]:.1f} ({row['rows'][str(size)]:,})" for size in SIZES
        )
        lines.append(f"| {row['name']} | {times} | {row['growth']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    graphs = {size: random_graph(size, 5 * size) for size in SIZES}
    steps = {
        (name, size): Step(graph, *given)
        for size, graph in graphs.items()
        for name, given in CASES.items()
    }
    take_turns(steps.values(), ROUNDS)
    rows = []
    for name in CASES:
        own = {size: steps[name, size] for size in SIZES}
        spent = {size: statistics.median(one.whole) + one.sorting() for size, one in own.items()}
        rows.append(
            {
                "name": name,
                "milliseconds": {str(size): round(spent[size], 2) for size in SIZES},
                "least": {str(size): round(min(one.whole), 2) for size, one in own.items()},
                "most": {str(size): round(max(one.whole), 2) for size, one in own.items()},
                "rows": {str(size): different(size, CASES[name][0]) for size in SIZES},
                "growth": round(spent[SIZES[-1]] / spent[SIZES[0]], 2),
            }
        )
        print(rows[-1], flush=True)
    about = provenance() | {"threads": 1, "rounds": ROUNDS, "queries": 2 * BATCH}
    about |= {"dim": DIM, "load": load()}
    write("growth", {**about, "measurements": rows}, table(rows, about))


if __name__ == "__main__":
    main()
