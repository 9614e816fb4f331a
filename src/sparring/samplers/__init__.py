from sparring.samplers.base import NegativeSampler, SamplerWrapper
from sparring.samplers.combine import HideKnown, RedrawKnown
from sparring.samplers.fixed import (
    AllEntities,
    InBatch,
    KvsAll,
    Popular,
    Uniform,
    UniformUnknown,
)
from sparring.samplers.khop import KHop, RandomWalk, WalkEnds
from sparring.samplers.shown import ShowKnown
from sparring.samplers.typed import Positional, Typed

SAMPLERS = {
    "all-entities": AllEntities,
    "hide-known": HideKnown,
    "in-batch": InBatch,
    "k-hop": KHop,
    "kvs-all": KvsAll,
    "popular": Popular,
    "positional": Positional,
    "random-walk": RandomWalk,
    "redraw-known": RedrawKnown,
    "show-known": ShowKnown,
    "typed": Typed,
    "uniform": Uniform,
    "uniform-unknown": UniformUnknown,
    "walk-ends": WalkEnds,
}

__all__ = [
    "SAMPLERS",
    "AllEntities",
    "HideKnown",
    "InBatch",
    "KHop",
    "KvsAll",
    "NegativeSampler",
    "Popular",
    "Positional",
    "RandomWalk",
    "RedrawKnown",
    "SamplerWrapper",
    "ShowKnown",
    "Typed",
    "Uniform",
    "UniformUnknown",
    "WalkEnds",
]
