"""Samplers that learn which negatives to draw.

`NSGenerator` is the library's own: a small student of the main model with an exact density. The
others are learned samplers from the literature. Import from here what is listed in `__all__`.
"""

from sparring.generators.base import NegativeGenerator
from sparring.generators.false_negatives import FalseNegativePolicy
from sparring.generators.gan import KBGAN, NeuralGAN
from sparring.generators.midx import MIDX
from sparring.generators.ns_generator import NSGenerator, UpdateSchedule
from sparring.generators.softmax import DenseGenerator, FlowGenerator, SoftmaxGenerator
from sparring.generators.tree import AdversarialTree

__all__ = [
    "KBGAN",
    "MIDX",
    "AdversarialTree",
    "DenseGenerator",
    "FalseNegativePolicy",
    "FlowGenerator",
    "NSGenerator",
    "NegativeGenerator",
    "NeuralGAN",
    "SoftmaxGenerator",
    "UpdateSchedule",
]
