"""Try each example with other settings, and judge them on validation facts.

    python research/scripts/host_trials.py            all of them
    python research/scripts/host_trials.py pyg        one of them

A trial is the example itself, but for its settings and the facts that it ranks, so that all of its
ways to draw negatives get the same trials. `INSTALL_ONLY=1 make test-hosts` makes the
environments. Writes research/results/hosts/trials/<library>.json.
"""

import json
import sys
from itertools import product

from host_examples import EXAMPLES, ROOT, about, printed, used

# what stands in an example: what is tried in its place
OURS = {
    "load_embedded()": ("replace(load_embedded(), test=load_embedded().valid)",),
    "1e-4": ("1e-4", "3e-5"),  # weight of N3
}
TRIALS = {"pyg": OURS, "torchkge": OURS}


def trials(host: str) -> dict:
    """What the example of one library prints with each choice of settings."""
    example, places = f"examples/{EXAMPLES[host]}.py", TRIALS[host]
    code, where, before, found = (ROOT / example).read_text(), about(host), used(), []
    for choice in product(*places.values()):
        tried = "from dataclasses import replace\n" + code
        for there, instead in zip(places, choice):
            if code.count(there) != 1:
                raise SystemExit(f"{example} does not hold {there} once")
            tried = tried.replace(there, instead)
        found.append({"settings": choice[1:], "printed": printed(host, tried)})
        print(host, found[-1], flush=True)
    return {
        "host": host,
        "example": example,
        "command": f"python research/scripts/host_trials.py {host}",
        "split": "valid",
        "trials": found,
        "cpu_seconds": round(used() - before),
        **where,
    }


def main(hosts: list[str]) -> None:
    folder = ROOT / "research" / "results" / "hosts" / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    for host in hosts or TRIALS:
        (folder / f"{host}.json").write_text(json.dumps(trials(host), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
