"""Small instances of everything in the library, by name; contract tests run over all of it."""

from sparring.graph.sides import BernoulliSide, BothSides, ChosenSide
from sparring.losses import Logistic, MarginRanking, SelfAdversarial, Softmax, SummedLogistic
from sparring.models import RESCAL, ComplEx, DistMult, RotatE, TransD, TransE, TransH
from sparring.samplers import (
    AllEntities,
    HideKnown,
    InBatch,
    KvsAll,
    Popular,
    RedrawKnown,
    Uniform,
    UniformUnknown,
)
from sparring.training import OPTIMIZERS, SCHEDULES

MODELS = {
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

# those whose `log_q` holds exactly; the density of "in-batch" is that of the whole graph
EXACT_SAMPLERS = {
    "all-entities": AllEntities,
    "chunked": lambda graph: Uniform(graph, k=5, groups=3),
    "hidden": lambda graph: HideKnown(graph, inner=Uniform(graph, k=5)),
    "hidden-popular": lambda graph: HideKnown(graph, inner=Popular(graph, k=5, groups=1)),
    "own": lambda graph: Uniform(graph, k=5),
    "popular": lambda graph: Popular(graph, k=5),
    "popular-chunked": lambda graph: Popular(graph, k=5, power=1.0, groups=2),
    "redrawn": lambda graph: RedrawKnown(graph, inner=Uniform(graph, k=5)),
    "redrawn-chunked": lambda graph: RedrawKnown(graph, inner=Uniform(graph, k=5, groups=3)),
    "redrawn-once-popular": lambda graph: RedrawKnown(graph, inner=Popular(graph, k=5), rounds=1),
    "shared": lambda graph: Uniform(graph, k=5, groups=1),
    "unknown": lambda graph: UniformUnknown(graph, k=5),
}
SAMPLERS = EXACT_SAMPLERS | {
    "hidden-in-batch": lambda graph: HideKnown(graph, inner=InBatch(graph, k=6)),
    "in-batch": lambda graph: InBatch(graph, k=6),
    "kvs-all": KvsAll,
}

LOSSES = {
    "logistic": lambda: Logistic(margin=0.5),
    "margin": MarginRanking,
    "margin-tempered": lambda: MarginRanking(margin=2.0, temperature=0.5),
    "self-adversarial": lambda: SelfAdversarial(margin=1.0, temperature=0.5),
    "softmax": Softmax,
    "softmax-both": lambda: Softmax(temperature=0.5, correction="both"),
    "softmax-learned": lambda: Softmax(learn_temperature=True),
    "softmax-negatives": lambda: Softmax(correction="negatives"),
    "summed": SummedLogistic,
}

SIDES = {
    "bernoulli": BernoulliSide,
    "both": BothSides,
    "both-subsampled": lambda graph: BothSides(graph, subsampling=0.5),
    "chosen": ChosenSide,
}

__all__ = ["LOSSES", "MODELS", "OPTIMIZERS", "SAMPLERS", "SCHEDULES", "SIDES"]
