"""`make campaign`: all attacks, in full; goes on where it was stopped.

    python -m campaign [share]
    python -m campaign --self-test

`share` is that of the cases to run, 1 by default; each core runs one at a time. Cases that are done
are kept in `.cache/campaign.json`. The table and the findings go to
`research/results/campaign.json`. The self test runs each attack against a broken library, which it
must find.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from campaign.attacks import ATTACKS
from campaign.broken import BROKEN
from campaign.world import World

from sparring.experiments.environment import provenance
from sparring.files import write_json

ROOT = Path(__file__).parents[2]
KEPT, RECORD = ROOT / ".cache" / "campaign.json", ROOT / "research" / "results" / "campaign.json"
Done = dict[str, dict[str, str]]  # what each case found, by attack and seed
ENOUGH = 60  # cases in which a broken library must be found


def main(share: float = 1.0) -> int:
    """Run what is left, print the table, and return the number of findings."""
    KEPT.parent.mkdir(exist_ok=True)
    about = provenance()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    same = kept.get("commit") == about["commit"]
    done: Done = {name: kept["done"].get(name, {}) if same else {} for name in ATTACKS}
    seconds = kept["seconds"] if same else 0.0
    began, lock = time.monotonic(), threading.Lock()

    def write() -> None:
        spent = seconds + time.monotonic() - began
        write_json(KEPT, {"commit": about["commit"], "seconds": spent, "done": done})
        write_json(RECORD, {"attacks": table(done), "seconds": round(spent), **about})

    batches = in_turns(done, share)

    def work() -> None:
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            world = World(Path(scratch))
            while True:
                with lock:
                    name, seeds = next(batches, ("", ()))
                if not seeds:
                    break
                found = ATTACKS[name].run(world, seeds)
                with lock:
                    for seed, text in zip(seeds, found):
                        done[name][str(seed)] = text
                        if text:
                            print(f"{name} {seed}: {text}", flush=True)
                    write()
            world.close()

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each waits for processes of its own
        for worker in [threads.submit(work) for _ in range(os.cpu_count() or 1)]:
            worker.result()
    write()
    rows = table(done)
    print(f"{'attack':28}{'cases':>8}{'tried':>8}{'survived':>10}{'findings':>10}")
    for name, row in rows.items():
        columns = (ATTACKS[name].cases, row["tried"], row["survived"], len(row["findings"]))
        print(f"{name:28}" + "".join(f"{n:{w}}" for n, w in zip(columns, (8, 8, 10, 10))))
    return sum(len(row["findings"]) for row in rows.values())


def in_turns(done: Done, share: float) -> Iterator[tuple[str, Sequence[int]]]:
    """Batches of cases that are left, such that all attacks are equally far at any time."""
    batches = []
    for name, attack in ATTACKS.items():
        wanted = range(max(1, round(attack.cases * share)))
        left = [seed for seed in wanted if str(seed) not in done[name]]
        starts = range(0, len(left), attack.batch)
        parts = [left[start : start + attack.batch] for start in starts]
        batches += [(part[0] / attack.cases, name, part) for part in parts]
    for _, name, seeds in sorted(batches):
        yield name, seeds


def table(done: Done) -> dict[str, dict]:
    """How many cases of each attack were tried and survived, and what the others found."""
    return {
        name: {
            "tried": len(found),
            "survived": sum(not text for text in found.values()),
            "findings": {seed: text for seed, text in found.items() if text},
        }
        for name, found in done.items()
    }


def found_in(broken: str, scratch: Path) -> tuple[int, str]:
    """The first case that finds a broken library, and what it says; -1 if none does."""
    attack = ATTACKS[BROKEN[broken].attack]
    world = World(scratch, broken)
    try:
        for start in range(0, ENOUGH, attack.batch):
            found = attack.run(world, range(start, start + attack.batch))
            for seed, text in zip(range(start, ENOUGH), found):
                if text:
                    return seed, text
        return -1, ""
    finally:
        world.close()


def self_test() -> int:
    """Try every attack on the libraries that it must find; return how many it does not."""
    missed = 0
    for name in BROKEN:
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            seed, text = found_in(name, Path(scratch))
        missed += seed < 0
        print(
            f"{name}: " + (f"case {seed}: {text[:150]}" if seed >= 0 else "NOT FOUND"), flush=True
        )
    return missed


if __name__ == "__main__":
    sys.exit(bool(self_test() if "--self-test" in sys.argv else main(*map(float, sys.argv[1:]))))
