from sparring.models.base import EmbeddingModel, MainModel
from sparring.models.bilinear import RESCAL, ComplEx, DistMult
from sparring.models.decoders import (
    DECODERS,
    ComplExDecoder,
    ConvEDecoder,
    Decoder,
    DistMultDecoder,
    TransEDecoder,
)
from sparring.models.encoded import EncodedModel
from sparring.models.graph_networks import RGCN, CompGCN
from sparring.models.mutated import Mutated
from sparring.models.mutation import (
    MUTATORS,
    CoordinateMask,
    EmbeddingMutator,
    MixByDoubt,
    MixHard,
    MixWithAnswer,
)
from sparring.models.neural import ConvE, TuckER
from sparring.models.paths import NBFNet
from sparring.models.rules import RuleModel
from sparring.models.text import TextModel
from sparring.models.text_encoders import TEXT_ENCODERS, MiniLM, TextEncoder, Trigrams
from sparring.models.translation import RotatE, TransD, TransE, TransH

MODELS = {
    "compgcn": CompGCN,
    "complex": ComplEx,
    "conve": ConvE,
    "distmult": DistMult,
    "mutated": Mutated,
    "nbfnet": NBFNet,
    "rescal": RESCAL,
    "rgcn": RGCN,
    "rotate": RotatE,
    "rules": RuleModel,
    "text": TextModel,
    "transd": TransD,
    "transe": TransE,
    "transh": TransH,
    "tucker": TuckER,
}

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
    "MainModel",
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
