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
    from sparring.generators.ns_generator import NSGenerator
    from sparring.losses.softmax import SampledSoftmax
    from sparring.models.base import KGEModel
    from sparring.predictor import Predictor
    from sparring.results import audit, evaluate, mine_negatives, predict
    from sparring.samplers.base import NegativeSampler
    from sparring.studies import compare, tune
    from sparring.testing import check_loss, check_model, check_sampler
    from sparring.trainer import Trainer
    from sparring.training import TrainingStep

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
    "Trainer": "sparring.trainer",
    "TrainingStep": "sparring.training",
    "audit": "sparring.results",
    "check_loss": "sparring.testing",
    "check_model": "sparring.testing",
    "check_sampler": "sparring.testing",
    "compare": "sparring.studies",
    "evaluate": "sparring.results",
    "fit": "sparring.api",
    "load": "sparring.api",
    "load_graph": "sparring.api",
    "mine_negatives": "sparring.results",
    "predict": "sparring.results",
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
    "compare",
    "data",
    "evaluate",
    "evaluation",
    "fit",
    "generators",
    "integrations",
    "load",
    "load_graph",
    "losses",
    "mine_negatives",
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
