"""Labels to ids and parts of virtual workers for a graph larger than memory: time and peak memory.

    python benchmarks/partition.py SCRATCH [TRIPLES [ENTITIES]]

writes random triples with labels into the folder SCRATCH, partitions them in a process of its own,
and writes research/results/benchmarks/partition.json and the same for readers, partition.md. By
default 50 million triples of 10 million labels, DuckDB with 2.5 GB and one thread.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from record import write

from sparring.experiments.environment import provenance

RELATIONS, WORKERS, MEMORY, CHUNK = 200, 64, "2500MB", 2_000_000
PROGRAM = """
import json, resource, sys
from pathlib import Path
from sparring.distributed.partition import partition
made = partition(Path(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[3]), memory=sys.argv[4])
spent = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "entities": made.num_entities, "queries": sum(made.sizes),
    "busiest_to_mean": round(max(made.sizes) * made.workers / sum(made.sizes), 3),
    "cpu_seconds": round(spent.ru_utime + spent.ru_stime, 1), "peak_mb": spent.ru_maxrss // 1024,
}))
"""


def write_triples(path: Path, triples: int, entities: int) -> None:
    """Random triples as text; heads are drawn in proportion to a power law."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, triples, CHUNK):
            size = min(CHUNK, triples - start)
            head = (entities * rng.random(size) ** 2).astype(np.int64)
            frame = pl.DataFrame(
                {
                    "h": head,
                    "r": rng.integers(RELATIONS, size=size),
                    "t": rng.integers(entities, size=size),
                }
            )
            label = lambda name: pl.format("http://example.org/entity/Q{}", pl.col(name))
            frame.select(
                label("h"), pl.format("P{}", pl.col("r")), label("t").alias("t")
            ).write_csv(file, include_header=False, separator="\t")


def main() -> None:
    scratch = Path(sys.argv[1])
    triples, entities = (
        int(sys.argv[n]) if len(sys.argv) > n else size
        for n, size in ((2, 50_000_000), (3, 10_000_000))
    )
    source, target = scratch / "triples.tsv", scratch / "parts"
    scratch.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    write_triples(source, triples, entities)
    words = [str(source), str(target), str(WORKERS), MEMORY]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    found |= {"seconds": round(time.perf_counter() - start, 1), "triples": triples}
    found |= {"text_mb": source.stat().st_size // 10**6, "memory": MEMORY, "workers": WORKERS}
    print(found)
    lines = [f"| {name} | {value} |" for name, value in found.items()]
    write(
        "partition", {**provenance(), **found}, "\n".join(["| | |", "| --- | --- |", *lines]) + "\n"
    )


if __name__ == "__main__":
    main()
