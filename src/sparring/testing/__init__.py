"""The contracts of samplers, losses and models, callable from any project's tests.

Each `check_*` raises an AssertionError that names the broken promise. All seeds are fixed, so
a check that passes once passes always.
"""

from sparring.testing.losses import check_loss
from sparring.testing.models import check_model
from sparring.testing.samplers import check_density, check_sampler
from sparring.testing.worlds import table_scorer, tiny_graph, tiny_queries

__all__ = [
    "check_density",
    "check_loss",
    "check_model",
    "check_sampler",
    "table_scorer",
    "tiny_graph",
    "tiny_queries",
]
