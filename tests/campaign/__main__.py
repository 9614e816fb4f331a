"""`make campaign`: all attacks, in full; goes on where it was stopped.

    python -m campaign [share]

Takes hours; `share` is that of the cases to run, 1 by default. Cases that are done are kept in
`.cache/campaign.json`. The table and the findings go to `research/results/campaign.json`.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

from campaign.attacks import ATTACKS, World

from sparring.experiments.environment import provenance
from sparring.files import write_json

ROOT = Path(__file__).parents[2]
KEPT, RECORD = ROOT / ".cache" / "campaign.json", ROOT / "research" / "results" / "campaign.json"


def main(share: float = 1.0) -> int:
    """Run what is left, print the table, and return the number of findings."""
    KEPT.parent.mkdir(exist_ok=True)
    commit = provenance()["commit"]
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    done = kept["done"] if kept.get("commit") == commit else {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        world = World(Path(scratch))
        for name, (count, attack) in ATTACKS.items():
            found = done.setdefault(name, [])
            for seed in range(len(found), max(1, round(count * share))):
                found.append(attack(world, random.Random(f"{name} {seed}")))
                if found[-1]:
                    print(f"{name} {seed}: {found[-1]}", flush=True)
                if seed % 10 == 9:
                    write_json(KEPT, {"commit": commit, "done": done})
            write_json(KEPT, {"commit": commit, "done": done})
        world.sparring.close()
    table = {
        name: {
            "tried": len(found),
            "survived": found.count(""),
            "findings": {str(seed): text for seed, text in enumerate(found) if text},
        }
        for name, found in done.items()
    }
    write_json(RECORD, {"attacks": table, **provenance()})
    print(f"{'attack':28}{'tried':>8}{'survived':>10}{'findings':>10}")
    for name, row in table.items():
        print(f"{name:28}{row['tried']:8}{row['survived']:10}{len(row['findings']):10}")
    return sum(len(row["findings"]) for row in table.values())


if __name__ == "__main__":
    sys.exit(bool(main(*map(float, sys.argv[1:]))))
