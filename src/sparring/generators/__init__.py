"""Samplers that learn what to offer, or rebuild themselves from what the main model knows."""

from sparring.generators.base import NegativeGenerator
from sparring.generators.gan import KBGAN, NeuralGAN
from sparring.generators.midx import MultiIndex
from sparring.generators.ns_generator import NSGenerator
from sparring.generators.softmax import DenseGenerator, FlowGenerator, SoftmaxGenerator
from sparring.generators.tree import AdversarialTree

__all__ = [
    "KBGAN",
    "AdversarialTree",
    "DenseGenerator",
    "FlowGenerator",
    "MultiIndex",
    "NSGenerator",
    "NegativeGenerator",
    "NeuralGAN",
    "SoftmaxGenerator",
]
