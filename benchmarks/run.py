"""Training and exact filtered evaluation on FB15k-237 beside other libraries.

    python benchmarks/run.py FOLDER [--threads 1] [--only "K = 8"]

FOLDER holds FB15k-237. Peers are installed into environments of their own under .cache. Every case
is measured in turns, round by round, each library in a process of its own; what is compared is
processor time, which neighbours on the machine disturb least. Writes
research/results/benchmarks/run.json
and the same as a table, run.md; `contestants.py` says what exactly each library does.
"""

import os
import statistics
import sys
from pathlib import Path

import numpy as np
from contestants import BATCH, Contestant, arrays_of
from record import load, words, write
from sampler_peers import environment

from sparring.data.read import read_graph
from sparring.experiments.environment import provenance

ROOT = Path(__file__).parents[1]
PEERS = ("pykeen", "torchkge", "libkge")
ROUNDS = {"train": 7, "evaluate": 3}
# case, what to prepare, and whether peers have it
TRAINING = {
    "ComplEx d = 128, K = 64": (("complex", 128, 64), True),
    "TransE L1 d = 100, K = 8": (("transe", 100, 8), True),
    "TransE L1 d = 100, K = 8, Adagrad": (("transe", 100, 8, "adagrad"), True),
    "TransE L1 d = 100, K = 64": (("transe", 100, 64), True),
    "ComplEx d = 128, K = 1,024 shared by the batch": (("complex", 128, 1024, "adam", True), False),
    "TransE L1 d = 100, K = 1,024 shared by the batch": (
        ("transe", 100, 1024, "adam", True),
        False,
    ),
}
RANKED = 1000
EVALUATION = {
    "ComplEx d = 200": ("complex", 200, RANKED),
    "TransE L1 d = 200": ("transe", 200, RANKED),
}


def in_turns(contestants: dict, what: str, given: tuple, left_out: list, case: str) -> list[dict]:
    """One row per library: how many queries or triples a second, median and extremes."""
    rates: dict[str, list] = {}
    walls: dict[str, list] = {}
    for round_ in range(ROUNDS[what] + 1):  # the first is for warming up
        for name, one in contestants.items():
            try:
                if not round_:
                    one.ask("prepare", what, *given)
                    rates[name], walls[name] = [], []
                if name in rates:
                    (processor, wall), done = one.ask("timed")
                    if round_:
                        rates[name].append(done / processor)
                        walls[name].append(done / wall)
            except RuntimeError as error:
                rates.pop(name, None)
                left_out.append({"name": f"{what}, {case}", "peer_name": name, "why": str(error)})
    ours = statistics.median(rates["sparring"])
    rows = []
    for name, seen in rates.items():
        rate = statistics.median(seen)
        rows.append(
            {
                "what": what,
                "case": case,
                "library": name,
                "per_processor_second": round(rate),
                "least": round(min(seen)),
                "most": round(max(seen)),
                "per_second": round(statistics.median(walls[name])),
                "ratio": round(ours / rate, 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def whole_test(one: Contestant, rows: int) -> list[dict]:
    """All of the test split, ours only."""
    found = []
    for case, (name, dim, _) in EVALUATION.items():
        one.ask("prepare", "evaluate", name, dim, rows)
        (processor, wall), done = one.ask("timed")
        found.append(
            {
                "what": "evaluate all of test",
                "case": case,
                "triples": done,
                "processor_seconds": round(processor, 2),
                "seconds": round(wall, 2),
                "peak_gb": round(one.ask("peak"), 2),
            }
        )
        print(found[-1], flush=True)
    return found


def table(rows: list[dict], whole: list[dict], about: dict) -> str:
    """The record for readers."""
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} thread(s); load "
        f"{about['load']}; " + ", ".join(f"{k} {v}" for k, v in about["versions"].items()) + ".",
        "",
        "| what | case | library | per processor second | least to most | ours is so many times "
        "| per second | ours is so many times |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    units = {"train": "queries trained", "evaluate": "triples ranked from both sides"}
    ours = {
        (row["what"], row["case"]): row["per_second"]
        for row in rows
        if row["library"] == "sparring"
    }
    for row in rows:
        by_the_clock = ours[row["what"], row["case"]] / row["per_second"]
        lines.append(
            f"| {units[row['what']]} | {row['case']} | {row['library']} | "
            f"{row['per_processor_second']:,} | {row['least']:,} to {row['most']:,} | "
            f"{row['ratio']:.1f} | {row['per_second']:,} | {by_the_clock:.1f} |"
        )
    if not whole:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "| all of test, both sides | processor s | s | peak GB |",
        "| --- |" * 1 + " --- | --- | --- |",
    ]
    for row in whole:
        lines.append(
            f"| {row['case']} | {row['processor_seconds']} | {row['seconds']} | {row['peak_gb']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = words(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", default="", help="trainings with this in their name, into run-some"
    )
    options = parser.parse_args()
    cache, left_out = ROOT / ".cache" / "peers", []
    cache.mkdir(parents=True, exist_ok=True)
    graph = read_graph(options.folder)
    file = cache / "fb15k-237.npz"
    np.savez(file, **arrays_of(graph))

    contestants, versions = (
        {"sparring": Contestant([sys.executable], "sparring", file, options.threads)},
        {},
    )
    for library in PEERS:
        try:
            python, versions[library] = environment(cache, library)
            contestants[library] = Contestant([str(python)], library, file, options.threads)
        except (OSError, RuntimeError) as error:
            left_out.append({"name": library, "why": f"cannot be installed: {error}"})
    rows = []
    for case, (given, compared) in TRAINING.items():
        if options.only not in case:
            continue
        several = contestants if compared else {"sparring": contestants["sparring"]}
        rows += in_turns(several, "train", given, left_out, case)
    whole = []
    if not options.only:
        for case, given in EVALUATION.items():
            rows += in_turns(contestants, "evaluate", given, left_out, case)
        whole = whole_test(contestants["sparring"], len(graph.test))
    for one in contestants.values():
        one.close()

    about = provenance() | {"cores": os.cpu_count(), "threads": options.threads}
    about |= {"load": load(), "batch": BATCH, "rounds": ROUNDS}
    about["versions"] |= versions
    record = {**about, "measurements": rows, "whole": whole, "left_out": left_out}
    suffix = "" if options.threads == 1 else f"-{options.threads}-threads"
    suffix += "-some" if options.only else ""
    write(f"run{suffix}", record, table(rows, whole, about))


if __name__ == "__main__":
    main()
