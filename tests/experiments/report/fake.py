"""A comparison that was never trained: plausible records, made up in a moment."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.evaluation.breakdown import breakdown
from sparring.evaluation.ranking import RankingResult
from sparring.experiments.compare import Comparison, check_comparison
from sparring.experiments.run import metrics
from sparring.experiments.run_folder import Run
from sparring.files import write_json
from sparring.training import checkpoint

PLACES = (
    *("Albania", "Austria", "Belgium", "Bosnia and Herzegovina", "Bulgaria", "Croatia", "Czechia"),
    *("Denmark", "Estonia", "Finland", "France", "Germany", "Greece", "Hungary", "Iceland"),
    *("Ireland", "Italy", "Latvia", "Liechtenstein", "Lithuania", "Luxembourg", "Malta"),
    *("Netherlands", "Norway", "Poland", "Portugal", "Romania", "Serbia", "Slovakia", "Spain"),
)
RELATIONS = (
    *("shares a border with", "has the official language", "is located in", "uses the currency"),
    *("is a member of", "has the capital", "drives on the side", "was formerly part of"),
    *("has the highest point", "is bounded by the sea", "has the largest city", "exports to"),
    *("imports from", "is in the time zone", "has the anthem in the language spoken in", "trades"),
    *("is twinned with", "has the river", "hosted the games of", "signed the treaty with"),
)
HOSTILE = (
    '<img src="https://evil.example/x" onerror="alert(1)">',
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }} & <b>bold</b>",
)
SAMPLERS = {"Uniform": 64, "Bernoulli": 64, "Hardest of a pool": 16, "Sparring": 32}
GAIN = (0.0, 0.02, 0.12, 0.4)  # how much lower the logarithm of a variant's ranks is


def fake_graph(
    entities: Sequence[str] = PLACES, relations: Sequence[str] = RELATIONS
) -> KnowledgeGraph:
    """A random graph whose names are ids and whose labels are readable."""
    rng = torch.Generator().manual_seed(1)
    columns = [
        torch.randint(n, (700,), generator=rng)
        for n in (len(entities), len(relations), len(entities))
    ]
    columns[1] = (columns[1] ** 2) // len(relations)  # some relations are frequent
    triples = torch.stack(columns, 1).unique(dim=0)
    triples = triples[torch.randperm(len(triples), generator=rng)]
    return KnowledgeGraph(
        name="atlas",
        entities=Vocabulary([f"Q{i}" for i in range(len(entities))], entities),
        relations=Vocabulary([f"P{i}" for i in range(len(relations))], relations, "relation"),
        train=triples[300:],
        valid=triples[:100],
        test=triples[100:300],
    )


def fake_comparison(
    folder: Path,
    *,
    labels: Sequence[str] = tuple(SAMPLERS),
    seeds: Sequence[int] = (0, 1, 2),
    graph: KnowledgeGraph | None = None,
    gain: Sequence[float] = GAIN,
    validations: int = 12,
    extras: Sequence[str] = ("breakdown", "audit", "negatives"),
) -> Comparison:
    """Every run of some variants, with all the files a real one leaves that a report reads.

    Args:
        gain: what sets a variant apart; equal gains make equal variants.
        extras: which optional records there are.
    """
    graph = graph or fake_graph()
    tables = {
        "graph": {"name": "atlas"},
        "model": {"name": "complex", "dim": 64},
        "sampler": {"name": "uniform", "k": 64},
        "loss": {"name": "sampled-softmax"},
        "compare": {"seeds": list(seeds), "variants": {f"v{i}": {} for i in range(len(labels))}},
    }
    plan = check_comparison("atlas-samplers", tables)
    configs = dict(zip(labels, plan.variants.values()))
    plan = type(plan)(plan.name, plan.seeds, configs)
    runs = {
        label: [
            _fake_run(
                folder / f"{place}" / f"seed-{seed}",
                graph,
                plan.config(label, seed).as_dict(),
                place=place,
                seed=seed,
                gain=gain[place % len(gain)],
                validations=validations,
                extras=extras,
            )
            for seed in seeds
        ]
        for place, label in enumerate(labels)
    }
    return Comparison(folder, graph, plan, runs)


def _fake_run(
    folder: Path,
    graph: KnowledgeGraph,
    resolved: dict,
    *,
    place: int,
    seed: int,
    gain: float,
    validations: int,
    extras: Sequence[str],
) -> Run:
    folder.mkdir(parents=True)
    ranks = _fake_ranks(graph, gain, seed)
    mrr = ranks.mrr()
    seconds = 40.0 * (1 + place) + seed
    k = list(SAMPLERS.values())[place % len(SAMPLERS)]
    result = {
        "dataset": graph.name,
        "content_hash": graph.content_hash,
        "split": "test",
        "model": "complex",
        "dim": 64,
        "sampler": "uniform",
        "loss": "softmax",
        "k": k,
        "scored_per_query": k + 48 * (place == 2),
        "seed": seed,
        "epochs": 5 * validations,
        "best_epoch": 5 * validations - 5 * (seed % 2),
        "valid_mrr": mrr,
        "cpu_seconds": seconds,
        "threads": 1,
        "resolved": resolved,
        "commit": "0123456789ab",
        "versions": {"python": "3.11.9", "torch": "2.13.0", "sparring": "0.1.0"},
        "cpu": "A processor of the year",
        **metrics(ranks),
    }
    write_json(folder / "result.json", result)
    checkpoint.save(folder, "ranks", vars(ranks))
    log = [
        {
            "kind": "validation",
            "epoch": 5.0 * i,
            "step": 50 * i,
            "cpu_seconds": round(seconds * i / validations, 2),
            "mrr": mrr * (1 - 0.8 ** (i + 0.2 * seed)) ** (0.7 + 0.2 * place),
        }
        for i in range(1, validations + 1)
    ]
    log.insert(0, {"kind": "progress", "epoch": 0.5, "step": 5, "cpu_seconds": 1.0, "loss": 3.2})
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in log))
    if "breakdown" in extras:
        rng = torch.Generator().manual_seed(seed)
        found = breakdown(ranks, graph, rng=rng, replicates=50)
        write_json(folder / "breakdown.json", found.to_dict())
    if "audit" in extras:
        write_json(folder / "audit.json", _fake_audit(place, seed, k))
    if "negatives" in extras:
        write_json(folder / "negatives.json", _fake_negatives(graph, place, k))
    return Run(folder)


def _fake_ranks(graph: KnowledgeGraph, gain: float, seed: int) -> RankingResult:
    """Ranks that depend on the query, the variant and the luck of the seed."""
    queries = tail_and_head_queries(graph.test, len(graph.relations))
    hardness = torch.randn(len(queries), generator=torch.Generator().manual_seed(5)) + 0.6
    luck = torch.randn(len(queries), generator=torch.Generator().manual_seed(100 + seed))
    easier = 0.06 * (queries.relation % len(graph.relations)).float()
    rank = (hardness + 0.15 * luck - easier - gain).exp().clamp(1, len(graph.entities)).floor()
    candidates = torch.full((len(queries),), len(graph.entities))
    return RankingResult(
        queries.anchor, queries.relation, queries.answer, rank, candidates, len(graph.relations)
    )


def _fake_audit(place: int, seed: int, k: int) -> dict:
    """What `Audit.to_dict()` has in store, as far as a report reads it."""
    harder = {
        "withheld_counted": 0.004 * 3**place + 0.0002 * seed,
        "percentile": (0.501, 0.52, 0.9, 0.83)[place % 4] + 0.004 * seed,
        "above": 0.03 * (1 + place),
        "known_drawn": 0.05 + 0.02 * place,
        "answer_drawn": 0.01,
        "distinct": 0.99 - 0.1 * place,
        "coverage": 1.0 - 0.05 * place,
    }
    plain = {**harder, "withheld_counted": 0.004, "percentile": 0.5, "above": 0.03}
    uniform = {"sampler": "Uniform", "k": k, "overall": plain, "baseline": None}
    return {"sampler": "Any", "k": k, "overall": harder, "baseline": uniform}


def _fake_negatives(graph: KnowledgeGraph, place: int, k: int) -> list[dict]:
    """What `examples` returns."""
    rng = torch.Generator().manual_seed(place)
    shown = []
    for row, (head, relation, tail) in enumerate(graph.test[:4].tolist()):
        anchor, answer = (head, tail) if row % 2 == 0 else (tail, head)
        drawn = torch.randint(len(graph.entities), (12,), generator=rng).tolist()
        marks = ["", "withheld" if place > 1 else "", "known", *[""] * 9]
        shown.append(
            {
                "anchor": graph.entities.label(anchor),
                "relation": graph.relations.label(relation),
                "answer": graph.entities.label(answer),
                "asked": "head" if row % 2 else "tail",
                "drawn": k,
                "known": 1,
                "withheld": int(place > 1),
                "candidates": [
                    {
                        "entity": graph.entities.label(entity),
                        "mark": mark,
                        "counts": mark != "known",
                        "score": round(5.0 - 0.7 * i, 4),
                    }
                    for i, (entity, mark) in enumerate(zip(drawn, marks))
                ],
            }
        )
    return shown
