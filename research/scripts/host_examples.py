"""Run the examples, each in the environment of its library, and record what they print.

    python research/scripts/host_examples.py            all of them
    python research/scripts/host_examples.py pykeen     one of them

`INSTALL_ONLY=1 make test-hosts` makes the environments. Writes
research/results/hosts/<library>.json, which
docs/howto shows next to the example (`research/scripts/tables.py`).
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from sparring.experiments.environment import provenance

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "pykeen": "pykeen_atlas",
    "pyg": "pyg_atlas",
    "torchkge": "torchkge_atlas",
    "libkge": "libkge_atlas",
}
INSTALLED = "from importlib.metadata import version; print(version({!r}))"
VERSIONS = {
    "pykeen": INSTALLED.format("pykeen"),
    "pyg": INSTALLED.format("torch_geometric"),
    "torchkge": INSTALLED.format("torchkge"),
    # no releases: the commit of its source
    "libkge": "from kge.misc import get_git_revision_short_hash as of; print(of())",
}


def used() -> float:
    """CPU seconds of all processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def python(host: str) -> str:
    """The interpreter of a library's environment."""
    return str(ROOT / ".cache" / "hosts" / host / "bin" / "python")


def about(host: str) -> dict:
    """What a record says of where it was made."""
    found = provenance()
    ask = [python(host), "-c", VERSIONS[host]]
    told = subprocess.run(ask, capture_output=True, text=True, check=True)
    found["versions"][host] = told.stdout.strip()
    return found


def printed(host: str, code: str) -> list[str]:
    """The lines with results that an example prints."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [python(host), "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, **quiet)
    return [line for line in done.stdout.splitlines() if "MRR" in line]


def run(host: str) -> dict:
    """What the example of one library prints."""
    example = f"examples/{EXAMPLES[host]}.py"
    where, before = about(host), used()
    lines = printed(host, (ROOT / example).read_text())
    return {
        "host": host,
        "example": example,
        "command": f"python {example}",
        "printed": lines,
        "cpu_seconds": round(used() - before),
        **where,
    }


def main(hosts: list[str]) -> None:
    folder = ROOT / "research" / "results" / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    found = {host: run(host) for host in hosts or EXAMPLES}  # before any file changes
    for host, result in found.items():
        (folder / f"{host}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"{host}: {result['cpu_seconds']} CPU seconds", *result["printed"], sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
