"""Negative sampling for knowledge graph completion: train against good opponents.

The names below are imported when they are first used, so that `import sparring` costs nothing.
Rooms: `data` (graphs in), `samplers` and `generators` (negatives), `losses`, `models`, `training`,
`evaluation`, `integrations` (PyKEEN, PyG, TorchKGE, LibKGE), `testing` (contracts to check your own
parts), `experiments` (the `sparring` command).
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparring import (
        data,
        evaluation,
        generators,
        integrations,
        losses,
        models,
        samplers,
        testing,
        training,
    )
    from sparring.api import fit, load, load_graph
    from sparring.batch import Negatives, Queries
    from sparring.data.graph import KnowledgeGraph
    from sparring.evaluation.audit import audit
    from sparring.evaluation.predict import predict
    from sparring.evaluation.ranking import evaluate
    from sparring.generators.ns_generator import NSGenerator
    from sparring.losses.softmax import SampledSoftmax
    from sparring.models.base import KGEModel
    from sparring.predictor import Predictor
    from sparring.samplers.base import NegativeSampler
    from sparring.studies import tune
    from sparring.testing import check_loss, check_model, check_sampler
    from sparring.training import Trainer, TrainingStep

    __version__: str

# where each public name lives
HOMES = {
    "KGEModel": "sparring.models.base",
    "KnowledgeGraph": "sparring.data.graph",
    "NSGenerator": "sparring.generators.ns_generator",
    "NegativeSampler": "sparring.samplers.base",
    "Negatives": "sparring.batch",
    "Predictor": "sparring.predictor",
    "Queries": "sparring.batch",
    "SampledSoftmax": "sparring.losses.softmax",
    "Trainer": "sparring.training",
    "TrainingStep": "sparring.training",
    "audit": "sparring.evaluation.audit",
    "check_loss": "sparring.testing",
    "check_model": "sparring.testing",
    "check_sampler": "sparring.testing",
    "evaluate": "sparring.evaluation.ranking",
    "fit": "sparring.api",
    "load": "sparring.api",
    "load_graph": "sparring.api",
    "predict": "sparring.evaluation.predict",
    "tune": "sparring.studies",
}
ROOMS = (
    *("data", "evaluation", "generators", "integrations", "losses", "models", "samplers"),
    *("testing", "training"),
)

__all__ = [
    "KGEModel",
    "KnowledgeGraph",
    "NSGenerator",
    "NegativeSampler",
    "Negatives",
    "Predictor",
    "Queries",
    "SampledSoftmax",
    "Trainer",
    "TrainingStep",
    "__version__",
    "audit",
    "check_loss",
    "check_model",
    "check_sampler",
    "data",
    "evaluate",
    "evaluation",
    "fit",
    "generators",
    "integrations",
    "load",
    "load_graph",
    "losses",
    "models",
    "predict",
    "samplers",
    "testing",
    "training",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        value: Any = version("sparring")
    elif name in HOMES:
        value = getattr(import_module(HOMES[name]), name)
    elif name in ROOMS:
        value = import_module(f"sparring.{name}")
    else:
        raise AttributeError(f"module 'sparring' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
