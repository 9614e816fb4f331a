"""Samplers that learn what to offer, or rebuild themselves from what the main model knows."""

from sparring.generators.base import NegativeGenerator
from sparring.generators.gan import KBGAN, NeuralGAN
from sparring.generators.midx import MultiIndex
from sparring.generators.ns_generator import SparringGenerator
from sparring.generators.softmax import DenseGenerator, FlowGenerator, SoftmaxGenerator
from sparring.generators.tree import AdversarialTree

GENERATORS = {
    "adversarial-tree": AdversarialTree,
    "flow": FlowGenerator,
    "kbgan": KBGAN,
    "midx": MultiIndex,
    "neural-gan": NeuralGAN,
    "softmax-generator": SoftmaxGenerator,
    "sparring": SparringGenerator,
}

__all__ = [
    "GENERATORS",
    "KBGAN",
    "AdversarialTree",
    "DenseGenerator",
    "FlowGenerator",
    "MultiIndex",
    "NegativeGenerator",
    "NeuralGAN",
    "SoftmaxGenerator",
    "SparringGenerator",
]
