"""Run the conformance kit on the samplers of every host library, and on ours inside them.

    python research/scripts/conformance.py              all hosts with an environment

    python research/scripts/conformance.py pykeen       one of them

`INSTALL_ONLY=1 make test-hosts` makes the environments under .cache/hosts. Writes
research/results/conformance/<host>.json, of which `research/scripts/tables.py` makes the table of
research/tables/conformance.md.
"""

import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "research" / "results" / "conformance"
VERSIONS = {
    "pykeen": lambda: version("pykeen"),
    "pyg": lambda: version("torch_geometric"),
    "torchkge": lambda: version("torchkge"),
    # LibKGE has no releases: the commit of its source
    "libkge": lambda: importlib.import_module("kge.misc").get_git_revision_short_hash(),
    "sparring": lambda: version("sparring"),
}
FILTERS = ({}, {"filtered": True}, {"filterer": "python-set"})
THEIRS = {
    "pykeen": [
        (f"pykeen.sampling:{name}NegativeSampler", options)
        for name in ("Basic", "Bernoulli", "PseudoTyped")
        for options in FILTERS
    ],
    "pyg": [("torch_geometric.nn.kge:TransE", {})],
    "torchkge": [
        (f"torchkge.sampling:{name}NegativeSampler", {})
        for name in ("Uniform", "Bernoulli", "Positional", "BernoulliRelation")
    ],
    "libkge": [
        ("kge.util.sampler:KgeUniformSampler", options)
        # not "filtering", which draws for ever where all triples are facts
        for options in ({}, {"shared": True})
    ]
    + [("kge.util.sampler:KgeFrequencySampler", {})],
    "sparring": [
        ("uniform", {}),
        ("uniform-filtered", {}),
        ("mask-known", {"inner": {"name": "uniform", "k": 8}}),
        ("resample-known", {"inner": {"name": "type-constrained", "k": 8}}),
        ("popularity", {}),
        ("type-constrained", {}),
        ("in-batch", {"k": 8}),
        ("generator", {}),
    ],
}


def ours(host: str) -> list:
    """Samplers of ours through the adapter of a host."""
    if host == "sparring":
        return []
    from sparring.generators import NSGenerator
    from sparring.samplers import UniformFiltered

    adapted_sampler = importlib.import_module(f"sparring.integrations.{host}").adapted_sampler
    return [adapted_sampler(made) for made in (UniformFiltered, NSGenerator)]


def reports(host: str) -> dict:
    """Everything about one host; runs in its environment."""
    from sparring.experiments.conformance import Conformance, check_conformance
    from sparring.experiments.environment import provenance
    from sparring.testing import report_external

    found = [
        {**check_conformance(name, options).to_dict(), "options": options}
        for name, options in THEIRS[host]
    ]
    found += [
        {**Conformance(one.name, report_external(one)).to_dict(), "options": {}}
        for one in ours(host)
    ]
    about = provenance()
    about["versions"][host] = VERSIONS[host]()
    return {"host": host, **about, "command": f"python research/scripts/conformance.py {host}"} | {
        "samplers": found
    }


def main(hosts: list[str]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {}
    for host in hosts or THEIRS:
        place = ROOT / ".cache" / "hosts" / host
        python = Path(sys.executable) if host == "sparring" else place / "bin" / "python"
        if not python.exists():
            print(f"{host}: no environment; see make test-hosts")
            continue
        words = [str(python), __file__, "--inside", host]
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found[host] = done.stdout.partition("answer:")[2]
        print(f"{host}: checked")
    for host, text in found.items():  # only now, so that all see a clean tree
        (RESULTS / f"{host}.json").write_text(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print("answer:" + json.dumps(reports(sys.argv[2]), indent=1))
    else:
        main(sys.argv[1:])
