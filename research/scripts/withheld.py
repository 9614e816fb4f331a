"""How many hidden facts are drawn at equal hardness: the generator vs. the hardest of a pool.

    python research/scripts/withheld.py ../shared/data [GRAPH ...]

trains research/configs/withheld/GRAPH.toml, unless runs/withheld/GRAPH holds it, and writes
research/results/withheld/GRAPH.json. Hidden facts are those of validation and test, and those that
a wider source (`extra_true`) or the next release (`later_true`) holds; nothing but this audit sees
them. The graph `world` is made by rules, so that all of its facts are known.

Hardness is by the scores of the trained main model: the mean rank of counted draws among all
entities, and the share of them that score above the answer. The generator is asked at several
degrees of sharpness, with and without its floor, and with several probabilities of being a missing
fact above which draws do not count (`max_p_false_negative`); the pool at several sizes, whose rates
are interpolated to the hardness of the other, both in logarithm. Samplers that know nothing but the
graph are compared with the pool likewise. `weighed` counts draws by their weight, which is what the
loss sees.

`calibration` says how often draws with similar estimates are hidden facts. Where a graph has
curated negatives of its test split, `curated` says how well the estimate and the score of the model
tell them from the test facts: areas under the ROC curve.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.read import read_triples
from sparring.evaluation.audit import Audit, audit
from sparring.experiments.config import Config, read_config
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run
from sparring.samplers import (
    DynamicNegatives,
    MaskKnown,
    Popularity,
    RandomWalk,
    TypeConstrained,
    UniformFiltered,
)
from sparring.testing.synthetic import synthetic_world
from sparring.training import TrainingStep

ROOT = Path(__file__).parents[2]
CONFIGS, RESULTS = (ROOT / "research" / kind / "withheld" for kind in ("configs", "results"))
RUNS = Path("runs/withheld")
DRAWS, K = 2**17, 8
HARDNESS = ("mean_rank", "above")
SHARPNESS, TOLERATED, POOLS = (1.0, 2.0, 4.0), (1.0, 0.1, 0.05), (8, 9, 16, 64, 256, 1024, 4096)
WIDER = ("extra_true", "later_true")
WORLD, PEOPLE, UNKNOWN = "world", 2000, 0.2  # share of its facts that no split holds


def loaded(name: str, data: Path) -> tuple[Config, KnowledgeGraph, Tensor]:
    """The configuration, the graph, and true facts that it lacks."""
    config = read_config(CONFIGS / f"{name}.toml")
    if name == WORLD:
        world = synthetic_world(PEOPLE, withheld=UNKNOWN)
        graph = replace(world.graph, hold_out=config.graph.hold_out)
        return config, graph, world.hidden
    config = replace(config, graph=replace(config.graph, name="", path=str(data / name)))
    graph = load_graph(config.graph)
    return config, graph, triples_of(name, data, graph, *WIDER)


def trained(name: str, config: Config, graph: KnowledgeGraph) -> TrainingStep:
    """The model and the generator that are audited."""
    folder = RUNS / name
    done = (folder / "result.json").exists()
    if not done and run(config, folder, graph=graph, resume=True) is None:
        raise SystemExit(f"the training of {folder} was stopped; start again to go on with it")
    return Run(folder).load_step(config, graph)


def triples_of(name: str, data: Path, graph: KnowledgeGraph, *files: str) -> Tensor:
    """The triples of those files that the graph has."""
    paths = [data / name / f"{file}.tsv.gz" for file in files]
    found = [read_triples(graph, path) for path in paths if path.exists()]
    return torch.cat([graph.test[:0], *found])


def share_less(pools: list[dict], row: dict) -> dict[str, float | None]:
    """How much less than the pool a sampler draws hidden facts, at equal hardness."""
    found: dict[str, float | None] = {}
    for by, kind in product(HARDNESS, ("withheld", "weighed")):
        other = between(pools, by, row[by])
        found[f"{kind}_less_at_equal_{by}"] = 1 - row[kind] / other if other else None
    return found


def between(points: list[dict], by: str, wanted: float) -> float | None:
    """The pool's rate of hidden facts at a degree of hardness; None beyond its ends."""
    points = sorted(points, key=lambda point: point[by])
    for low, high in pairwise(points):
        if 0 < low[by] <= wanted <= high[by] and low["withheld"] and high["withheld"]:
            share = math.log(wanted / low[by]) / math.log(high[by] / low[by])
            return low["withheld"] ** (1 - share) * high["withheld"] ** share
    return None


def curated(name: str, data: Path, graph: KnowledgeGraph, step: TrainingStep) -> dict[str, float]:
    """Areas under the ROC curve, of test facts vs. curated negatives; empty without these."""
    false = triples_of(name, data, graph, "test_negatives")
    if not len(false):
        return {}
    sampler: Any = step.sampler
    estimate, score = [], []
    for part in torch.cat([graph.test, false]).split(512):
        queries = tail_and_head_queries(part, len(graph.relations))
        ids = queries.answer.unsqueeze(1)
        with torch.no_grad():
            found = sampler.p_false_negative(queries, ids), step.model(queries)(ids)
        for values, kept in zip(found, (estimate, score)):
            kept.append(values.view(2, -1).mean(0))
    label = [1] * len(graph.test) + [0] * len(false)
    return {
        "facts": len(graph.test),
        "negatives": len(false),
        "estimate": roc_auc_score(label, torch.cat(estimate)),
        "score": roc_auc_score(label, torch.cat(score)),
    }


def study(name: str, data: Path) -> Iterator[dict]:
    """The parts of the record of a graph."""
    config, graph, wider = loaded(name, data)
    training, step = graph.training, trained(name, config, graph)

    def audited(sampler) -> Audit:
        rng = torch.Generator().manual_seed(0)
        return audit(sampler, graph, model=step.model, rng=rng, draws=DRAWS, extra_true=wider)

    def measured(sampler) -> dict:
        found = audited(sampler).overall
        return {
            "mean_rank": 1 + (1 - found.percentile) * len(graph.entities),
            "above": found.above,
            "withheld": found.withheld_counted,
            "weighed": found.withheld_weight,
        }

    def compared(about: dict, sampler) -> dict:
        row = {**about, **measured(sampler)}
        row |= share_less(pools, row)
        print(row, flush=True)
        return row

    generator: Any = step.sampler
    hidden = {"splits": len(graph.valid) + len(graph.test), "wider": len(wider)}
    yield {"config": config.as_dict(), "hidden": hidden}
    yield {"calibration": asdict(audited(generator).calibration)}
    yield {"curated": curated(name, data, graph, step)}
    harder = (
        (size, DynamicNegatives(training, inner=UniformFiltered(training, k=size), k=K))
        for size in POOLS
    )
    pools = [{"pool": size, **measured(hard)} for size, hard in harder]
    yield {"hardest-of-pool": pools}
    others = [
        compared({"sampler": one.__name__}, MaskKnown(training, inner=one(training, k=K)))
        for one in (Popularity, TypeConstrained, RandomWalk)
    ]
    yield {"others": others}
    rows = []
    for floor, sharpness, tolerated in product((generator.uniform_mix, 0.0), SHARPNESS, TOLERATED):
        policy = replace(generator.false_negatives, max_p_false_negative=tolerated)
        generator.uniform_mix, generator.false_negatives = floor, policy
        generator.inverse_temperature.fill_(sharpness)
        setting = {"floor": floor, "sharpness": sharpness, "tolerate": tolerated}
        rows.append(compared(setting, generator))
    yield {"generator": rows}


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("data", type=Path, help="folder with a folder for each graph")
    every = sorted(path.stem for path in CONFIGS.glob("*.toml"))
    words.add_argument("graphs", nargs="*", default=every, metavar="GRAPH")
    given = words.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    for name in given.graphs:
        record = {**provenance()}
        for part in study(name, given.data):
            record |= part
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
