"""Small instances of everything in the library, by name; contract tests run over all of it.

Each registered part is here with its example, under its own name; a new one needs no line in this
file. What is listed here are variants: options that take another way through the code.
"""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import polars as pl
import torch

from sparring import corruption, generators, losses, models, samplers
from sparring.corruption import CorruptBoth
from sparring.generators import (
    MIDX,
    FalseNegativePolicy,
    NeuralGAN,
    NSGenerator,
    UpdateSchedule,
)
from sparring.losses import (
    BCELoss,
    HardDebiased,
    MarginRankingLoss,
    NSSALoss,
    SampledSoftmax,
    TrueNegativeSoftmax,
)
from sparring.models import RGCN, CompGCN, ConvEDecoder, RotatE, TransE, TransEDecoder, TuckER
from sparring.samplers import (
    SANS,
    WARP,
    Blocks,
    DynamicNegatives,
    InBatch,
    KHop,
    MaskKnown,
    Mixture,
    NSCaching,
    Popularity,
    Relational,
    ResampleKnown,
    TeacherNegatives,
    TypeConstrained,
    Uniform,
    WithoutReplacement,
)
from sparring.testing import dummy_scorer, tiny_graph
from sparring.training import OPTIMIZERS, SCHEDULES, TrainingStep


def labelled(graph):
    """The graph with something to call its entities by."""
    words = ("city", "river", "mountain", "sea", "person", "film")
    names = [f"{words[e % len(words)]} {e}" for e in range(graph.num_entities)]
    return replace(graph, labels=pl.Series(names))


def model(name, graph, **options):
    """The example of a registered model, with other options."""
    return models.MODELS.example(name, graph=labelled(graph), **options)


def sampler(name, graph):
    """The example of a registered sampler, bound to a model with vectors of entities."""
    parts = {"teacher": dummy_scorer, "vectors": vectors(graph)}
    made = samplers.SAMPLERS.example(name, graph=graph, **parts)
    embedded = torch.nn.Module()
    table = vectors(graph).to(graph.triples.device)
    embedded.entity = torch.nn.Embedding.from_pretrained(table)
    made.bind_model(embedded)
    return made


def vectors(graph):
    """A vector for each entity, always the same."""
    return torch.randn(graph.num_entities, 4, generator=torch.Generator().manual_seed(2))


def corruption_of(name, graph):
    """The example of a registered corruption."""
    return corruption.CORRUPTIONS.example(name, graph=graph)


EMBEDDING_MODELS = {
    name: partial(model, name)
    for name in ("complex", "distmult", "rescal", "rotate", "rote", "transd", "transe", "transh")
} | {
    "rotate-2": lambda graph, **options: RotatE(graph, dim=8, norm=2, **options),
    "transe-2": lambda graph, **options: TransE(graph, dim=8, norm=2, **options),
}
# those that share one vector between a relation and its inverse by default
DERIVING_MODELS = EMBEDDING_MODELS | {"mutated": partial(model, "mutated")}
GRAPH_NETWORKS = {
    "compgcn": partial(model, "compgcn"),
    "compgcn-corr": lambda graph: CompGCN(
        graph, dim=8, layers=2, composition="corr", decoder=ConvEDecoder(dim=8, height=2, filters=2)
    ),
    "rgcn": partial(model, "rgcn"),
    "rgcn-transe": lambda graph: RGCN(graph, dim=8, layers=1, decoder=TransEDecoder()),
}
NETWORKS = {
    name: partial(model, name)
    for name in models.MODELS
    if name not in {*DERIVING_MODELS, *GRAPH_NETWORKS}
} | {
    "tucker-narrow": lambda graph, **options: TuckER(graph, dim=8, relation_dim=3, **options),
}
if find_spec("torch_geometric"):
    NETWORKS |= GRAPH_NETWORKS
MODELS = DERIVING_MODELS | NETWORKS

GENERATORS = {
    name: partial(sampler, name)
    for name, maker in samplers.SAMPLERS.items()
    if maker.__module__.startswith(generators.__name__)
} | {
    "midx-exact": lambda graph: MIDX(graph, k=4, codes=11, temperature=2.0),
    "neural-gan-pooled": lambda graph: NeuralGAN(
        graph, k=4, dim=8, hidden=8, pool=min(7, graph.num_entities)
    ),
    "generator-coarse": lambda graph: NSGenerator(
        graph, k=4, dim=8, codes=3, schedule=UpdateSchedule(num_uniform=0)
    ),
    "generator-steered": lambda graph: NSGenerator(graph, k=1, dim=8, target_hardness=0.2),
    "generator-grouped": lambda graph: NSGenerator(graph, k=6, group_size=8, dim=8),
    "generator-shared": lambda graph: NSGenerator(graph, k=6, share_negatives=True, dim=8),
    "generator-held-out": lambda graph: NSGenerator(
        replace(graph, held_out=graph.triples),
        k=4,
        dim=8,
        false_negatives=FalseNegativePolicy(missing_rate=0.2),
    ),
}

SAMPLERS = (
    {name: partial(sampler, name) for name in samplers.SAMPLERS}
    | GENERATORS
    | {
        "blocks-generator": lambda graph: Blocks(
            graph,
            parts=[NSGenerator(graph, k=3, dim=8), Uniform(graph, k=4, groups=1)],
        ),
        "blocks-grouped": lambda graph: Blocks(
            graph,
            parts=[NSGenerator(graph, k=4, group_size=6, dim=8), Popularity(graph, k=2)],
        ),
        "blocks-masked": lambda graph: MaskKnown(
            graph,
            inner=Blocks(
                graph,
                parts=[DynamicNegatives(graph, inner=Uniform(graph, k=4)), Uniform(graph, k=2)],
            ),
        ),
        "dynamic-negatives-filtered": lambda graph: DynamicNegatives(
            graph, inner=MaskKnown(graph, inner=Uniform(graph, k=8)), k=3
        ),
        "dynamic-negatives-second": lambda graph: DynamicNegatives(
            graph, inner=Uniform(graph, k=8), k=3, rank=2
        ),
        "in-batch-masked": lambda graph: MaskKnown(graph, inner=InBatch(graph, k=6)),
        "k-hop-mixed": lambda graph: KHop(graph, k=5, hops=1, uniform_mix=0.5),
        "mask-known-popularity": lambda graph: MaskKnown(
            graph, inner=Popularity(graph, k=5, groups=1)
        ),
        "mixture-dynamic": lambda graph: Mixture(
            graph, parts=[DynamicNegatives(graph, inner=Uniform(graph, k=4)), Uniform(graph, k=2)]
        ),
        "mixture-own-densities": lambda graph: Mixture(
            graph,
            parts=[WithoutReplacement(graph, inner=Uniform(graph, k=2)), Uniform(graph, k=3)],
        ),
        "mixture-shared": lambda graph: Mixture(
            graph,
            parts=[TypeConstrained(graph, k=2, uniform_mix=0.0), Uniform(graph, k=3, groups=1)],
        ),
        "nscaching-hashed": lambda graph: NSCaching(
            graph, k=3, size=4, fresh=3, rows=5, draw="importance", drop_known=True
        ),
        "nscaching-top": lambda graph: NSCaching(
            graph, k=3, size=4, fresh=3, draw="top", keep="top", compat=True
        ),
        "popularity-chunked": lambda graph: Popularity(graph, k=5, power=1.0, groups=2),
        "relational-mixed": lambda graph: Relational(graph, k=5, uniform_mix=0.5),
        "resample-known-chunked": lambda graph: ResampleKnown(
            graph, inner=Uniform(graph, k=5, groups=3)
        ),
        "resample-known-once": lambda graph: ResampleKnown(
            graph, inner=Popularity(graph, k=5), rounds=1
        ),
        "resample-known-typed": lambda graph: ResampleKnown(
            graph, inner=TypeConstrained(graph, k=5)
        ),
        "resample-known-without-replacement": lambda graph: ResampleKnown(
            graph, inner=WithoutReplacement(graph, inner=TypeConstrained(graph, k=4))
        ),
        "sans-compat": lambda graph: SANS(graph, k=5, walks=20, compat=True),
        "teacher-negatives-pool": lambda graph: TeacherNegatives(
            graph, k=3, teacher=dummy_scorer, pool=6
        ),
        "teacher-negatives-strict": lambda graph: TeacherNegatives(
            graph, k=3, teacher=dummy_scorer, pool=6, strict=True
        ),
        "type-constrained-slots": lambda graph: TypeConstrained(graph, k=5, uniform_mix=0.0),
        "uniform-chunked": lambda graph: Uniform(graph, k=5, groups=3),
        "uniform-shared": lambda graph: Uniform(graph, k=5, groups=1),
        "warp-by-rank": lambda graph: WARP(graph, inner=Uniform(graph, k=8), k=2, by_rank=True),
        "warp-narrow": lambda graph: WARP(graph, inner=Uniform(graph, k=8), k=2, margin=0.5),
        "without-replacement-pool": lambda graph: WithoutReplacement(
            graph, inner=MaskKnown(graph, inner=TypeConstrained(graph, k=9)), k=4
        ),
    }
)
# the density of these is that of the whole graph, not of the batch
APPROXIMATE = {"in-batch", "in-batch-masked"}
EXACT_SAMPLERS = {
    name: make
    for name, make in SAMPLERS.items()
    if name not in APPROXIMATE and make(tiny_graph()).capabilities.has_log_q
}

# their lists are as long as there are known answers, which must be counted first
COUNT_ANSWERS = (
    "kvs-all",
    "resample-known",
    "resample-known-chunked",
    "resample-known-once",
    "resample-known-typed",
)

# the registered examples, and options that take another way through the code
LOSSES = {name: partial(losses.LOSSES.example, name) for name in losses.LOSSES} | {
    "bce-smoothed": lambda: BCELoss(label_smoothing=0.1),
    "debiased": lambda: HardDebiased(hardness=0.0),
    "margin-ranking-adversarial": lambda: MarginRankingLoss(
        margin=2.0, adversarial_temperature=0.5
    ),
    "nssa-by-frequency": lambda: NSSALoss(margin=1.0, query_power=-0.5),
    "nssa-plain": lambda: NSSALoss(margin=0.5, adversarial_temperature=0.0),
    "softmax-both": lambda: SampledSoftmax(temperature=0.5, correction="both"),
    "softmax-learned": lambda: SampledSoftmax(learn_temperature=True),
    "softmax-negatives": lambda: SampledSoftmax(correction="negatives"),
    "softmax-smoothed": lambda: SampledSoftmax(label_smoothing=0.1, negative_target=0.5),
    "true-negative-softmax-count": lambda: TrueNegativeSoftmax(false_negatives="count"),
}

CORRUPTIONS = {name: partial(corruption_of, name) for name in corruption.CORRUPTIONS} | {
    "both-subsampled": lambda graph: CorruptBoth(graph, subsampling=0.5),
    "both-subsampled-apart": lambda graph: CorruptBoth(
        graph, subsampling=0.5, subsampling_method="freq"
    ),
}


def step_of(graph, *, model="distmult", sampler=None, loss=None, corrupt=CorruptBoth):
    """A training step on the graph, of parts by name; what is not named is plain."""
    torch.manual_seed(0)
    draw = SAMPLERS[sampler](graph) if sampler else Uniform(graph, k=4)
    compare = LOSSES[loss]() if loss else NSSALoss(margin=0.0, adversarial_temperature=0.0)
    step = TrainingStep(MODELS[model](graph), draw, compare, corrupt(graph))
    return step.to(graph.triples.device)


__all__ = [
    "CORRUPTIONS",
    "COUNT_ANSWERS",
    "EXACT_SAMPLERS",
    "LOSSES",
    "MODELS",
    "OPTIMIZERS",
    "SAMPLERS",
    "SCHEDULES",
    "step_of",
]
