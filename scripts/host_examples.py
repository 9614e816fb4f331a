"""Run the examples, each in the environment of its library, and record what they print.

    python scripts/host_examples.py            all of them
    python scripts/host_examples.py pykeen     one of them

`INSTALL_ONLY=1 make test-hosts` makes the environments. Writes results/hosts/<library>.json, which
docs/hosts.md shows beside the example (`scripts/tables.py`).
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from sparring.experiments.host import provenance

ROOT = Path(__file__).parents[1]
EXAMPLES = {"pykeen": "pykeen_kinships", "pyg": "pyg_atlas", "torchkge": "torchkge_atlas"}
PACKAGES = {"pykeen": "pykeen", "pyg": "torch_geometric", "torchkge": "torchkge"}


def used() -> float:
    """CPU seconds of all processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def run(host: str) -> dict:
    """What the example of one library prints."""
    python = str(ROOT / ".cache" / "hosts" / host / "bin" / "python")
    example = f"examples/{EXAMPLES[host]}.py"
    about = provenance()
    ask = f"from importlib.metadata import version; print(version({PACKAGES[host]!r}))"
    told = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    about["versions"][host] = told.stdout.strip()
    before = used()
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, example], cwd=ROOT, env=environment, check=True, **quiet)
    lines = [line for line in done.stdout.splitlines() if "MRR" in line]
    return {
        "host": host,
        "example": example,
        "command": f"python {example}",
        "printed": lines,
        "cpu_seconds": round(used() - before),
        **about,
    }


def main(hosts: list[str]) -> None:
    folder = ROOT / "results" / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    found = {host: run(host) for host in hosts or EXAMPLES}  # before any file changes
    for host, result in found.items():
        (folder / f"{host}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"{host}: {result['cpu_seconds']} CPU seconds", *result["printed"], sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
