from sparring.models.base import EmbeddingModel, MainModel
from sparring.models.bilinear import RESCAL, ComplEx, DistMult
from sparring.models.mutated import Mutated
from sparring.models.mutation import (
    MUTATORS,
    CoordinateMask,
    EmbeddingMutator,
    MixByDoubt,
    MixHard,
    MixWithAnswer,
)
from sparring.models.translation import RotatE, TransD, TransE, TransH

MODELS = {
    "complex": ComplEx,
    "distmult": DistMult,
    "mutated": Mutated,
    "rescal": RESCAL,
    "rotate": RotatE,
    "transd": TransD,
    "transe": TransE,
    "transh": TransH,
}

__all__ = [
    "MODELS",
    "MUTATORS",
    "RESCAL",
    "ComplEx",
    "CoordinateMask",
    "DistMult",
    "EmbeddingModel",
    "EmbeddingMutator",
    "MainModel",
    "MixByDoubt",
    "MixHard",
    "MixWithAnswer",
    "Mutated",
    "RotatE",
    "TransD",
    "TransE",
    "TransH",
]
