from sparring.models.base import EmbeddingModel, MainModel
from sparring.models.bilinear import RESCAL, ComplEx, DistMult
from sparring.models.translation import RotatE, TransD, TransE, TransH

MODELS = {
    "complex": ComplEx,
    "distmult": DistMult,
    "rescal": RESCAL,
    "rotate": RotatE,
    "transd": TransD,
    "transe": TransE,
    "transh": TransH,
}

__all__ = [
    "MODELS",
    "RESCAL",
    "ComplEx",
    "DistMult",
    "EmbeddingModel",
    "MainModel",
    "RotatE",
    "TransD",
    "TransE",
    "TransH",
]
