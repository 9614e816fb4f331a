"""One default for the generator: each option varied by itself, on several graphs at equal cost.

    python research/scripts/generator_default.py ../shared/data GRAPH ... [--seeds 0]
        [--only SETTING ...]

ComplEx, as in research/scripts/equal_budgets.py, whose best settings of the cell `generator` are
the starting point on each graph: rate, penalty and dropout. Every run has the seconds of its graph.
Settings are compared by validation MRR; test facts are not looked at. Rows go to
research/results/generator_default.parquet as each run ends, and are not made again.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from equal_budgets import (
    BATCH,
    EPOCHS,
    GRAPHS,
    METHODS,
    MODELS,
    RESULT,
    load,
    replace_rows,
    rows_of,
)

import sparring
from sparring.data.graph import KnowledgeGraph
from sparring.experiments.environment import provenance
from sparring.experiments.search import Method

ROWS = RESULT.with_name("generator_default.parquet")
START = {"sampler.k": 32}
TUNED = ("optimizer.lr", "model.n3", "model.dropout")
# by name: what differs from the start; a penalty is a multiple of the best one
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"k {value}": {"sampler.k": value} for value in (8, 16, 64, 128)},
    **{f"floor {value}": {"sampler.uniform_mix": value} for value in (0.02, 0.3)},
    **{f"codes {value}": {"sampler.codes": value} for value in (64, 256)},
    **{f"dim {value}": {"sampler.dim": value} for value in (16, 64)},
    **{
        f"k {k}, penalty x {times}": {"sampler.k": k, "n3 times": times}
        for k in (8, 32, 128)
        for times in (0.5, 2.0)
    },
}


def start(graph: str) -> dict[str, Any]:
    """Rate, penalty and dropout of the best trial of the graph."""
    rows = rows_of(RESULT, graph=graph, model="complex", method="generator", best=True)
    if not len(rows):
        raise SystemExit(f"tune {graph}:complex:generator with equal_budgets.py first")
    found = json.loads(rows["settings"].drop_nulls()[0])
    return {path: value for path, value in found.items() if path in TUNED}


def trained(graph: KnowledgeGraph, name: str, setting: str, seed: int) -> dict[str, Any]:
    """The row of one run."""
    seconds, validated = GRAPHS[name]
    values = {**start(name), **START, **SETTINGS[setting]}
    values["model.n3"] *= values.pop("n3 times", 1.0)
    model, method = MODELS["complex"][0], METHODS["generator"]
    parts = {
        "model": {"name": "complex", **model},
        "sampler": method.sampler,
        "loss": method.loss,
        "optimizer": {"name": "adam"},
    }
    tables = Method(parts).with_values(values)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "patience": 0}
    with tempfile.TemporaryDirectory() as folder:
        run = sparring.fit(
            graph,
            **tables,
            **options,
            validate_every=1,
            validate_on=validated,
            minutes=seconds / 60,
            seed=seed,
            threads=1,
            folder=folder,
            progress=False,
        ).run
        result = run.result()
    kept = ("valid_mrr", "epochs", "cpu_seconds")
    return {"values": json.dumps(values), **{one: result[one] for one in kept}}


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("data", type=Path, help="folder with a folder for each graph")
    words.add_argument("graphs", nargs="+", metavar="GRAPH")
    words.add_argument("--seeds", type=int, nargs="*", default=[0])
    words.add_argument("--only", nargs="*", default=list(SETTINGS), metavar="SETTING")
    given = words.parse_args()
    sparring.fit("atlas", epochs=1, progress=False)  # compiles the loops, which no budget pays for
    for name in given.graphs:
        graph = load(name, given.data)
        for seed in given.seeds:
            for setting in given.only:
                key = {"graph": name, "setting": setting, "seed": seed}
                if len(rows_of(ROWS, **key)):
                    continue
                row = {**key, **trained(graph, name, setting, seed)}
                row |= {one: value for one, value in provenance().items() if one == "commit"}
                replace_rows(ROWS, [row], tuple(key))
                print(row, flush=True)


if __name__ == "__main__":
    main()
