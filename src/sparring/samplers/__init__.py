"""Negative samplers that need no training, and wrappers that combine them.

`NegativeSampler` is the class to derive from. `SAMPLERS` holds all samplers by name, and
`ESTIMATORS` the estimators of false negatives that `FalseNegativeWeighting` takes. Samplers that
learn are in `sparring.generators`. This room imports batches, graphs and the registry, but
no models, losses or training.
"""

from sparring.samplers.adaptive import MCNS, WARP, DynamicNegatives, NSCaching
from sparring.samplers.base import SAMPLERS, Capabilities, NegativeSampler, SamplerWrapper
from sparring.samplers.blocks import Blocks
from sparring.samplers.false_negatives import (
    ESTIMATORS,
    CardinalityEstimator,
    DistanceEstimator,
    FalseNegativeWeighting,
)
from sparring.samplers.frequency import (
    AllEntities,
    InBatch,
    KvsAll,
    Popularity,
    Uniform,
    UniformFiltered,
    WithoutReplacement,
)
from sparring.samplers.neighborhood import SANS, KHop, RandomWalk
from sparring.samplers.pretrained import EANS, NearestNeighbor, TeacherNegatives, TeacherRankings
from sparring.samplers.structural import Relational, TypeConstrained
from sparring.samplers.wrappers import Curriculum, MaskKnown, Mixture, ResampleKnown, WithPositives

__all__ = [
    "EANS",
    "ESTIMATORS",
    "MCNS",
    "SAMPLERS",
    "SANS",
    "WARP",
    "AllEntities",
    "Blocks",
    "Capabilities",
    "CardinalityEstimator",
    "Curriculum",
    "DistanceEstimator",
    "DynamicNegatives",
    "FalseNegativeWeighting",
    "InBatch",
    "KHop",
    "KvsAll",
    "MaskKnown",
    "Mixture",
    "NSCaching",
    "NearestNeighbor",
    "NegativeSampler",
    "Popularity",
    "RandomWalk",
    "Relational",
    "ResampleKnown",
    "SamplerWrapper",
    "TeacherNegatives",
    "TeacherRankings",
    "TypeConstrained",
    "Uniform",
    "UniformFiltered",
    "WithPositives",
    "WithoutReplacement",
]
