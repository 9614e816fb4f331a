"""What every sampler costs per batch, beside a plain uniform draw and other libraries' samplers.

    python benchmarks/samplers.py

writes research/results/benchmarks/samplers.json. Every batch is 1,024 queries; scores are looked
up in a
table, so what a main model would take is left out. Peers run in virtual environments of their own,
made under .cache, and take turns with ours batch by batch. Times are those of one CPU thread;
memory is how much a batch adds at its peak. Build times are not measured.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sampler_peers import Peer, environment, in_turns, measured, settle

from sparring.corruption import Bernoulli, CorruptEither, PseudoTypedSide, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.experiments.environment import provenance
from sparring.generators import KBGAN, MIDX, AdversarialTree
from sparring.groups import ungroup
from sparring.models import DistMult
from sparring.samplers import (
    EANS,
    MCNS,
    SANS,
    WARP,
    AllEntities,
    Curriculum,
    DistanceEstimator,
    DynamicNegatives,
    FalseNegativeWeighting,
    InBatch,
    KHop,
    KvsAll,
    MaskKnown,
    Mixture,
    NearestNeighbor,
    NSCaching,
    Popularity,
    RandomWalk,
    Relational,
    ResampleKnown,
    TeacherNegatives,
    TypeConstrained,
    Uniform,
    UniformFiltered,
    WithoutReplacement,
    WithPositives,
)
from sparring.samplers.pretrained import TeacherRankings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "research" / "results" / "benchmarks" / "samplers.json"
QUERIES = 1024
SIZES = ((15_000, 237, 272_000), (100_000, 100, 1_000_000), (1_000_000, 100, 2_000_000))
CANDIDATES = (8, 64, 256)
PLAIN = "uniform draw"


def positional(graph: TrainGraph, k: int) -> TypeConstrained:
    """Entities seen in the position that is asked for, and no others."""
    return TypeConstrained(graph, k=k, uniform_mix=0.0)


# those that stand in every table and document under their own names
SAMPLERS = {
    "uniform": lambda graph, k: Uniform(graph, k=k),
    "uniform, one list shared": lambda graph, k: Uniform(graph, k=k, groups=1),
    "uniform-unknown": lambda graph, k: UniformFiltered(graph, k=k),
    "hide-known": lambda graph, k: MaskKnown(graph, inner=Uniform(graph, k=k)),
    "hide-known, one list shared": lambda graph, k: MaskKnown(
        graph, inner=Uniform(graph, k=k, groups=1)
    ),
    "redraw-known": lambda graph, k: ResampleKnown(graph, inner=Uniform(graph, k=k)),
    "popular": lambda graph, k: Popularity(graph, k=k),
    "in-batch": lambda graph, k: InBatch(graph, k=k),
    "all-entities": lambda graph, k: AllEntities(graph),
    "kvs-all": lambda graph, k: KvsAll(graph),
    "positional": positional,
    "typed": lambda graph, k: TypeConstrained(graph, k=k),
    "relational": lambda graph, k: Relational(graph, k=k),
    "k-hop": lambda graph, k: KHop(graph, k=k, hops=1),
    "random-walk": lambda graph, k: RandomWalk(graph, k=k),
    "walk-ends": lambda graph, k: SANS(graph, k=k, walks=20),
    "near-miss": lambda graph, k: TeacherNegatives(graph, k=k, teacher=rankings(graph, k)),
    "nearest-neighbour": lambda graph, k: NearestNeighbor(graph, k=k, vectors=vectors(graph)),
    "neighbourhood": lambda graph, k: introduced(EANS(graph, k=k, update_every=10**9), graph),
    "hardest-of": lambda graph, k: DynamicNegatives(graph, inner=Uniform(graph, k=4 * k), k=k),
    "until-wrong": lambda graph, k: WARP(graph, inner=Uniform(graph, k=4 * k), k=k),
    "cached": lambda graph, k: NSCaching(graph, k=k),
    "metropolis-hastings": lambda graph, k: MCNS(graph, inner=Uniform(graph, k=k)),
    "without-replacement": lambda graph, k: WithoutReplacement(
        graph, inner=Uniform(graph, k=4 * k), k=k
    ),
    "mix": lambda graph, k: Mixture(
        graph, parts=[Uniform(graph, k=k // 2), TypeConstrained(graph, k=k // 2, uniform_mix=0.0)]
    ),
    "discount": lambda graph, k: FalseNegativeWeighting(
        graph, inner=Uniform(graph, k=k), estimator=DistanceEstimator(graph, hops=1)
    ),
    "curriculum": lambda graph, k: Curriculum(
        graph, inner=TypeConstrained(graph, k=k), option="uniform_mix", start=1.0, end=0.5, steps=10
    ),
    "show-known": lambda graph, k: WithPositives(graph, inner=Uniform(graph, k=k)),
    "kbgan": lambda graph, k: KBGAN(graph, k=k, model=DistMult(graph, dim=16)),
    "adversarial-tree": lambda graph, k: AdversarialTree(graph, k=k),
    "midx": lambda graph, k: MIDX(graph, k=k, rebuild_every=10**9),
}
# too long to build, or too much to hold, with the reason that is recorded
SMALL_ONLY = {"nearest-neighbour": "compares all entities with each other once"}
NOT_HUGE = {
    "near-miss": "K entities for each of millions of queries",
    "all-entities": "1,024 rows of a million",
    "kvs-all": "1,024 rows of a million",
    "walk-ends": "walks from every entity once",
}

FILTERED = ("python-set", "bloom")
COUNTERPARTS = {
    "basic": (CorruptEither, Uniform),
    "bernoulli": (Bernoulli, Uniform),
    "pseudo-typed": (PseudoTypedSide, positional),
}
UNFILTERED = {
    "uniform": (CorruptEither, Uniform),
    "bernoulli": (Bernoulli, Uniform),
    "positional": (Bernoulli, positional),
}


def random_graph(entities: int, relations: int, triples: int) -> TrainGraph:
    """Entities and relations as unequally used as in real graphs."""
    rng = torch.Generator().manual_seed(0)
    lot = torch.rand(3, triples, generator=rng, dtype=torch.double)
    name = torch.randperm(entities, generator=rng)
    head, tail = (name[(lot[row] ** 3 * entities).long()] for row in (0, 1))
    relation = (lot[2] ** 2 * relations).long()
    distinct = torch.stack([head, relation, tail], 1).unique(dim=0)
    return TrainGraph(distinct, entities, relations)


def vectors(graph: TrainGraph) -> torch.Tensor:
    return torch.randn(graph.num_entities, 16, generator=torch.Generator().manual_seed(1))


def introduced(sampler, graph):
    """The sampler, after it has met a model."""
    model = torch.nn.Module()
    model.entity = torch.nn.Embedding.from_pretrained(vectors(graph))
    sampler.bind_model(model)
    return sampler


def rankings(graph: TrainGraph, k: int) -> TeacherRankings:
    """As if a frozen model had ranked all entities for every query, which takes long."""
    rows, rng = graph.known.num_queries, torch.Generator().manual_seed(4)
    entity = torch.randint(graph.num_entities, (rows, k), generator=rng, dtype=torch.int32)
    return TeacherRankings(entity, torch.full((rows,), k), torch.full((graph.known.num_facts,), k))


class Ours:
    """One sampler of this library, and the queries it is asked."""

    def __init__(self, graph: TrainGraph, sampler, corruption=None):
        self.graph, self.sampler, self.corruption = graph, sampler, corruption
        self.rng = torch.Generator().manual_seed(2)
        self.table = torch.randn(graph.num_entities, generator=torch.Generator().manual_seed(3))

    def batch(self) -> None:
        """Draw for random training triples; only the drawing is measured."""
        size = QUERIES if self.corruption else QUERIES // 2
        pick = torch.randint(len(self.graph.triples), (size,), generator=self.rng)
        self.triples = self.graph.triples[pick]
        if not self.corruption:
            self.queries = tail_and_head_queries(self.triples, self.graph.num_relations)

    @torch.no_grad()
    def draw(self) -> object:
        queries = self.corruption(self.triples, self.rng) if self.corruption else self.queries
        score = lambda ids: self.table[ungroup(ids, len(queries))]
        return self.sampler.sample(queries, score, self.rng)


def record(name: str, unit: str, ours: float, peer: float, peer_name: str) -> dict:
    ours, peer = float(f"{ours:.4g}"), float(f"{peer:.4g}")
    ratio = round(peer / ours, 3) if ours else None
    return {
        "name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "unit": unit,
        "ratio": ratio,
    }  # fmt: skip


def compared(what: str, ours, peer, peer_name: str) -> list[dict]:
    """Time and memory of both, taken in turns."""
    times = in_turns([ours.timed, peer.timed])
    sizes = [one.peak() for one in (ours, peer)]
    return [
        record(f"{what}: time", "CPU ms per batch", *(1e3 * one for one in times), peer_name),
        record(f"{what}: memory", "MiB per batch", *sizes, peer_name),
    ]


def every_sampler(graph: TrainGraph, k: int, left_out: list) -> list[dict]:
    """All samplers of this library beside its own plain uniform draw."""
    rows, entities = [], graph.num_entities
    plain = measured(Ours(graph, Uniform(graph, k=k)))
    for name, make in SAMPLERS.items():
        where = f"{name}, N = {entities:,}, K = {k}"
        reason = SMALL_ONLY.get(name) if entities > 20_000 else None
        reason = reason or (NOT_HUGE.get(name) if entities > 500_000 else None)
        if reason:
            left_out.append({"name": where, "why": reason})
            continue
        try:
            sampler = make(graph, k)
        except ValueError as error:
            left_out.append({"name": where, "why": str(error)})
            continue
        rows += compared(where, measured(Ours(graph, sampler)), plain, PLAIN)
        print(rows[-2], flush=True)
    return rows


def beside_peers(graph: TrainGraph, k: int, peers: dict, left_out: list) -> list[dict]:
    """Ours beside the counterparts of other libraries."""
    rows = []
    cases = [
        ("pykeen", name, filterer, corruption, MaskKnown(graph, inner=sampler(graph, k=k)))
        for name, (corruption, sampler) in COUNTERPARTS.items()
        for filterer in FILTERED
    ]
    cases += [
        ("pykeen", name, "", corruption, sampler(graph, k=k))
        for name, (corruption, sampler) in COUNTERPARTS.items()
    ]
    cases += [
        ("pykeen", "basic", filterer, CorruptEither, UniformFiltered(graph, k=k))
        for filterer in FILTERED
    ]
    cases += [
        ("torchkge", name, "", corruption, sampler(graph, k=k))
        for name, (corruption, sampler) in UNFILTERED.items()
    ]
    for library, name, filterer, corruption, sampler in cases:
        peer_name = " ".join(word for word in (library, name, filterer) if word)
        inner = getattr(sampler, "inner", sampler)
        parts = dict.fromkeys([corruption, type(sampler), type(inner)])
        what = " + ".join(part.__name__ for part in parts)
        where = f"{what}, N = {graph.num_entities:,}, K = {k}"
        peer = peers[library]
        if problem := peer.prepare(name, filterer, k):
            left_out.append({"name": where, "peer_name": peer_name, "why": problem})
            continue
        rows += compared(where, measured(Ours(graph, sampler, corruption(graph))), peer, peer_name)
        print(rows[-2], flush=True)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    settle()
    cache = ROOT / ".cache" / "peers"
    pythons, versions = {}, {}
    left_out: list[dict] = []
    for library in ("pykeen", "torchkge"):
        try:
            pythons[library], versions[library] = environment(cache, library)
        except (OSError, RuntimeError) as error:
            left_out.append({"name": library, "why": f"cannot be installed: {error}"})
    rows = []
    for entities, relations, triples in SIZES:
        graph = random_graph(entities, relations, triples)
        file = cache / "triples.npy"
        np.save(file, graph.triples.numpy())
        peers = {
            library: Peer(python, library, file, entities, relations)
            for library, python in pythons.items()
        }
        for k in CANDIDATES:
            if len(peers) == 2:
                rows += beside_peers(graph, k, peers, left_out)
            rows += every_sampler(graph, k, left_out)
        for peer in peers.values():
            peer.close()
    about = provenance()
    about["versions"] |= {"numpy": np.__version__, **versions}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "queries": QUERIES, "measurements": rows, "left_out": left_out}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
