"""Training and evaluation on FB15k-237 by this checkout and by another one of this library.

    python benchmarks/versions.py FOLDER CHECKOUT [--only "K = 8"] [--pairs 6]

FOLDER holds FB15k-237, CHECKOUT an earlier commit (`git worktree add CHECKOUT COMMIT`). The cases
are those of `run.py`. Each pair of processes, one per checkout, is pinned to one core and takes
turns; the next pair goes the other way around. A pair gives one ratio of processor times, from the
medians of its rounds. The record has the mean ratio and its standard error over the pairs, as
processes of one and the same checkout differ by some percent, too. Writes
research/results/benchmarks/versions.json and versions.md.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from contestants import BATCH, Contestant, arrays_of
from record import load, words, write
from run import EVALUATION, ROOT, TRAINING

from sparring.data.read import read_graph
from sparring.experiments.environment import provenance

ROUNDS = {"train": 9, "evaluate": 3}
CASES = [("train", case, given) for case, (given, _) in TRAINING.items()]
CASES += [("evaluate", case, given) for case, given in EVALUATION.items()]


def contestant(checkout: Path, file: Path) -> Contestant:
    """The library of one checkout, on the last core."""
    source = f"PYTHONPATH={checkout.resolve() / 'src'}"
    pinned = ["taskset", "-c", str((os.cpu_count() or 1) - 1), "env", source, sys.executable]
    return Contestant(pinned, "sparring", file, 1, script=checkout / "benchmarks/contestants.py")


def ratio(now: Contestant, before: Contestant, what: str, given: tuple, now_first: bool) -> float:
    """Processor time of `now` over that of `before`: medians of rounds taken in turns."""
    sides = [now, before] if now_first else [before, now]
    times: dict[Contestant, list[float]] = {side: [] for side in sides}
    for side in sides:
        side.ask("prepare", what, *given)
    for round_ in range(ROUNDS[what] + 1):  # the first is for warming up
        for side in sides:
            (processor, _), _ = side.ask("timed")
            times[side] += [processor] * (round_ > 0)
    return statistics.median(times[now]) / statistics.median(times[before])


def commit(checkout: Path) -> str:
    """What the checkout is at."""
    asked = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def table(rows: list[dict]) -> str:
    """The record for readers."""
    lines = ["| what | case | time now / before | standard error |", "| --- " * 4 + "|"]
    for row in rows:
        lines.append(f"| {row['what']} | {row['case']} | {row['ratio']:.3f} | {row['error']:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = words(__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--pairs", type=int, default=6, help="of processes, at least two")
    options = parser.parse_args()
    file = ROOT / ".cache" / "fb15k-237.npz"
    file.parent.mkdir(exist_ok=True)
    np.savez(file, **arrays_of(read_graph(options.folder)))
    cases = [case for case in CASES if options.only in case[1]]
    ratios: dict[str, list[float]] = {name: [] for _, name, _ in cases}
    for pair in range(options.pairs):
        now, before = contestant(ROOT, file), contestant(options.checkout, file)
        for what, name, given in cases:
            ratios[name].append(ratio(now, before, what, given, now_first=pair % 2 == 0))
            print(pair, what, name, f"{ratios[name][-1]:.3f}", flush=True)
        now.close()
        before.close()
    rows = [
        {"what": what, "case": name, "ratios": ratios[name],
         "ratio": statistics.mean(ratios[name]),
         "error": statistics.stdev(ratios[name]) / options.pairs**0.5}
        for what, name, _ in cases
    ]  # fmt: skip
    about = provenance() | {"before": commit(options.checkout), "load": load(), "batch": BATCH}
    write("versions", {**about, "rounds": ROUNDS, "measurements": rows}, table(rows))


if __name__ == "__main__":
    main()
