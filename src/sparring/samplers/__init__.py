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
from sparring.samplers.shown import ShowKnown

SAMPLERS = {
    "all-entities": AllEntities,
    "hide-known": HideKnown,
    "in-batch": InBatch,
    "kvs-all": KvsAll,
    "popular": Popular,
    "redraw-known": RedrawKnown,
    "show-known": ShowKnown,
    "uniform": Uniform,
    "uniform-unknown": UniformUnknown,
}

__all__ = [
    "SAMPLERS",
    "AllEntities",
    "HideKnown",
    "InBatch",
    "KvsAll",
    "NegativeSampler",
    "Popular",
    "RedrawKnown",
    "SamplerWrapper",
    "ShowKnown",
    "Uniform",
    "UniformUnknown",
]
