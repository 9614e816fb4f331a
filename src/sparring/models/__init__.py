"""Models that complete knowledge graphs: a model turns queries into a scorer of candidates.

Subclass `KGEModel` for a model, `EmbeddingModel` for one without an encoder, `GNNModel` for an
encoder over the graph, `Decoder`, `TextEncoder` or `EmbeddingMutator` for a part of one. All other
classes here are registered by name, so that a configuration can use them. The scorers that models
return are in `sparring.models.scorers`. R-GCN and CompGCN need the extra `graph`, MiniLM needs
`text`.
"""

from sparring.models.base import MODELS, EmbeddingModel, KGEModel
from sparring.models.biased import MuRE, RotE
from sparring.models.bilinear import RESCAL, ComplEx, DistMult, TuckER
from sparring.models.decoders import (
    DECODERS,
    ComplExDecoder,
    ConvEDecoder,
    Decoder,
    DistMultDecoder,
    TransEDecoder,
)
from sparring.models.gnn import RGCN, CompGCN, GNNModel
from sparring.models.mutation import (
    MUTATORS,
    AdaptiveMixup,
    CoordinateMask,
    EmbeddingMutator,
    HardMixup,
    Mutated,
    PositiveMixup,
)
from sparring.models.nbfnet import NBFNet
from sparring.models.neural import ConvE
from sparring.models.rule_mining import mine_rules
from sparring.models.rules import RuleModel, RulePredictor
from sparring.models.text import TEXT_ENCODERS, MiniLM, TextEncoder, TextModel, Trigrams
from sparring.models.translational import RotatE, TransD, TransE, TransH

__all__ = [
    "DECODERS",
    "MODELS",
    "MUTATORS",
    "RESCAL",
    "RGCN",
    "TEXT_ENCODERS",
    "AdaptiveMixup",
    "CompGCN",
    "ComplEx",
    "ComplExDecoder",
    "ConvE",
    "ConvEDecoder",
    "CoordinateMask",
    "Decoder",
    "DistMult",
    "DistMultDecoder",
    "EmbeddingModel",
    "EmbeddingMutator",
    "GNNModel",
    "HardMixup",
    "KGEModel",
    "MiniLM",
    "MuRE",
    "Mutated",
    "NBFNet",
    "PositiveMixup",
    "RotE",
    "RotatE",
    "RuleModel",
    "RulePredictor",
    "TextEncoder",
    "TextModel",
    "TransD",
    "TransE",
    "TransEDecoder",
    "TransH",
    "Trigrams",
    "TuckER",
    "mine_rules",
]
