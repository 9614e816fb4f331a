from sparring.samplers.adaptive import Cached, HardestOf, MetropolisHastings, UntilWrong
from sparring.samplers.base import NegativeSampler, SamplerWrapper
from sparring.samplers.false_negatives import CardinalityDoubt, Discount, DistanceDoubt
from sparring.samplers.frequency import (
    AllEntities,
    InBatch,
    KvsAll,
    Popular,
    Uniform,
    UniformUnknown,
    WithoutReplacement,
)
from sparring.samplers.pretrained import NearestNeighbour, NearMiss, Neighbourhood
from sparring.samplers.structural import KHop, Positional, RandomWalk, Relational, Typed, WalkEnds
from sparring.samplers.wrappers import Curriculum, HideKnown, Mix, RedrawKnown, ShowKnown

SAMPLERS = {
    "all-entities": AllEntities,
    "cached": Cached,
    "curriculum": Curriculum,
    "discount": Discount,
    "hardest-of": HardestOf,
    "hide-known": HideKnown,
    "in-batch": InBatch,
    "k-hop": KHop,
    "kvs-all": KvsAll,
    "metropolis-hastings": MetropolisHastings,
    "mix": Mix,
    "near-miss": NearMiss,
    "nearest-neighbour": NearestNeighbour,
    "neighbourhood": Neighbourhood,
    "popular": Popular,
    "positional": Positional,
    "random-walk": RandomWalk,
    "redraw-known": RedrawKnown,
    "relational": Relational,
    "show-known": ShowKnown,
    "typed": Typed,
    "uniform": Uniform,
    "uniform-unknown": UniformUnknown,
    "until-wrong": UntilWrong,
    "walk-ends": WalkEnds,
    "without-replacement": WithoutReplacement,
}

# chances of being in truth a fact, for `Discount`
DOUBTS = {"cardinality": CardinalityDoubt, "distance": DistanceDoubt}

__all__ = [
    "DOUBTS",
    "SAMPLERS",
    "AllEntities",
    "Cached",
    "CardinalityDoubt",
    "Curriculum",
    "Discount",
    "DistanceDoubt",
    "HardestOf",
    "HideKnown",
    "InBatch",
    "KHop",
    "KvsAll",
    "MetropolisHastings",
    "Mix",
    "NearMiss",
    "NearestNeighbour",
    "NegativeSampler",
    "Neighbourhood",
    "Popular",
    "Positional",
    "RandomWalk",
    "RedrawKnown",
    "Relational",
    "SamplerWrapper",
    "ShowKnown",
    "Typed",
    "Uniform",
    "UniformUnknown",
    "UntilWrong",
    "WalkEnds",
    "WithoutReplacement",
]
