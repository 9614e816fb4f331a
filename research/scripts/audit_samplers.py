"""Audit every sampler on FB15k-237 and WN18RR with one trained model per data set.

    python research/scripts/audit_samplers.py [fb15k-237 | wn18rr ...]

trains the models of research/configs/audit, unless runs/audit holds them, and writes one JSON file
per data set to research/results/audit: statistics of the negatives of each sampler of
research/scripts/audit_samplers.toml for training queries. A cache is filled first, by one draw for
every training triple.
Generators learn from training, so they are audited after it, by `sparring audit RUN`.
"""

import json
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

import torch

from sparring.corruption import tail_and_head_queries
from sparring.evaluation.audit import audit
from sparring.experiments.config import read_config
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run
from sparring.registry import build
from sparring.samplers import SAMPLERS, NSCaching
from sparring.seeds import Seeds

ROOT = Path(__file__).parents[2]
DATASETS = ("fb15k-237", "wn18rr")
DRAWS, LEAST_QUERIES = 2**17, 1024


def trained_run(name: str, config) -> Run:
    """The trained model of a data set."""
    folder = Path("runs") / "audit" / name
    if not (folder / "result.json").exists() and run(config, folder, resume=True) is None:
        raise SystemExit(f"the training of {folder} was stopped; start again to continue it")
    return Run(folder)


@torch.no_grad()
def fill_cache(sampler, model, graph, rng: torch.Generator, batch: int = 1024) -> None:
    """Draw once for every training triple."""
    order = torch.randperm(len(graph.train), generator=rng)
    for some in graph.train[order].split(batch):
        queries = tail_and_head_queries(some, len(graph.relations))
        sampler.sample(queries, model(queries), rng)


def study(name: str) -> dict:
    """All audits on one data set."""
    began = time.process_time()
    config = read_config(ROOT / "research" / "configs" / "audit" / f"{name}.toml")
    trained, graph = trained_run(name, config), load_graph(config.graph)
    model = trained.load_step(config, graph).model
    specs = (ROOT / "research" / "scripts" / "audit_samplers.toml").read_text()
    found = {}
    for row, spec in tomllib.loads(specs.replace("TEACHER", str(trained.folder))).items():
        torch.manual_seed(0)
        sampler = build(spec, SAMPLERS, row, graph=graph.training)
        sampler.bind_model(model)
        if isinstance(sampler, NSCaching):
            fill_cache(sampler, model, graph, Seeds(0).fresh("remember"))
        draws = max(DRAWS, LEAST_QUERIES * sampler.k)
        stats = audit(sampler, graph, model=model, rng=Seeds(0).fresh("audit"), draws=draws)
        found[row] = {
            "sampler": spec,
            "k": sampler.k,
            **asdict(stats.overall),
            "sides": [asdict(side) for side in stats.sides],
        }
        print(f"{time.process_time() - began:6.0f} s  {name}: {row}", flush=True)
        del sampler
    result = trained.result()
    return {
        "dataset": name,
        "trained_model": {
            key: result[key] for key in ("model", "dim", "mrr", "valid_mrr", "cpu_seconds")
        },
        "cpu_seconds": round(time.process_time() - began, 1),
        "config": f"research/configs/audit/{name}.toml",
        **provenance(),
        "samplers": found,
    }


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    folder = ROOT / "research" / "results" / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or DATASETS:
        (folder / f"{name}.json").write_text(json.dumps(study(name), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
