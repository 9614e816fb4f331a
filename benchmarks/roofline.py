"""How a training step's time compares with what the machine can move and multiply.

    python benchmarks/roofline.py FOLDER

FOLDER holds FB15k-237. In turns: streams through memory (as large as the tables here, and far
larger than any cache), products of matrices, and the steps of `run.py`, whose bytes and operations
are counted from B, K, d and N as below. One thread; processor time, medians of interleaved rounds.
Writes research/results/benchmarks/roofline.json and the same as a table, roofline.md.
"""

import statistics
import time

import torch
from contestants import BATCH, Sparring, arrays_of
from record import load, words, write

from sparring.data.read import read_graph
from sparring.experiments.environment import provenance

ROUNDS, NEAR, FAR, SIDE = 9, 6_000_000, 100_000_000, 1024  # numbers of 4 bytes
CASES = {
    "ComplEx d = 128, K = 64": ("complex", 128, 64),
    "TransE L1 d = 100, K = 64": ("transe", 100, 64),
    "TransE L1 d = 100, K = 8": ("transe", 100, 8),
    "ComplEx d = 128, K = 1,024 shared by the batch": ("complex", 128, 1024, "adam", True),
}


def stream(numbers: int):
    """A thing to time, and the bytes that it moves: two arrays read and one written."""
    one, two, out = torch.ones(3, numbers)
    return lambda: torch.add(one, two, out=out), 12 * numbers


def product():
    """A thing to time, and its operations: the product that a shared list is scored by."""
    one, two = torch.ones(SIDE, 128), torch.ones(128, SIDE)
    return lambda: one @ two, 2 * SIDE * SIDE * 128


def counted(entities: int, d: int, k: int, shared: bool, sparse: bool) -> dict[str, float]:
    """Bytes and operations of a step, at least: each thing read or written where it must be.

    Candidates are read for the scores and for the queries' gradients, and queries for the
    candidates' gradients; a row's gradient is cleared, written and read; Adam reads and writes
    the table and two moments. Of a shared list these are products of matrices, and scores,
    shares and their gradients are written and read besides.
    """
    drawn = k if shared else BATCH * k
    used = entities * (1 - (1 - 1 / entities) ** (drawn + 2 * BATCH))
    adam = 24 * entities * d
    gradients = 4 * d * (4 * used if sparse else 2 * used + 2 * entities)
    if shared:
        lists = 4 * d * (3 * drawn + 3 * BATCH) + 4 * BATCH * k * 9
    else:
        lists = 3 * 4 * d * BATCH * (k + 1)
    return {
        "bytes_of_lists": lists,
        "bytes_of_gradients": gradients,
        "bytes_of_adam": adam,
        "operations": 6 * BATCH * (k + 1) * d,
    }


def timed(work, times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def table(speeds: dict, rows: list[dict], about: dict) -> str:
    """The record for readers."""
    lines = [
        f"{about['cpu']}, one thread; load {about['load']}. Streams: {speeds['near']} GB/s through "
        f"{12 * NEAR / 1e6:.0f} MB, {speeds['far']} GB/s through {12 * FAR / 1e6:,.0f} MB; "
        f"products of matrices: {speeds['product']} billion operations a second.",
        "",
        "| step of 1,024 queries | MB: lists | gradients | Adam | million operations | "
        "least ms: memory | products | ms taken |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        parts = [row[f"bytes_of_{what}"] / 1e6 for what in ("lists", "gradients", "adam")]
        lines.append(
            f"| {row['case']} | {' | '.join(f'{part:.0f}' for part in parts)} | "
            f"{row['operations'] / 1e6:.0f} | {row['memory_ms']:.1f} | {row['product_ms']:.1f} | "
            f"{row['taken_ms']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    options = words(__doc__).parse_args()
    torch.set_num_threads(1)
    graph = read_graph(options.folder)
    ours = Sparring(arrays_of(graph))
    machine = {"near": stream(NEAR), "far": stream(FAR), "product": product()}
    steps = {case: ours.train(*given) for case, given in CASES.items()}
    spent: dict[str, list[float]] = {name: [] for name in (*machine, *steps)}
    for round_ in range(ROUNDS + 1):  # the first is for warming up
        for name, (work, _) in machine.items():
            took = timed(work, 1 if name == "far" else 10)
            spent[name] += [took] if round_ else []
        for case, some in steps.items():
            (took, _), queries = some()
            spent[case] += [took * BATCH / queries] if round_ else []
    median = {name: statistics.median(times) for name, times in spent.items()}
    speeds = {name: amount / median[name] for name, (_, amount) in machine.items()}
    rows = []
    for case, (_, d, k, *rest) in CASES.items():
        shared = bool(rest)
        count = counted(len(graph.entities), d, k, shared, sparse=shared or k < 16)
        moved = sum(count[f"bytes_of_{what}"] for what in ("lists", "gradients", "adam"))
        rows.append(
            {
                "case": case,
                **{name: round(amount) for name, amount in count.items()},
                "memory_ms": round(moved / speeds["near"] * 1e3, 2),
                "product_ms": round(count["operations"] / speeds["product"] * 1e3, 2),
                "taken_ms": round(median[case] * 1e3, 2),
                "least_ms": round(min(spent[case]) * 1e3, 2),
            }
        )
        print(rows[-1], flush=True)
    told = {name: round(speed / 1e9, 1) for name, speed in speeds.items()}
    about = provenance() | {"threads": 1, "rounds": ROUNDS, "batch": BATCH}
    about["load"] = load()
    record = {**about, "billions_per_second": told, "steps": rows}
    write("roofline", record, table(told, rows, about))


if __name__ == "__main__":
    main()
