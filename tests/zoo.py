"""Small instances of everything in the library, by name; contract tests run over all of it."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import polars as pl
import torch
from samplers import instances

from sparring import losses
from sparring.corruption import (
    Bernoulli,
    CorruptBoth,
    CorruptEither,
    FunctionalSide,
    PseudoTypedSide,
    SharpenedSide,
)
from sparring.generators import (
    KBGAN,
    AdversarialTree,
    FlowGenerator,
    MultiIndex,
    NeuralGAN,
    NSGenerator,
    SoftmaxGenerator,
)
from sparring.losses import (
    BCELoss,
    HardDebiased,
    MarginRankingLoss,
    NSSALoss,
    SampledSoftmax,
    TrueNegativeSoftmax,
)
from sparring.models import (
    RESCAL,
    RGCN,
    CompGCN,
    ComplEx,
    ConvE,
    ConvEDecoder,
    CoordinateMask,
    DistMult,
    Mutated,
    NBFNet,
    RotatE,
    RuleModel,
    TextModel,
    TransD,
    TransE,
    TransEDecoder,
    TransH,
    Trigrams,
    TuckER,
)
from sparring.samplers import (
    AllEntities,
    InBatch,
    KvsAll,
    MaskKnown,
    Popularity,
    ResampleKnown,
    Uniform,
    UniformFiltered,
    WithPositives,
)
from sparring.training import OPTIMIZERS, SCHEDULES, TrainingStep


def labelled(graph):
    """The graph with something to call its entities by."""
    words = ("city", "river", "mountain", "sea", "person", "film")
    names = [f"{words[e % len(words)]} {e}" for e in range(graph.num_entities)]
    return replace(graph, labels=pl.Series(names))


EMBEDDING_MODELS = {
    "complex": lambda graph, **options: ComplEx(graph, dim=8, **options),
    "distmult": lambda graph, **options: DistMult(graph, dim=8, **options),
    "rescal": lambda graph, **options: RESCAL(graph, dim=4, **options),
    "rotate": lambda graph, **options: RotatE(graph, dim=8, **options),
    "rotate-2": lambda graph, **options: RotatE(graph, dim=8, norm=2, **options),
    "transd": lambda graph, **options: TransD(graph, dim=8, **options),
    "transe": lambda graph, **options: TransE(graph, dim=8, **options),
    "transe-2": lambda graph, **options: TransE(graph, dim=8, norm=2, **options),
    "transh": lambda graph, **options: TransH(graph, dim=8, **options),
}

# those that derive an inverse from the relation's own vector, unless relations are reciprocal
DERIVING_MODELS = EMBEDDING_MODELS | {
    "mutated": lambda graph, **options: Mutated(
        graph, inner=ComplEx(graph, dim=8, **options), mutator=CoordinateMask(rate=0.7)
    ),
}

GRAPH_NETWORKS = {
    "compgcn": lambda graph, **options: CompGCN(graph, dim=8, **options),
    "compgcn-corr": lambda graph: CompGCN(
        graph, dim=8, layers=2, composition="corr", decoder=ConvEDecoder(dim=8, height=2, filters=2)
    ),
    "rgcn": lambda graph, **options: RGCN(graph, dim=8, **options),
    "rgcn-transe": lambda graph: RGCN(graph, dim=8, layers=1, decoder=TransEDecoder()),
}
NETWORKS = {
    "conve": lambda graph, **options: ConvE(graph, dim=8, height=2, filters=3, **options),
    "nbfnet": lambda graph: NBFNet(graph, dim=6, layers=2),
    "rules": lambda graph: RuleModel(graph, min_support=1),
    "text": lambda graph: TextModel(
        labelled(graph), encoder=Trigrams(num_features=16), dim=8, hidden=12
    ),
    "tucker": lambda graph, **options: TuckER(graph, dim=8, **options),
    "tucker-narrow": lambda graph, **options: TuckER(graph, dim=8, relation_dim=3, **options),
}
if find_spec("torch_geometric"):
    NETWORKS |= GRAPH_NETWORKS
MODELS = DERIVING_MODELS | NETWORKS

GENERATORS = {
    "adversarial-tree": lambda graph: AdversarialTree(graph, k=4),
    "flow": lambda graph: FlowGenerator(graph, k=4, dim=8),
    "kbgan": lambda graph: KBGAN(graph, k=2, pool=6, model=DistMult(graph, dim=4)),
    "midx": lambda graph: MultiIndex(graph, k=4, codes=3),
    "midx-exact": lambda graph: MultiIndex(graph, k=4, codes=11, temperature=2.0),
    "neural-gan": lambda graph: NeuralGAN(graph, k=4, dim=8, hidden=8),
    "neural-gan-pooled": lambda graph: NeuralGAN(
        graph, k=4, dim=8, hidden=8, pool=min(7, graph.num_entities)
    ),
    "softmax-generator": lambda graph: SoftmaxGenerator(graph, k=4, dim=8),
    "sparring": lambda graph: NSGenerator(graph, k=4, dim=8, visits=4),
    "sparring-coarse": lambda graph: NSGenerator(graph, k=4, dim=8, codes=3, others=0),
    "sparring-steered": lambda graph: NSGenerator(graph, k=1, dim=8, difficulty=0.2),
    "sparring-shared": lambda graph: NSGenerator(graph, k=6, shared=True, dim=8),
    "sparring-doubtful": lambda graph: NSGenerator(
        replace(graph, held_out=graph.triples), k=4, dim=8, missing=0.2
    ),
}

# those whose `log_q` holds exactly; the density of "in-batch" is that of the whole graph
EXACT_SAMPLERS = instances.EXACT | {
    "all-entities": AllEntities,
    "chunked": lambda graph: Uniform(graph, k=5, groups=3),
    "hidden": lambda graph: MaskKnown(graph, inner=Uniform(graph, k=5)),
    "hidden-popular": lambda graph: MaskKnown(graph, inner=Popularity(graph, k=5, groups=1)),
    "own": lambda graph: Uniform(graph, k=5),
    "popular": lambda graph: Popularity(graph, k=5),
    "popular-chunked": lambda graph: Popularity(graph, k=5, power=1.0, groups=2),
    "redrawn": lambda graph: ResampleKnown(graph, inner=Uniform(graph, k=5)),
    "redrawn-chunked": lambda graph: ResampleKnown(graph, inner=Uniform(graph, k=5, groups=3)),
    "redrawn-once-popular": lambda graph: ResampleKnown(
        graph, inner=Popularity(graph, k=5), rounds=1
    ),
    "shared": lambda graph: Uniform(graph, k=5, groups=1),
    "shown": lambda graph: WithPositives(graph, inner=Uniform(graph, k=4), answers=2),
    "unknown": lambda graph: UniformFiltered(graph, k=5),
    **GENERATORS,
}
SAMPLERS = (
    EXACT_SAMPLERS
    | instances.INEXACT
    | {
        "hidden-in-batch": lambda graph: MaskKnown(graph, inner=InBatch(graph, k=6)),
        "in-batch": lambda graph: InBatch(graph, k=6),
        "kvs-all": KvsAll,
    }
)

# their lists are as long as there are known answers, which must be counted first
COUNT_ANSWERS = (
    "kvs-all",
    "redrawn",
    "redrawn-chunked",
    "redrawn-once-popular",
    "redrawn-typed",
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

SIDES = {
    "bernoulli": Bernoulli,
    "both": CorruptBoth,
    "both-subsampled": lambda graph: CorruptBoth(graph, subsampling=0.5),
    "both-subsampled-apart": lambda graph: CorruptBoth(graph, subsampling=0.5, kind="freq"),
    "chosen": CorruptEither,
    "one-side": FunctionalSide,
    "pooled": PseudoTypedSide,
    "sharpened": SharpenedSide,
}


def step_of(graph, *, model="distmult", sampler=None, loss=None, corruption=CorruptBoth):
    """A training step on the graph, of parts by name; what is not named is plain."""
    torch.manual_seed(0)
    drawing = SAMPLERS[sampler](graph) if sampler else Uniform(graph, k=4)
    judging = LOSSES[loss]() if loss else NSSALoss(margin=0.0, adversarial_temperature=0.0)
    return TrainingStep(MODELS[model](graph), drawing, judging, corruption(graph)).to(
        graph.triples.device
    )


__all__ = [
    "COUNT_ANSWERS",
    "EXACT_SAMPLERS",
    "LOSSES",
    "MODELS",
    "OPTIMIZERS",
    "SAMPLERS",
    "SCHEDULES",
    "SIDES",
    "step_of",
]
