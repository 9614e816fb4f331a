"""How much reviews find, and how much they teach a model, on graphs whose hidden truth is known.

    python research/scripts/reviewing.py [GRAPH ...] [--train ORDER ...]

A simulated reviewer goes through candidates of a trained model and accepts those that are true:

- fb15k-237: facts of FB15k that FB15k-237 lacks (`extra_true`). All other candidates are rejected,
  though some may be true, so precision is a lower bound.
- debian-kg: facts of the next release (`later_true`); likewise.
- codex-m: the validation triples, which the graph does not hold here, are true, and the curated
  negatives of the validation split are false; the candidates are these two.

Precision is the share of accepted triples among the first 100, 500 and 2,000, by probability (the
queue of `sparring serve`), by plain score (top-k), by uncertainty, and at random. Then the model is
trained again with 2,000 reviews in each order (`fit(..., reviewed=)`). All test ranks leave out the
facts of the graph and the hidden truth, so that they can be compared. Writes
research/results/reviewing/GRAPH.json; SPARRING_DATA is the folder of the graphs.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import sparring
from sparring.data.frames import triple_ids
from sparring.data.graph import KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.evaluation.ranking import evaluate
from sparring.evaluation.triples import rate_triples
from sparring.experiments.environment import provenance
from sparring.predictor import Predictor
from sparring.serve.missing import probably_missing
from sparring.serve.reviews import Reviews, Triple

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "research" / "results" / "reviewing"
AT = (100, 500, 2000)
ORDERS = ("probability", "score", "random")  # that a model is trained with
CANDIDATES = 40_000
SETTINGS = {
    "fb15k-237": {"model": {"name": "complex", "dim": 100}, "epochs": 5},
    "codex-m": {"model": {"name": "complex", "dim": 100}, "epochs": 6},
    "debian-kg": {"model": {"name": "complex", "dim": 32}, "epochs": 1},
}


def rows_of(name: str, file: str) -> list[Triple]:
    with gzip.open(Path(os.environ["SPARRING_DATA"], name, f"{file}.tsv.gz"), "rt") as lines:
        return [Triple(*line.rstrip("\n").split("\t")[:3]) for line in lines]


def hidden_truth(
    name: str, graph: KnowledgeGraph
) -> tuple[KnowledgeGraph, list[Triple], list[Triple]]:
    """The graph without its hidden truth, what is true, and the candidates; none for all."""
    if name != "codex-m":
        file = {"fb15k-237": "extra_true", "debian-kg": "later_true"}[name]
        return graph, rows_of(name, file), []
    true, false = rows_of(name, "valid"), rows_of(name, "valid_negatives")
    order = torch.randperm(len(graph.train), generator=torch.Generator().manual_seed(0))
    valid, train = graph.train[order[:8000]], graph.train[order[8000:]]
    return replace(graph, train=train, valid=valid), true, [*true, *false]


def fitted(name: str, graph: KnowledgeGraph, **options) -> Predictor:
    return sparring.fit(graph, progress=False, threads=1, **SETTINGS[name], **options)


def candidates_of(model: Predictor) -> Tensor:
    """Candidates as `sparring serve` finds them."""
    found, number = [], 0
    for triples in probably_missing(model.model, model.graph):
        found.append(triples)
        number += len(triples)
        if number >= CANDIDATES:
            break
    return torch.cat(found).unique(dim=0)


def orders_of(model: Predictor, candidates: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Candidates by name of the order."""
    calibration = model.calibrate()
    rated = rate_triples(model.model, model.graph, candidates, calibration=calibration)
    yield "probability", rated.probability.argsort(descending=True, stable=True)
    yield "score", rated.score.argsort(descending=True, stable=True)
    yield "uncertainty", (rated.probability - 0.5).abs().argsort(stable=True)
    yield "random", torch.randperm(len(candidates), generator=torch.Generator().manual_seed(1))


def mrr(model: Predictor, known: TripleIndex) -> float:
    return evaluate(model.model, model.graph.test, known).mrr()


def study(name: str, orders_to_train: list[str]) -> dict:
    start = time.process_time()
    whole = sparring.load_graph(Path(os.environ["SPARRING_DATA"], name), name=name)
    graph, true, pool = hidden_truth(name, whole)
    truth = set(true)
    hidden = triple_ids(graph, list(truth))
    splits = [graph.train, graph.valid, graph.test, hidden]
    known = TripleIndex(torch.cat(splits), len(graph.entities), len(graph.relations))
    base = fitted(name, graph)
    candidates = triple_ids(graph, pool) if pool else candidates_of(base)
    names = [
        Triple(graph.entities[h], graph.relations[r], graph.entities[t])
        for h, r, t in candidates.tolist()
    ]
    accepted = torch.tensor([triple in truth for triple in names])
    orders = dict(orders_of(base, candidates))
    precision = {
        order: {str(n): round(accepted[rows[:n]].double().mean().item(), 4) for n in AT}
        for order, rows in orders.items()
    }
    gains = {}
    before = mrr(base, known)
    for order in orders_to_train:
        after = mrr(taught(name, graph, names, accepted, orders[order]), known)
        gains[order] = {
            "mrr": round(after, 4),
            "per 100 reviews": round(100 * (after - before) / AT[-1], 6),
        }
    return {
        "graph": name,
        "settings": SETTINGS[name],
        "candidates": len(candidates),
        "true among them": int(accepted.sum()),
        "precision": precision,
        "reviews": AT[-1],
        "mrr without reviews": round(before, 4),
        "mrr with another seed": round(mrr(fitted(name, graph, seed=1), known), 4)
        if orders_to_train
        else None,
        "trained with reviews": gains,
        "cpu_seconds": round(time.process_time() - start),
        **provenance(),
    }


def taught(
    name: str, graph: KnowledgeGraph, names: list[Triple], accepted: Tensor, rows: Tensor
) -> Predictor:
    """The model after the first reviews in one order."""
    with tempfile.TemporaryDirectory() as folder:
        reviews = Reviews(Path(folder, "reviews.db"))
        decisions = [
            (names[row], "accept" if accepted[row] else "reject") for row in rows[: AT[-1]].tolist()
        ]
        reviews.record(decisions, "simulated")
        reviews.close()
        return fitted(name, graph, reviewed=Path(folder, "reviews.db"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graphs", nargs="*", default=list(SETTINGS), metavar="GRAPH")
    parser.add_argument("--train", nargs="*", default=ORDERS, metavar="ORDER")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in options.graphs:
        text = json.dumps(study(name, options.train), indent=2)
        (RESULTS / f"{name}.json").write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    main()
