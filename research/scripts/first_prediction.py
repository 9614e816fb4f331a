"""Time from an empty environment to the first useful prediction, on one core.

    python research/scripts/first_prediction.py --core 1 research/results/first_prediction.json

Makes a virtual environment and a CSV file of 5,000 triples; then runs `pip install .`,
`sparring fit` and `sparring predict`, as README says. Reports seconds of wall clock, which other
processes on the core lengthen, and of processor time.
"""

import argparse
import csv
import json
import os
import platform
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FACTS = 5000


def write_triples(path: Path) -> tuple[str, str]:
    """Write facts about people, cities and countries; returns a query with a new answer to find.

    Who lives in a city speaks the language of its country and is a citizen of it, mostly; some of
    these facts are missing.
    """
    rng = random.Random(0)
    countries = [f"country {i}" for i in range(40)]
    language = {country: f"language {rng.randrange(15)}" for country in countries}
    cities = {f"city {i}": rng.choice(countries) for i in range(300)}
    rows = [(city, "is in", country) for city, country in cities.items()]
    rows += [(country, "has the language", word) for country, word in language.items()]
    person = 0
    while len(rows) < FACTS:
        name, city = f"person {person}", rng.choice(list(cities))
        country = cities[city]
        own = [
            (name, "lives in", city),
            (name, "is a citizen of", country),
            (name, "speaks", language[country]),
            (name, "works with", f"person {max(0, person - rng.randrange(1, 9))}"),
        ]
        rows += [row for row in own if rng.random() < 0.8]
        person += 1
    rows = rows[:FACTS]
    rng.shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("head", "relation", "tail"), *rows])
    known = {(head, relation) for head, relation, _ in rows}
    lives = {head for head, relation, _ in rows if relation == "lives in"}
    return next(name for name in sorted(lives) if (name, "speaks") not in known), "speaks"


def timed(command: list[str], folder: Path) -> tuple[dict[str, float], str]:
    """Run a command; its seconds, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}, done.stdout


def processor() -> str:
    """The name of the processor."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("record", type=Path, help="JSON file for the numbers")
    options.add_argument("--core", type=int, default=0, help="the one core that is used")
    given = options.parse_args()
    os.sched_setaffinity(0, {given.core})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head, relation = write_triples(folder / "facts.csv")
        binaries = folder / "venv" / "bin"
        steps, shown = {}, {}
        for step, command in {
            "venv": [sys.executable, "-m", "venv", "venv"],
            "install": [str(binaries / "pip"), "install", "--quiet", str(ROOT)],
            "fit": [str(binaries / "sparring"), "fit", "facts.csv"],
            "predict": [
                *(str(binaries / "sparring"), "predict", "runs/facts"),
                *("--head", head, "--relation", relation, "-k", "3", "--format", "json"),
            ],
        }.items():
            steps[step], shown[step] = timed(command, folder)
            print(step, steps[step], flush=True)
        result = json.loads((folder / "runs" / "facts" / "result.json").read_text())
    total = {
        kind: {
            "with_install": round(sum(step[kind] for step in steps.values()), 1),
            "without_install": round(steps["fit"][kind] + steps["predict"][kind], 1),
        }
        for kind in ("wall_seconds", "cpu_seconds")
    }
    record = {
        "triples": FACTS,
        "steps": steps,
        "total": total,
        "query": [head, relation, "?"],
        "answers": [answer["name"] for answer in json.loads(shown["predict"])],
        **{
            key: result[key] for key in ("mrr", "hits@1", "hits@10", "epochs", "versions", "commit")
        },
        "cpu": processor(),
        "cores": 1,
    }
    given.record.parent.mkdir(parents=True, exist_ok=True)
    given.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["total"]))


if __name__ == "__main__":
    main()
