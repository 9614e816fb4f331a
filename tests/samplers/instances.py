"""Small instances of samplers, by name, for the zoo."""

import torch

from sparring.batch import ungroup
from sparring.samplers import (
    EANS,
    MCNS,
    SANS,
    WARP,
    Curriculum,
    DynamicNegatives,
    FalseNegativeWeighting,
    KHop,
    MaskKnown,
    Mixture,
    NearestNeighbor,
    NSCaching,
    RandomWalk,
    Relational,
    ResampleKnown,
    TeacherNegatives,
    TypeConstrained,
    Uniform,
    WithoutReplacement,
)
from sparring.samplers.false_negatives import CardinalityEstimator


def opinion(queries):
    """A scorer of a frozen model that likes other entities for every query."""
    lean = (3 * queries.anchor + queries.relation).unsqueeze(1)
    return lambda ids: ((7 * ungroup(ids, len(queries)) + lean) % 11).float()


def vectors(graph):
    return torch.randn(graph.num_entities, 4, generator=torch.Generator().manual_seed(2))


def introduced(sampler, graph):
    """The sampler, after it has met a model with these vectors."""
    model = torch.nn.Module()
    table = vectors(graph).to(graph.triples.device)
    model.entity = torch.nn.Embedding.from_pretrained(table)
    sampler.bind_model(model)
    return sampler


EXACT = {
    "curriculum": lambda graph: Curriculum(
        graph, inner=TypeConstrained(graph, k=5), option="uniform_mix", start=1.0, end=0.3, steps=20
    ),
    "discounted": lambda graph: FalseNegativeWeighting(
        graph, inner=Uniform(graph, k=5), estimator=CardinalityEstimator(graph)
    ),
    "k-hop": lambda graph: KHop(graph, k=5, hops=1),
    "k-hop-floored": lambda graph: KHop(graph, k=5, hops=1, uniform_mix=0.5),
    "mix": lambda graph: Mixture(
        graph, parts=[TypeConstrained(graph, k=2, uniform_mix=0.0), Uniform(graph, k=3, groups=1)]
    ),
    "mix-own-densities": lambda graph: Mixture(
        graph,
        parts=[WithoutReplacement(graph, inner=Uniform(graph, k=2)), Uniform(graph, k=3)],
    ),
    "near-miss": lambda graph: TeacherNegatives(graph, k=5, teacher=opinion),
    "near-miss-pool": lambda graph: TeacherNegatives(graph, k=3, teacher=opinion, pool=6),
    "near-miss-strict": lambda graph: TeacherNegatives(
        graph, k=3, teacher=opinion, pool=6, strict=True
    ),
    "nearest-neighbour": lambda graph: NearestNeighbor(graph, k=3, vectors=vectors(graph), pool=5),
    "neighbourhood": lambda graph: introduced(
        EANS(graph, k=5, width=4.0, clusters=3, update_every=2), graph
    ),
    "positional": lambda graph: TypeConstrained(graph, k=5, uniform_mix=0.0),
    "redrawn-typed": lambda graph: ResampleKnown(graph, inner=TypeConstrained(graph, k=5)),
    "relational": lambda graph: Relational(graph, k=5),
    "relational-floored": lambda graph: Relational(graph, k=5, uniform_mix=0.5),
    "typed": lambda graph: TypeConstrained(graph, k=5),
    "walk-ends": lambda graph: SANS(graph, k=5, walks=20),
    "walk-ends-compat": lambda graph: SANS(graph, k=5, walks=20, compat=True),
    "without-replacement": lambda graph: WithoutReplacement(
        graph, inner=TypeConstrained(graph, k=4)
    ),
    "without-replacement-pool": lambda graph: WithoutReplacement(
        graph, inner=MaskKnown(graph, inner=TypeConstrained(graph, k=9)), k=4
    ),
}
INEXACT = {
    "curriculum": lambda graph: Curriculum(
        graph, inner=TypeConstrained(graph, k=5), option="uniform_mix", start=1.0, end=0.3, steps=20
    ),
    "discounted": lambda graph: FalseNegativeWeighting(
        graph, inner=Uniform(graph, k=5), estimator=CardinalityEstimator(graph)
    ),
    "cached": lambda graph: NSCaching(graph, k=3, size=4, fresh=3),
    "cached-hashed": lambda graph: NSCaching(
        graph, k=3, size=4, fresh=3, rows=5, draw="importance", drop_known=True
    ),
    "cached-top": lambda graph: NSCaching(
        graph, k=3, size=4, fresh=3, draw="top", keep="top", compat=True
    ),
    "hardest": lambda graph: DynamicNegatives(graph, inner=Uniform(graph, k=8), k=3, rank=2),
    "hardest-unknown": lambda graph: DynamicNegatives(
        graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3
    ),
    "mix-hardest": lambda graph: Mixture(
        graph, parts=[DynamicNegatives(graph, inner=Uniform(graph, k=4)), Uniform(graph, k=2)]
    ),
    "metropolis-hastings": lambda graph: MCNS(
        graph, inner=KHop(graph, k=5, uniform_mix=0.5), steps=3
    ),
    "random-walk": lambda graph: RandomWalk(graph, k=5),
    "redrawn-without-replacement": lambda graph: ResampleKnown(
        graph, inner=WithoutReplacement(graph, inner=TypeConstrained(graph, k=4))
    ),
    "until-wrong": lambda graph: WARP(graph, inner=Uniform(graph, k=8), k=2, margin=0.5),
    "until-wrong-ranked": lambda graph: WARP(graph, inner=Uniform(graph, k=8), k=2, by_rank=True),
}
