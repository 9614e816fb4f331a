"""What training takes where entities are many: one process vs. several that share the tables.

    python benchmarks/scale.py [--entities N ...] [--prototype FOLDER] [--torchrec] [--again]

writes research/results/benchmarks/scale.json and the same as a table, scale.md. A step is ComplEx,
d = 64, on 2,048 queries of a random graph of a million triples, with 64 negatives per query,
row-wise Adagrad and one thread per process. W = 0 trains as `sparring fit` does, W = 1, 2, 4 shard
the tables. Uniform draws of own lists travel as queries (push) or fetch rows (rows). Each case has
processes of its own; times are processor milliseconds per step, the mean of the last 24 of 36
steps. The re-coding of the generator, once in a sweep over all entities, is added in proportion.
Locally, the generator also draws lists for groups of 32 queries. Cases that the record has already
are not run again, without --again. FOLDER holds a prototype in a few lines, `kgc.py`, to compare
with. --torchrec, where TorchRec is installed, also measures its tables, with 10^6 entities.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from generator import random_graph
from record import RESULTS, load, write

from sparring.corruption import CorruptBoth
from sparring.distributed import step as sharded
from sparring.distributed.facts import Facts, own_queries
from sparring.distributed.forecast import bytes_sent
from sparring.distributed.generator import ShardedGenerator
from sparring.distributed.layout import Layout
from sparring.distributed.table import ShardedTable
from sparring.distributed.torchrec import TorchRecTable
from sparring.embedding import sharded_tables
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx
from sparring.optim import RowwiseAdagrad
from sparring.samplers import Uniform
from sparring.seeds import Seeds
from sparring.training import TrainingStep

SIZES, RANKS, TRIPLES = (1_000_000, 10_000_000), (0, 1, 2, 4), 1_000_000
DIM, K, BATCH, V, STEPS, WARM = 64, 64, 1024, 64, 36, 12
GROUP, GROUPED, TORCHREC = 32, "generator, groups of 32", "uniform, TorchRec"


def cases(sizes: list[int], torchrec: bool) -> list[dict]:
    """What is measured."""
    found = []
    for size in sizes:
        for ranks in RANKS:
            for sampler, route in (("uniform", "push"), ("uniform", "rows"), ("generator", "push")):
                if route == "push" or ranks > 1:
                    found.append({"N": size, "W": ranks, "sampler": sampler, "route": route})
        found.append({"N": size, "W": 0, "sampler": GROUPED, "route": "push"})
    for ranks in (1, 2) if torchrec else ():
        found.append({"N": SIZES[0], "W": ranks, "sampler": TORCHREC, "route": "rows"})
    return found


class Traffic:
    """Counts the bytes that this rank sends to others."""

    def __init__(self) -> None:
        self.sent = 0
        whole = dist.all_to_all_single, dist.all_gather, dist.all_reduce

        def exchange(output, input, output_split_sizes=None, input_split_sizes=None, **given):
            size = dist.get_world_size()
            parts = input_split_sizes or [len(input) // size] * size
            away = sum(parts) - parts[dist.get_rank()]
            self.sent += away * (input[:1].nbytes if len(input) else 0)
            return whole[0](output, input, output_split_sizes, input_split_sizes, **given)

        def gather(parts, rows, **given):
            self.sent += rows.nbytes * (dist.get_world_size() - 1)
            return whole[1](parts, rows, **given)

        def reduce(values, *given, **more):
            size = dist.get_world_size()
            self.sent += 2 * values.nbytes * (size - 1) // size
            return whole[2](values, *given, **more)

        dist.all_to_all_single, dist.all_gather, dist.all_reduce = exchange, gather, reduce


def local_step(size: int, sampler: str) -> tuple[TrainingStep, torch.Tensor, int]:
    """A step of one process, its triples, and how many of them a batch has."""
    graph = random_graph(size, TRIPLES)
    torch.manual_seed(0)
    groups = GROUP if sampler == GROUPED else 0
    made = (
        Uniform(graph, k=K) if sampler == "uniform" else NSGenerator(graph, k=K, group_size=groups)
    )
    model = ComplEx(graph, dim=DIM, init=0.1, sparse=True)
    loss = SampledSoftmax(correction="both")
    return TrainingStep(model, made, loss, CorruptBoth(graph)), graph.triples, BATCH


def sharded_step(size: int, sampler: str) -> tuple[TrainingStep, Facts, int]:
    """The step of a rank, its facts, and how many queries each virtual worker has in a batch."""
    graph, names = random_graph(size, TRIPLES), iter(range(9))
    layout = Layout(size, graph.num_relations, V)
    queries, sizes = own_queries(graph.triples, layout)
    facts = Facts(layout, queries, sizes, 2 * TRIPLES, torch.ones(size))
    seeds, parts = Seeds(0), facts.graph()
    kind = TorchRecTable if sampler == TORCHREC else ShardedTable
    table = lambda dim, init: kind(layout, dim, init=init, seeds=seeds, name=str(next(names)))
    torch.manual_seed(0)
    with sharded_tables(size, table):
        model = ComplEx(parts, dim=DIM, init=0.1)
        made = ShardedGenerator(parts, k=K) if sampler == "generator" else Uniform(parts, k=K)
    if sampler != "generator":
        made = sharded.PerWorkerSampler(made, layout.own)
    else:
        sharded.average_gradients(made, made.optimizer)
    loss = sharded.ShareOfLoss(SampledSoftmax(correction="both"), facts)
    return TrainingStep(model, made, loss, sharded.OwnQueries(facts)), facts, 2 * BATCH // V


def recoding(step: TrainingStep, updates: int) -> float:
    """Milliseconds per step of what ends a sweep over all entities.

    Args:
        updates: per sweep.
    """
    index, vectors = step.sampler.index, step.sampler.student.vectors
    start = time.process_time()
    index._rebuild(*([vectors] if step.corruption.__class__ is CorruptBoth else []))
    return (time.process_time() - start) * 1e3 / (updates * step.sampler.schedule.update_every)


def measure(case: dict, rank: int, store: str) -> dict:
    """What one rank measures."""
    torch.set_num_threads(1)
    keep_freed_memory()
    ranks = max(1, case["W"])
    file = dist.FileStore(store, ranks)
    dist.init_process_group("gloo", store=file, rank=rank, world_size=ranks)
    traffic, expected = Traffic(), 0
    rng, order = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    if case["W"]:
        step, facts, per_worker = sharded_step(case["N"], case["sampler"])
        starts = torch.tensor([0, *facts.sizes]).cumsum(0).tolist()
        optimizer = RowwiseAdagrad(step.trainable_parameters(), lr=0.1)
        sharded.average_gradients(step.model, optimizer)
        step.model.entity.attach(optimizer)

        def batch():
            pairs = zip(starts, facts.sizes)
            rows = [a + torch.randint(n, (per_worker,), generator=order) for a, n in pairs]
            return facts.queries[torch.cat(rows)]

        own_rows = case["route"] == "rows" and case["sampler"] != TORCHREC
        if own_rows:
            ShardedTable._push = lambda self, scorer, ids: scorer.score_in_pytorch(ids)
    else:
        step, triples, size = local_step(case["N"], case["sampler"])
        optimizer = RowwiseAdagrad(step.trainable_parameters(), lr=0.1)
        batch = lambda: triples[torch.randint(len(triples), (size,), generator=order)]
    spent = []
    for number in range(STEPS):
        rows = batch()
        if number == WARM:
            sent = traffic.sent
        start = time.process_time()
        step(rows, optimizer, rng)
        spent.append((time.process_time() - start) * 1e3)
    sent = (traffic.sent - sent) / (STEPS - WARM)
    milliseconds, share = sum(spent[WARM:]) / (STEPS - WARM), 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if case["W"]:
        expected = bytes_sent(step, len(facts.sizes) * per_worker)
        if own_rows:  # ids and vectors for pairs and scores, and no queries
            queries, away = 2 * BATCH / ranks, (ranks - 1) / ranks
            expected += queries * K * away * (8 + 8 * DIM - 24) - 8 * queries * (ranks - 1) * DIM
    if case["sampler"] not in ("uniform", TORCHREC):
        index = step.sampler.index
        per_update = index.step if case["W"] else index.assign_per_update
        rows = facts.layout.block if case["W"] else case["N"]
        share = recoding(step, -(-rows // per_update))
    return {
        "ms": milliseconds + share,
        "recoding_ms": share,
        "mb": memory,
        "sent": sent,
        "formula": expected,
    }


def run(case: dict) -> dict:
    """Measure a case in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--case", json.dumps(case), f"{folder}/store"]
        started = [
            subprocess.Popen([*words, str(rank)], stdout=subprocess.PIPE, text=True)
            for rank in range(max(1, case["W"]))
        ]
        found = [json.loads(one.communicate()[0].splitlines()[-1]) for one in started]
    return as_row(case, found)


def as_row(case: dict, found: list[dict]) -> dict:
    """The measurements of all ranks: of all together, and of the one that takes most."""
    return {
        **case,
        "cpu_ms_all": round(sum(one["ms"] for one in found), 1),
        "cpu_ms_rank": round(max(one["ms"] for one in found), 1),
        "recoding_ms": round(max(one.get("recoding_ms", 0) for one in found), 3),
        "mb_rank": max(one["mb"] for one in found),
        "sent_mb": round(max(one.get("sent", 0) for one in found) / 1e6, 3),
        "formula_mb": round(max(one.get("formula", 0) for one in found) / 1e6, 3),
    }


def prototype(folder: Path, case: dict) -> dict:
    """The same for the prototype, which prints what its first rank has measured."""
    words = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc-per-node={case['W']}", str(folder / "kgc.py"), "--N", str(case["N"])),
        *("--dim", str(DIM), "--B", str(2 * BATCH), "--K", str(K), "--V", str(V)),
        *("--steps", str(STEPS), "--route", case["route"], "--draw", "uniform"),
    ]
    done = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    row = as_row(case, [{"ms": said["cpu_ms"], "mb": said["rss_mb"]}])
    return {**row, "cpu_ms_all": round(said["cpu_ms"] * case["W"], 1), "sampler": "prototype"}


def table(rows: list[dict], about: dict) -> str:
    """The record for readers."""
    rows = sorted(rows, key=lambda row: (row["N"], row["W"], row["sampler"], row["route"]))
    lines = [
        f"{about['cpu']}, one thread per process. {2 * BATCH:,} queries a step, ComplEx "
        f"d = {DIM}, K = {K}, {V} virtual workers; processor milliseconds a step of all processes "
        "together and of the one that takes most; peak memory, and MB sent a step, per process.",
        "",
        "| N | W | sampler | route | all | process | re-coding | MB | sent | formula |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        name = "local" if not row["W"] else row["W"]
        route = row["route"] if row["W"] > 1 else ""
        lines.append(
            f"| {row['N']:,} | {name} | {row['sampler']} | {route} | {row['cpu_ms_all']} | "
            f"{row['cpu_ms_rank']} | {row['recoding_ms']} | {row['mb_rank']:,} | "
            f"{row['sent_mb']} | {row['formula_mb']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entities", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--prototype", type=Path)
    parser.add_argument("--torchrec", action="store_true")
    parser.add_argument("--case", nargs=3)
    parser.add_argument("--again", action="store_true")
    words = parser.parse_args()
    if words.case:
        case, store, rank = words.case
        print(json.dumps(measure(json.loads(case), int(rank), store)))
        return
    about, kept = provenance(), RESULTS / "scale.json"
    before = json.loads(kept.read_text()) if kept.exists() else {}
    rows = [] if words.again else before.get("measurements", [])
    done = [{name: row[name] for name in ("N", "W", "sampler", "route")} for row in rows]
    for case in cases(words.entities, words.torchrec):
        wanted = [(case, run)]
        if words.prototype and case["W"] and case["sampler"] == "uniform":
            again = {**case, "sampler": "prototype"}
            wanted.append((again, lambda one: prototype(words.prototype, one)))
        for one, how in wanted:
            if one in done:
                continue
            rows.append(how(one) | {"load": load(), "commit": about["commit"]})
            print(rows[-1], flush=True)
            write("scale", {**about, "measurements": rows}, table(rows, about))


if __name__ == "__main__":
    main()
