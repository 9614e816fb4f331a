"""How many withheld facts are drawn at equal hardness: the generator beside the hardest of a pool.

    python research/scripts/withheld.py

trains research/configs/withheld/fb15k-237.toml, unless runs/withheld holds it, and writes
research/results/withheld/fb15k-237.json. The trained main model judges hardness, by the mean rank
of counted draws among all entities, and by the share of them that score above the answer; withheld
facts are those of validation and test, which nothing but this audit sees. The generator is asked
at several degrees of sharpness, with and without its floor, and with several probabilities of
being a missing fact above which draws do not count (`max_p_false_negative`); the pool at several
sizes, whose rates are interpolated to the generator's hardness, both in logarithm. `weighed`
counts draws by their weight, which is what the loss sees.
"""

import json
import math
import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch

from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.audit import audit
from sparring.experiments.config import Config, read_config
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run
from sparring.samplers import DynamicNegatives, UniformFiltered
from sparring.training import TrainingStep

ROOT = Path(__file__).parents[2]
DRAWS, K = 2**17, 8
HARDNESS = ("mean_rank", "above")
SHARPNESS, TOLERATED, POOLS = (1.0, 2.0, 4.0), (1.0, 0.1, 0.05), (9, 16, 64, 256, 1024, 4096)


def measured(sampler, graph, model) -> dict:
    found = audit(
        sampler, graph, model=model, rng=torch.Generator().manual_seed(0), draws=DRAWS
    ).overall
    return {
        "mean_rank": 1 + (1 - found.percentile) * len(graph.entities),
        "above": found.above,
        "withheld": found.withheld_counted,
        "weighed": found.withheld_weight,
    }


def between(points: list[dict], by: str, wanted: float) -> float | None:
    """The pool's rate of withheld facts at a degree of hardness; None beyond its ends."""
    points = sorted(points, key=lambda point: point[by])
    for low, high in pairwise(points):
        if low[by] <= wanted <= high[by]:
            share = math.log(wanted / low[by]) / math.log(high[by] / low[by])
            return math.exp(
                (1 - share) * math.log(low["withheld"]) + share * math.log(high["withheld"])
            )
    return None


def trained() -> tuple[Config, KnowledgeGraph, TrainingStep]:
    """The run that is judged: its configuration, graph, model and generator."""
    config = read_config(ROOT / "research" / "configs" / "withheld" / "fb15k-237.toml")
    folder = Path("runs/withheld")
    if not (folder / "result.json").exists() and run(config, folder, resume=True) is None:
        raise SystemExit(f"the training of {folder} was stopped; start again to go on with it")
    graph = load_graph(config.graph)
    return config, graph, Run(folder).load_step(config, graph)


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    config, graph, step = trained()
    training = graph.training
    generator: Any = step.sampler
    harder = (
        (size, DynamicNegatives(training, inner=UniformFiltered(training, k=size), k=K))
        for size in POOLS
    )
    pools = [{"pool": size, **measured(hard, graph, step.model)} for size, hard in harder]
    rows = []
    for floor, sharpness, tolerated in product((generator.uniform_mix, 0.0), SHARPNESS, TOLERATED):
        generator.uniform_mix = floor
        generator.false_negatives = replace(
            generator.false_negatives, max_p_false_negative=tolerated
        )
        generator.inverse_temperature.fill_(sharpness)
        setting = {"floor": floor, "sharpness": sharpness, "tolerate": tolerated}
        row = {**setting, **measured(generator, graph, step.model)}
        for by in HARDNESS:
            other = between(pools, by, row[by])
            row |= {
                f"{kind}_less_at_equal_{by}": other and 1 - row[kind] / other
                for kind in ("withheld", "weighed")
            }
        rows.append(row)
        print(row, flush=True)
    report = {
        "hardest-of-pool": pools,
        "generator": rows,
        **provenance(),
        "config": config.as_dict(),
    }
    path = ROOT / "research" / "results" / "withheld" / "fb15k-237.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
