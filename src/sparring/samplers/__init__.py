from sparring.samplers.base import NegativeSampler, SamplerWrapper
from sparring.samplers.cache import Cached
from sparring.samplers.cardinality import CardinalityDoubt
from sparring.samplers.chains import MetropolisHastings
from sparring.samplers.combine import HideKnown, RedrawKnown
from sparring.samplers.curriculum import Curriculum
from sparring.samplers.discount import Discount
from sparring.samplers.distance import DistanceDoubt
from sparring.samplers.fixed import (
    AllEntities,
    InBatch,
    KvsAll,
    Popular,
    Uniform,
    UniformUnknown,
)
from sparring.samplers.khop import KHop, RandomWalk, WalkEnds
from sparring.samplers.mix import Mix
from sparring.samplers.nearest import NearestNeighbour, NearMiss
from sparring.samplers.neighbourhood import Neighbourhood
from sparring.samplers.pool import HardestOf, UntilWrong
from sparring.samplers.relational import Relational
from sparring.samplers.shown import ShowKnown
from sparring.samplers.typed import Positional, Typed
from sparring.samplers.without_replacement import WithoutReplacement

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
