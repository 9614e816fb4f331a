from sparring.models.base import MODELS, EmbeddingModel, KGEModel
from sparring.models.bilinear import RESCAL, ComplEx, DistMult
from sparring.models.decoders import (
    DECODERS,
    ComplExDecoder,
    ConvEDecoder,
    Decoder,
    DistMultDecoder,
    TransEDecoder,
)
from sparring.models.gnn import RGCN, CompGCN, EncodedModel
from sparring.models.mutation import (
    MUTATORS,
    CoordinateMask,
    EmbeddingMutator,
    MixByDoubt,
    MixHard,
    MixWithAnswer,
    Mutated,
)
from sparring.models.nbfnet import NBFNet
from sparring.models.neural import ConvE, TuckER
from sparring.models.rules import RuleModel
from sparring.models.text import TEXT_ENCODERS, MiniLM, TextEncoder, TextModel, Trigrams
from sparring.models.translational import RotatE, TransD, TransE, TransH

__all__ = [
    "DECODERS",
    "MODELS",
    "MUTATORS",
    "RESCAL",
    "RGCN",
    "TEXT_ENCODERS",
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
    "EncodedModel",
    "KGEModel",
    "MiniLM",
    "MixByDoubt",
    "MixHard",
    "MixWithAnswer",
    "Mutated",
    "NBFNet",
    "RotatE",
    "RuleModel",
    "TextEncoder",
    "TextModel",
    "TransD",
    "TransE",
    "TransEDecoder",
    "TransH",
    "Trigrams",
    "TuckER",
]
