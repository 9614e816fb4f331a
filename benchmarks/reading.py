"""How long names take to become ids, and how much memory, beside dictionaries in a Python loop.

    python benchmarks/reading.py [--rows 20000000]

writes research/results/benchmarks/reading.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

RESULTS = Path(__file__).parents[1] / "research" / "results" / "benchmarks" / "reading.json"
ENTITIES, RELATIONS, CHUNK = 2_000_000, 500, 1_000_000
PEER = "dictionaries in a Python loop"


def write_triples(path: Path, rows: int) -> None:
    """Random label triples: heads as skewed as in real graphs, tails even."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            heads = (rng.pareto(0.7, size) * 100).astype(np.int64) % ENTITIES
            ids = {"h": heads, "r": rng.integers(RELATIONS, size=size)}
            frame = pl.DataFrame({**ids, "t": rng.integers(ENTITIES, size=size)})
            frame.select(
                pl.format("http://example.org/entity/{}", "h").alias("h"),
                pl.format("relation_{}", "r").alias("r"),
                pl.format("http://example.org/entity/{}", "t").alias("t"),
            ).write_csv(file, separator="\t", include_header=False)


def read_with_sparring(path: Path) -> int:
    from sparring.data.read import read_graph
    from sparring.data.split import SplitRule

    graph = read_graph(path, split=SplitRule(valid=0.0, test=0.0))
    return len(graph.train) + graph.notes.get("duplicate triples in train", 0)


def read_with_dictionaries(path: Path) -> int:
    """What most research code does."""
    import torch

    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    triples = []
    with path.open(encoding="utf8") as lines:
        for line in lines:
            head, relation, tail = line.rstrip("\n").split("\t")
            triples.append(
                (
                    entities.setdefault(head, len(entities)),
                    relations.setdefault(relation, len(relations)),
                    entities.setdefault(tail, len(entities)),
                )
            )
    return len(torch.tensor(triples))


READERS = {"sparring": read_with_sparring, "dictionaries": read_with_dictionaries}


def measure(reader: str, path: Path) -> None:
    """Read in this process and write seconds and memory to standard output, as JSON."""
    import torch  # noqa: F401  # so that its import is not measured

    wall, processor = time.perf_counter(), time.process_time()
    rows = READERS[reader](path)
    measured = {
        "rows": rows,
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "memory": peak_memory(),
    }
    sys.stdout.write(json.dumps(measured))


def peak_memory() -> float:
    """Largest resident size of this process so far, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def measured_apart(reader: str, path: Path, rows: int) -> dict[str, float]:
    """What `measure` says in a process of its own."""
    command = [sys.executable, __file__, "--measure", reader, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout)
    if measured["rows"] != rows:
        raise RuntimeError(f"{reader} read {measured['rows']} rows of {rows}")
    return measured


def compare(rows: int) -> dict:
    """Both readers on the same file, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "facts.tsv")
        write_triples(path, rows)
        size = path.stat().st_size / 1e9
        ours, peer = (measured_apart(reader, path, rows) for reader in READERS)
    units = {"wall": "s", "processor": "s", "memory": "GB"}
    return {
        "cpu": f"{cpu_name()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[1],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("sparring", "polars", "torch", "numpy")},
        },
        "measurements": [
            {
                "name": f"read {rows:,} label triples ({size:.1f} GB): {what}",
                "ours": round(ours[what], 2),
                "peer": round(peer[what], 2),
                "peer_name": PEER,
                "unit": unit,
                "ratio": round(peer[what] / ours[what], 2),
            }
            for what, unit in units.items()
        ],
    }


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--measure", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        reader, path = options.measure
        measure(reader, Path(path))
        return
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(compare(options.rows), indent=2) + "\n")


if __name__ == "__main__":
    main()
