"""The contracts of samplers, losses and models, callable from any project's tests.

Each `check_*` raises an AssertionError that names the broken promises; `judge` and
`judge_sampler` report them instead, and `judge` takes samplers of any library. All seeds are
fixed, so a check that passes once passes always.
"""

from sparring.testing.contracts import check_loss, check_model
from sparring.testing.external import ExternalSampler, judge, judge_sampler
from sparring.testing.fixtures import Report, Violation, table_scorer, tiny_graph, tiny_queries
from sparring.testing.samplers import check_density, check_sampler

__all__ = [
    "ExternalSampler",
    "Report",
    "Violation",
    "check_density",
    "check_loss",
    "check_model",
    "check_sampler",
    "judge",
    "judge_sampler",
    "table_scorer",
    "tiny_graph",
    "tiny_queries",
]
