"""What each sampler draws on the graph that comes with the package, for the figures of the docs.

    python research/scripts/atlas_draws.py

trains a ComplEx on the atlas, and every generator with a ComplEx of its own, and writes
research/results/draws/atlas.json: two-dimensional maps of the entity vectors before and after
training (t-SNE), the entities that each sampler draws for one query, and how its draws for training
queries spread over the ranks of the model's scores. Samplers are set up as in
research/scripts/audit_samplers.toml.
"""

import json
import time
import tomllib
from pathlib import Path

import torch
from sklearn.manifold import TSNE

import sparring
from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.experiments.environment import provenance
from sparring.registry import build
from sparring.samplers import SAMPLERS, NSCaching
from sparring.samplers.base import entity_vectors

ROOT = Path(__file__).parents[2]
QUERY = ("territory:CH", "official_language")
GENERATORS = {
    "generator": {"k": 16},
    "softmax-generator": {"k": 16},
    "kbgan": {"k": 16, "pool": 64, "model": {"name": "distmult", "dim": 32}},
    "neural-gan": {"k": 16},
    "flow": {"k": 16},
    "adversarial-tree": {"k": 16},
    "midx": {"k": 16},
}
NO_ANSWER_DENSITY = ("kbgan",)
DENSE = ("softmax-generator", "neural-gan", "flow")  # policies over all entities: fewer epochs
SHOWN, DRAWS, QUERIES, EPOCHS, FEW = 1500, 320, 512, 8, 2


def one_query(graph, rows: int) -> Queries:
    """The query of the figures, as often as a batch needs it."""
    anchor, relation = graph.entities.index(QUERY[0]), graph.relations.index(QUERY[1])
    facts = graph.train[(graph.train[:, 0] == anchor) & (graph.train[:, 1] == relation)]
    answer = int(facts[0, 2])
    columns = (torch.full((rows,), number) for number in (anchor, relation, answer))
    return Queries(*columns, weight=torch.ones(rows))


@torch.no_grad()
def drawn(sampler, model, queries: Queries, rng: torch.Generator) -> list[list[int]]:
    """The candidates of each query that count."""
    negatives = sampler.sample(queries, model(queries), rng)
    ids = negatives.ids.repeat_interleave(len(queries) // len(negatives.ids), 0)
    return [row[mask].tolist() for row, mask in zip(ids, negatives.mask, strict=True)]


@torch.no_grad()
def ranks(sampler, model, queries: Queries, num_entities: int, rng) -> list[float]:
    """Share of draws by the binary logarithm of their rank among all entities."""
    counts = torch.zeros(14)
    for some in range(0, len(queries.anchor), 128):
        rows = slice(some, some + 128)
        part = Queries(
            *(column[rows] for column in (queries.anchor, queries.relation)),
            answer=queries.answer[rows],
            weight=queries.weight[rows],
        )
        order = model(part)(torch.arange(num_entities).unsqueeze(0)).argsort(1, descending=True)
        place = torch.empty_like(order)
        place.scatter_(1, order, torch.arange(num_entities).expand_as(order))
        for row, ids in enumerate(drawn(sampler, model, part, rng)):
            own = place[row, torch.tensor(ids, dtype=torch.long)] + 1
            counts += own.float().log2().floor().long().bincount(minlength=14)
    return [round(share, 5) for share in (counts / counts.sum()).tolist()]


def pictured(sampler, model, graph, rng) -> dict:
    """Draws for the one query, and ranks of draws for training queries."""
    rows = 1 if sampler.k >= DRAWS else 64
    found: list[int] = []
    while len(found) < DRAWS:
        before = len(found)
        for ids in drawn(sampler, model, one_query(graph, rows), rng):
            found += ids
        if len(found) == before:
            break
    few = graph.train[torch.randperm(len(graph.train), generator=rng)[: QUERIES // 2]]
    queries = tail_and_head_queries(few, len(graph.relations))
    shares = ranks(sampler, model, queries, len(graph.entities), rng)
    return {"query": sorted(found[:DRAWS]), "ranks": shares}


def mapped(vectors: torch.Tensor) -> list[list[float]]:
    """Two numbers per entity, so that near vectors are near."""
    unit = torch.nn.functional.normalize(vectors, dim=1).numpy()
    places = TSNE(random_state=0, perplexity=30, max_iter=500).fit_transform(unit)
    places = (places - places.mean(0)) / places.std()
    return [[round(float(x), 2) for x in place] for place in places]


def main() -> None:
    torch.set_num_threads(1)
    began = time.process_time()
    graph = sparring.load_graph("atlas")
    options = {"epochs": EPOCHS, "progress": False, "threads": 1}
    trained = sparring.fit(graph, **options)
    folder = str(trained.save(ROOT / "runs" / "atlas-draws" / str(time.time_ns())))
    specs = tomllib.loads(
        (ROOT / "research" / "scripts" / "audit_samplers.toml")
        .read_text()
        .replace("TEACHER", folder)
    )
    samplers = {}
    for row, spec in specs.items():
        if spec["name"] in samplers:
            continue
        torch.manual_seed(0)
        sampler = build(spec, SAMPLERS, row, graph=graph.training)
        sampler.bind_model(trained.model)
        rng = torch.Generator().manual_seed(0)
        if isinstance(sampler, NSCaching):
            for some in graph.train.split(1024):
                drawn(sampler, trained.model, tail_and_head_queries(some, 40), rng)
        found = pictured(sampler, trained.model, graph, rng)
        samplers[spec["name"]] = {"setup": row, **found}
        print(f"{time.process_time() - began:5.0f} s  {row}", flush=True)
    for name, given in GENERATORS.items():
        correction = "none" if name in NO_ANSWER_DENSITY else "both"
        loss = {"name": "sampled-softmax", "correction": correction}
        options["epochs"] = FEW if name in DENSE else EPOCHS
        own = sparring.fit(graph, sampler={"name": name, **given}, loss=loss, **options)
        rng = torch.Generator().manual_seed(0)
        found = pictured(own.sampler, own.model, graph, rng)
        samplers[name] = {"setup": f"after {options['epochs']} epochs", **found}
        print(f"{time.process_time() - began:5.0f} s  {name}", flush=True)

    fresh = build(
        {"name": "complex", "dim": 100, "reciprocal_relations": True, "init": 0.1},
        trained.model.registry,
        "model",
        graph=graph.training,
    )
    untrained = build({"name": "generator", "k": 16}, SAMPLERS, "sampler", graph=graph.training)
    start = pictured(untrained, fresh, graph, torch.Generator().manual_seed(0))
    every = torch.randperm(len(graph.entities), generator=torch.Generator().manual_seed(1))
    needed = {number for one in samplers.values() for number in one["query"]} | set(start["query"])
    shown = sorted(needed | set(every[:SHOWN].tolist()))
    models = {"before": fresh, "after": trained.model}
    maps = {when: mapped(entity_vectors(model)[shown]) for when, model in models.items()}
    anchor, relation = graph.entities.index(QUERY[0]), graph.relations.index(QUERY[1])
    facts = graph.train[(graph.train[:, 0] == anchor) & (graph.train[:, 1] == relation)]
    names = [graph.entities[number] for number in shown]
    record = {
        "command": "python research/scripts/atlas_draws.py",
        "query": QUERY,
        "answers": facts[:, 2].tolist(),
        "entities": shown,
        "kinds": [name.partition(":")[0] for name in names],
        "maps": maps,
        "generator_before": start,
        "samplers": samplers,
        "test_mrr": round(trained.metrics["test"]["mrr"], 4),
        "cpu_seconds": round(time.process_time() - began, 1),
        **provenance(),
    }
    path = ROOT / "research" / "results" / "draws" / "atlas.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
