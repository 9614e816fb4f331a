"""What a step would take on more processes and entities than one machine has, from measured pieces.

    python research/scripts/scale_simulation.py

reads research/results/benchmarks/scale.json and writes scale_simulation.json and the same as a
table, scale_simulation.md, next to it. Nothing is run. What goes in:

- Processor time and memory of one process per query and per row, as measured for W = 4 and
  N = 10^6, 10^7; in between, in proportion to the logarithm of the rows of a process.
- Bytes by the formula of `sparring.distributed.forecast`, which the record compares with what was
  sent. Above W = K = 64, rows travel instead of queries, as `ShardedTable.compare` chooses.
- The number of messages of a step, as counted, and a latency for each.

Assumptions: 16 processes per host, one core and 2,048 queries a step each; a host has one network
card, 10 or 100 Gb/s, of which 80 % arrives; sending and computing do not overlap; memory is as fast
as on the measured machine when 16 cores share it; no process is late.
"""

import json
import math
from pathlib import Path
from typing import Any

from sparring.experiments.environment import provenance

RESULTS = Path(__file__).parents[1] / "results" / "benchmarks"
PER_HOST, QUERIES, K, DIM, STUDENT = 16, 2048, 64, 64, 33
ENTITIES, PROCESSES = (10**8, 10**9), (16, 64, 256)
NETWORKS = {"10 Gb/s": (10e9 * 0.8 / 8, 50e-6), "100 Gb/s": (100e9 * 0.8 / 8, 20e-6)}
MESSAGES = {"uniform": 22, "generator": 34}  # collectives of a step
FACTS = 10**9  # for the hours of an epoch
FLOAT, ID, DRAW = 4, 8, 24


def measured(rows: list[dict[str, Any]], sampler: str, entities: int) -> dict[str, Any]:
    """The case of four processes that push."""
    found = [
        row
        for row in rows
        if (row["N"], row["W"], row["sampler"], row["route"]) == (entities, 4, sampler, "push")
    ]
    return found[0]


def simulated(rows: list[dict[str, Any]], sampler: str, entities: int, processes: int) -> dict:
    """Seconds of a step by network, memory of a process, and core hours of an epoch."""
    small, large = (measured(rows, sampler, size) for size in (10**6, 10**7))
    own = entities / processes
    place = math.log(own / (small["N"] / 4)) / math.log(large["N"] / small["N"])
    per_query = [row["cpu_ms_rank"] / (2048 / 4) for row in (small, large)]
    compute = QUERIES * (per_query[0] + place * (per_query[1] - per_query[0])) / 1e3
    per_row = (large["mb_rank"] - small["mb_rank"]) * 2**20 / ((large["N"] - small["N"]) / 4)
    memory = small["mb_rank"] * 2**20 + per_row * (own - small["N"] / 4)
    sent = bytes_sent(sampler, processes)
    hosts = max(1, processes // PER_HOST)
    leaving = PER_HOST * sent * (hosts - 1) / hosts
    seconds = {
        name: compute + leaving / speed + (MESSAGES[sampler] * latency if hosts > 1 else 0.0)
        for name, (speed, latency) in NETWORKS.items()
    }
    steps = 2 * FACTS / (QUERIES * processes)
    hours = {name: steps * one * processes / 3600 for name, one in seconds.items()}
    return {
        "entities": entities,
        "processes": processes,
        "sampler": sampler,
        "compute_s": round(compute, 3),
        "sent_mb": round(sent / 1e6, 1),
        "memory_gb": round(memory / 2**30, 1),
        "step_s": {name: round(one, 3) for name, one in seconds.items()},
        "core_hours_per_epoch": {name: round(one, 1) for name, one in hours.items()},
        "memory_is_extrapolated": not small["N"] / 4 <= own <= large["N"] / 4,
    }


def bytes_sent(sampler: str, processes: int) -> float:
    """Bytes that one process sends in a step, if no entity occurs twice."""
    away = (processes - 1) / processes
    sent = 2 * QUERIES * away * (ID + 2 * FLOAT * DIM)
    if processes < K:
        sent += QUERIES * K * away * (2 * ID + 2 * FLOAT)
        sent += 2 * FLOAT * QUERIES * (processes - 1) * DIM
    else:
        sent += QUERIES * K * away * (ID + 2 * FLOAT * DIM)
    if sampler == "generator":  # a quarter of the queries teaches in a step, on the average
        sent += QUERIES * away * (K * DRAW + 2 * ID + 2 * FLOAT + FLOAT * STUDENT)
        sent += QUERIES / 4 * (K + 10) * away * (ID + 2 * FLOAT * STUDENT)
    return sent


def table(rows: list[dict[str, Any]]) -> str:
    """The record for readers."""
    lines = [
        "| entities | processes | sampler | computing, s | sent, MB | memory, GB | "
        + " | ".join(f"step at {name}, s" for name in NETWORKS)
        + " | core hours, 10^9 facts, 100 Gb/s |",
        "| --- |" + " --- |" * (6 + len(NETWORKS)),
    ]
    for row in rows:
        steps = " | ".join(str(row["step_s"][name]) for name in NETWORKS)
        hours = row["core_hours_per_epoch"]["100 Gb/s"]
        lines.append(
            f"| {row['entities']:.0e} | {row['processes']} | {row['sampler']} | "
            f"{row['compute_s']} | {row['sent_mb']} | {row['memory_gb']} | {steps} | {hours:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    record = json.loads((RESULTS / "scale.json").read_text())
    rows = [
        simulated(record["measurements"], sampler, entities, processes)
        for entities in ENTITIES
        for processes in PROCESSES
        for sampler in ("uniform", "generator")
    ]
    body = {**provenance(), "measured_at": record["commit"], "rows": rows}
    (RESULTS / "scale_simulation.json").write_text(json.dumps(body, indent=1) + "\n")
    (RESULTS / "scale_simulation.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
