"""What exact filtering costs beside a plain uniform draw: the part of samplers.py without peers.

    python benchmarks/filtering.py

writes research/results/benchmarks/filtering.json, in a few minutes.
"""

import json
import sys

import torch
from sampler_peers import settle
from samplers import CANDIDATES, QUERIES, RESULTS, SAMPLERS, SIZES, every_sampler, random_graph

from sparring.experiments.environment import provenance

NAMES = ("hide-known", "hide-known, one list shared", "uniform-unknown", "redraw-known")


def main() -> None:
    torch.set_num_threads(1)
    settle()
    for name in set(SAMPLERS) - set(NAMES):
        del SAMPLERS[name]
    rows, left_out = [], []
    for size in SIZES:
        graph = random_graph(*size)
        for k in CANDIDATES:
            rows += every_sampler(graph, k, left_out)
    content = {**provenance(), "queries": QUERIES, "measurements": rows, "left_out": left_out}
    RESULTS.with_name("filtering.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
