from sparring.samplers.adaptive import MCNS, WARP, DynamicNegatives, NSCaching
from sparring.samplers.base import SAMPLERS, Capabilities, NegativeSampler, SamplerWrapper
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
from sparring.samplers.pretrained import EANS, NearestNeighbour, TeacherNegatives
from sparring.samplers.structural import (
    SANS,
    KHop,
    Positional,
    RandomWalk,
    Relational,
    TypeConstrained,
)
from sparring.samplers.wrappers import Curriculum, MaskKnown, Mixture, ResampleKnown, WithPositives

__all__ = [
    "EANS",
    "ESTIMATORS",
    "MCNS",
    "SAMPLERS",
    "SANS",
    "WARP",
    "AllEntities",
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
    "NearestNeighbour",
    "NegativeSampler",
    "Popularity",
    "Positional",
    "RandomWalk",
    "Relational",
    "ResampleKnown",
    "SamplerWrapper",
    "TeacherNegatives",
    "TypeConstrained",
    "Uniform",
    "UniformFiltered",
    "WithPositives",
    "WithoutReplacement",
]
