"""What training takes where entities are many: the generator vs. uniform draws on one machine.

    python benchmarks/scale.py [ENTITIES ...]

writes research/results/benchmarks/scale.json and the same as a table, scale.md. One thread;
processor time, the median of interleaved rounds. A step is ComplEx, d = 64, on both queries of
1,024 triples of a random graph with half as many triples as entities, with row-wise Adagrad and
sparse gradients. The generator's re-coding, which happens once in a sweep over all entities, is
added to each step in proportion.
"""

import gc
import resource
import statistics
import sys

import torch
from generator import BATCH, generator, random_graph, take_turns, uniform
from growth import DIM, Step
from record import load, write

from sparring.experiments.environment import keep_freed_memory, provenance

SIZES, K, ROUNDS = (1_000_000, 10_000_000), 64, 3


def measured(size: int) -> dict:
    """Milliseconds of a step with either sampler on one graph of so many entities."""
    graph = random_graph(size, size // 2)
    steps = {
        name: Step(graph, K, make, "rowwise-adagrad", 0.1, True)
        for name, make in (("uniform", uniform), ("generator", generator))
    }
    take_turns(steps.values(), ROUNDS)
    spent = {name: statistics.median(one.whole) + one.sorting() for name, one in steps.items()}
    recoding = steps["generator"].sorting()
    return {
        "entities": size,
        "uniform": round(spent["uniform"], 2),
        "generator": round(spent["generator"], 2),
        "of it re-coding": round(recoding, 3),
        "ratio": round(spent["generator"] / spent["uniform"], 3),
        "peak_mb_of_both": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def table(rows: list[dict], about: dict) -> str:
    """The record for readers."""
    lines = [
        f"{about['cpu']}, {about['threads']} thread; load {about['load']}. {2 * BATCH:,} queries a "
        f"step, ComplEx d = {DIM}, K = {K}; processor milliseconds a step.",
        "",
        "| N | uniform | generator | of it re-coding | ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['entities']:,} | {row['uniform']} | {row['generator']} | "
        f"{row['of it re-coding']} | {row['ratio']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        rows.append(measured(size))
        print(rows[-1], flush=True)
        gc.collect()
    about = provenance() | {"threads": 1, "rounds": ROUNDS, "queries": 2 * BATCH}
    about |= {"dim": DIM, "k": K, "load": load()}
    write("scale", {**about, "measurements": rows}, table(rows, about))


if __name__ == "__main__":
    main()
