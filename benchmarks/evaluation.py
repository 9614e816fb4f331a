"""Exact filtered ranks in two precisions, on one thread and two, and in how much memory.

    python benchmarks/evaluation.py FOLDER

FOLDER holds FB15k-237. Trains two small models for some epochs, so that ranks mean something, and
ranks its test triples; nothing was tuned. Times are medians of interleaved rounds. Memory is what
ranking adds at its peak, next to what `chunk_sizes` in evaluation.py says of it. Writes
research/results/benchmarks/evaluation.json and the same as a table, evaluation.md.
"""

import ctypes
import gc
import os
import statistics
import time
from pathlib import Path

import torch
from record import load, words, write
from sampler_peers import settle

from sparring.corruption import CorruptBoth
from sparring.data.graph import TrainGraph
from sparring.data.index import TripleIndex
from sparring.data.read import read_graph
from sparring.evaluation.ranking import PRECISIONS, chunk_sizes, evaluate
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx, TransE
from sparring.samplers import MaskKnown, Uniform
from sparring.training import OPTIMIZERS, TrainingStep

# how models are made, and how many bytes they hold per score
MODELS = {
    "ComplEx d = 200": (
        lambda graph: ComplEx(graph, dim=200, init=0.1, reciprocal_relations=True),
        4,
    ),
    "TransE L2 d = 200": (lambda graph: TransE(graph, dim=200, norm=2, init=0.1), 12),
}
EPOCHS, BATCH, K, LR = 6, 1024, 64, 0.1
RANKED, ROUNDS, THREADS = 2000, 5, (1, 2)
LIMITS = (2**20, 2**22, 2**25, 2**27)
WIDE, WIDE_DIM = 1_000_000, 64  # entities of a random graph, where a limit cuts into chunks


def trained(graph: TrainGraph, make) -> torch.nn.Module:
    torch.manual_seed(0)
    rng, model = torch.Generator().manual_seed(0), make(graph)
    sampler = MaskKnown(graph, inner=Uniform(graph, k=K))
    step = TrainingStep(model, sampler, SampledSoftmax(), CorruptBoth(graph))
    optimizer = OPTIMIZERS["rowwise-adagrad"](step.trainable_parameters(), lr=LR)
    for _ in range(EPOCHS):
        order = torch.randperm(len(graph.triples), generator=rng)
        for rows in order.split(BATCH):
            step(graph.triples[rows], optimizer, rng)
    return model


def timed(name: str, model, triples, known) -> list[dict]:
    """Each precision on each number of threads, in turns."""
    some = triples[:RANKED]
    ways = [(precision, threads) for precision in PRECISIONS for threads in THREADS]
    processor, wall = {way: [] for way in ways}, {way: [] for way in ways}
    for round_ in range(ROUNDS + 1):  # the first is for warming up
        for way in ways:
            torch.set_num_threads(way[1])
            start = time.process_time(), time.perf_counter()
            evaluate(model, some, known, precision=way[0])
            if round_:
                processor[way].append(time.process_time() - start[0])
                wall[way].append(time.perf_counter() - start[1])
    torch.set_num_threads(1)
    whole = {
        precision: evaluate(model, triples, known, precision=precision) for precision in PRECISIONS
    }
    rows = []
    for precision, threads in ways:
        way, ranks = (precision, threads), whole[precision]
        rows.append(
            {
                "model": name,
                "precision": precision,
                "threads": threads,
                "processor_seconds": round(statistics.median(processor[way]), 3),
                "seconds": round(statistics.median(wall[way]), 3),
                "least_seconds": round(min(wall[way]), 3),
                "mrr": round(ranks.mrr(), 5),
                "hits@10": round(ranks.hits(10), 5),
                "ranks_changed": round(
                    (ranks.rank != whole["float32"].rank).double().mean().item(), 4
                ),
            }
        )
        print(rows[-1], flush=True)
    return rows


def status(field: str) -> int:
    """Bytes, as the system counts this process."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) * 1024


def memory(name: str, model, each: int, triples, known) -> list[dict]:
    """What ranking adds at its peak under each limit, in MB; `each` score takes so many bytes."""
    rows = []
    evaluate(model, triples, known)  # what is made once and kept
    for limit in LIMITS:
        settle(keep=False)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before, start = status("VmRSS"), time.process_time()
        evaluate(model, triples, known, max_scores=limit)
        spent = time.process_time() - start
        batch, chunk = chunk_sizes(1024, limit, known.num_entities)
        rows.append(
            {
                "graph": name,
                "max_scores": limit,
                "queries_at_once": batch,
                "entities_at_once": chunk,
                "stated_mb": round((each * batch * chunk + 4 * model.dim * chunk) / 1e6),
                "added_mb": round((status("VmHWM") - before) / 1e6),
                "processor_seconds": round(spent, 2),
            }
        )
        print(rows[-1], flush=True)
    keep_freed_memory()
    return rows


def random_graph() -> TrainGraph:
    rng = torch.Generator().manual_seed(0)
    head, tail = torch.randint(WIDE, (2, WIDE), generator=rng)
    return TrainGraph(torch.stack([head, head % 7, tail], 1), WIDE, 7)


def table(times: list[dict], memories: list[dict], about: dict) -> str:
    """The record for readers."""
    lines = [
        f"{about['cpu']}, {os.cpu_count()} cores; load {about['load']}. FB15k-237: times of "
        f"{RANKED:,} triples from both sides, metrics of all of test.",
        "",
        "| model | precision | threads | processor s | s | MRR | Hits@10 | ranks changed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in times:
        lines.append(
            f"| {row['model']} | {row['precision']} | {row['threads']} | "
            f"{row['processor_seconds']:.2f} | {row['seconds']:.2f} | {row['mrr']:.4f} | "
            f"{row['hits@10']:.4f} | {row['ranks_changed']:.1%} |"
        )
    lines += [
        "",
        "| graph | `max_scores` | queries at once | entities at once | stated MB | added MB | "
        "processor s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in memories:
        lines.append(
            f"| {row['graph']} | {row['max_scores']:,} | {row['queries_at_once']:,} | "
            f"{row['entities_at_once']:,} | {row['stated_mb']:,} | {row['added_mb']:,} | "
            f"{row['processor_seconds']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    options = words(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    graph = read_graph(options.folder)
    times, memories = [], []
    for name, (make, each) in MODELS.items():
        model = trained(graph.training, make)
        times += timed(name, model, graph.test, graph.known)
        some = graph.test[:RANKED]
        memories += memory(f"FB15k-237, {name}", model, each, some, graph.known)
    wide = random_graph()
    known = TripleIndex(wide.triples, WIDE, 7)
    model = ComplEx(wide, dim=WIDE_DIM)
    case = f"N = {WIDE:,}, ComplEx d = {WIDE_DIM}"
    memories += memory(case, model, 4, wide.triples[:100], known)
    about = provenance() | {"rounds": ROUNDS, "epochs": EPOCHS, "k": K, "batch": BATCH, "lr": LR}
    about["load"] = load()
    record = {**about, "ranking": times, "memory": memories}
    write("evaluation", record, table(times, memories, about))


if __name__ == "__main__":
    main()
