"""How much reviews find, and how much they teach a model, on graphs whose hidden truth is known.

    python research/scripts/reviewing.py [GRAPH ...] [--train ORDER ...] [--runs FOLDER]

A simulated reviewer goes through candidates of a trained model and accepts those that are true:

- fb15k-237: facts of FB15k that FB15k-237 lacks (`extra_true`). All other candidates are rejected,
  though some may be true, so precision is a lower bound.
- debian-kg: facts of the next release (`later_true`); likewise.
- codex-m: the validation triples, which the graph does not hold here, are true, and the curated
  negatives of the validation split are false; the candidates are these two.

`extra_true` is no fair sample of what FB15k-237 lacks: each of its facts joins two entities that
another training fact joins, since FB15k-237 was made by removing those. So fb15k-237 has a second
hidden truth (`withheld`): 10,000 random training facts, which the model is trained without.

Precision is the share of accepted triples among the first 100, 500 and 2,000, by probability (the
queue of `sparring serve`), by plain score (top-k), by uncertainty, and at random. Then the model is
trained again with 2,000 reviews in each order (`fit(..., reviewed=)`). All test ranks leave out the
facts of the graph and the hidden truth, so that they can be compared. Writes
research/results/reviewing/GRAPH.json; SPARRING_DATA is the folder of the graphs. Trained models are
kept in the folder of --runs, so that a study that was stopped goes on there.
"""

import argparse
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
WITHHELD = 10_000
SETTINGS = {
    "fb15k-237": {"model": {"name": "complex", "dim": 100}, "epochs": 5},
    "codex-m": {"model": {"name": "complex", "dim": 100}, "epochs": 6},
    "debian-kg": {"model": {"name": "complex", "dim": 32}, "epochs": 1},
}
QUERIES = {"debian-kg": 50_000}  # that candidates come from; all by default
SEEDS = {"fb15k-237": 5}  # of what is withheld
HIDDEN = {"fb15k-237": "extra_true", "debian-kg": "later_true"}


@dataclass(frozen=True, eq=False)
class Case:
    """A graph without its hidden truth.

    Attributes:
        hidden: what is true, as ids, by name of the hidden truth.
        pool: the only candidates; None for those of the queue.
    """

    graph: KnowledgeGraph
    hidden: dict[str, Tensor]
    pool: Tensor | None = None

    def code(self, triples: Tensor) -> Tensor:
        """One number for each triple."""
        head, relation, tail = triples.unbind(1)
        return (head * len(self.graph.relations) + relation) * len(self.graph.entities) + tail


def rows_of(name: str, file: str) -> list[Triple]:
    with gzip.open(Path(os.environ["SPARRING_DATA"], name, f"{file}.tsv.gz"), "rt") as lines:
        return [Triple(*line.rstrip("\n").split("\t")[:3]) for line in lines]


def case_of(name: str) -> Case:
    graph = sparring.load_graph(Path(os.environ["SPARRING_DATA"], name), name=name)
    rng = torch.Generator().manual_seed(SEEDS.get(name, 0))
    order = torch.randperm(len(graph.train), generator=rng)
    if name == "codex-m":
        true, false = (triple_ids(graph, rows_of(name, f)) for f in ("valid", "valid_negatives"))
        valid, train = graph.train[order[:8000]], graph.train[order[8000:]]
        hidden = {"curated": true}
        return Case(replace(graph, train=train, valid=valid), hidden, torch.cat([true, false]))
    hidden = {HIDDEN[name]: triple_ids(graph, rows_of(name, HIDDEN[name]))}
    if name == "fb15k-237":
        hidden["withheld"] = graph.train[order[:WITHHELD]]
        graph = replace(graph, train=graph.train[order[WITHHELD:].sort().values])
    return Case(graph, hidden)


def candidates_of(model: Predictor, queries: int | None) -> Tensor:
    """Candidates as `sparring serve` finds them."""
    triples = []
    for found in probably_missing(model.model, model.graph):
        triples.append(found.triples)
        if queries is not None and found.done >= queries:
            break
    return torch.cat(triples).unique(dim=0)


def orders_of(model: Predictor, candidates: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Candidates by name of the order."""
    rated = rate_triples(model.model, model.graph, candidates, calibration=model.calibrate())
    yield "probability", rated.probability.argsort(descending=True, stable=True)
    yield "score", rated.score.argsort(descending=True, stable=True)
    yield "uncertainty", (rated.probability - 0.5).abs().argsort(stable=True)
    yield "random", torch.randperm(len(candidates), generator=torch.Generator().manual_seed(1))


def study(name: str, orders_to_train: list[str], runs: Path) -> Iterator[dict]:
    """The record after each training."""
    case = case_of(name)
    graph, truth = case.graph, torch.cat(list(case.hidden.values()))
    known = TripleIndex(
        torch.cat([graph.train, graph.valid, graph.test, truth]),
        len(graph.entities),
        len(graph.relations),
    )

    def fitted(run: str, **options) -> Predictor:
        folder = runs / name / run
        if (folder / "result.json").exists():
            return sparring.load(folder)
        options |= {"folder": folder, "resume": True, "threads": 1, "progress": False}
        return sparring.fit(graph, **SETTINGS[name], **options)

    def mrr(model: Predictor) -> float:
        return evaluate(model.model, graph.test, known).mrr()

    base = fitted("base")
    candidates = candidates_of(base, QUERIES.get(name)) if case.pool is None else case.pool
    orders = dict(orders_of(base, candidates))
    code = case.code(candidates)
    true = {which: torch.isin(code, case.code(own)) for which, own in case.hidden.items()}
    accepted = torch.isin(code, case.code(truth))
    precision = {
        which: {
            order: {str(n): round(own[rows[:n]].double().mean().item(), 4) for n in AT}
            for order, rows in orders.items()
        }
        for which, own in (true if len(true) == 1 else {**true, "both": accepted}).items()
    }
    before = mrr(base)
    record = {
        "graph": name,
        "settings": SETTINGS[name],
        "candidates": len(candidates),
        "true among them": {which: int(own.sum()) for which, own in true.items()},
        "precision": precision,
        "reviews": AT[-1],
        "mrr without reviews": round(before, 4),
        "mrr with another seed": None,
        "trained with reviews": {},
        **provenance(),
    }
    yield record
    for order in orders_to_train:
        reviews = runs / name / f"{order}.db"
        reviews.unlink(missing_ok=True)
        rows = orders[order][: AT[-1]]
        review(case, candidates[rows], accepted[rows], reviews)
        after = mrr(fitted(order, reviewed=reviews))
        record["trained with reviews"][order] = {
            "accepted": int(accepted[rows].sum()),
            "mrr": round(after, 4),
            "per 100 reviews": round(100 * (after - before) / AT[-1], 6),
        }
        yield record
    if orders_to_train:
        record["mrr with another seed"] = round(mrr(fitted("seed-1", seed=1)), 4)
        yield record


def review(case: Case, triples: Tensor, accepted: Tensor, path: Path) -> None:
    """Write what the simulated reviewer decides."""
    entities, relations = case.graph.entities, case.graph.relations
    reviews = Reviews(path)
    decisions = [
        (
            Triple(entities[head], relations[relation], entities[tail]),
            "accept" if yes else "reject",
        )
        for (head, relation, tail), yes in zip(triples.tolist(), accepted.tolist())
    ]
    reviews.record(decisions, "simulated")
    reviews.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graphs", nargs="*", default=list(SETTINGS), metavar="GRAPH")
    parser.add_argument("--train", nargs="*", default=ORDERS, metavar="ORDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/reviewing"))
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in options.graphs:
        for record in study(name, options.train, options.runs):
            (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        print((RESULTS / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
