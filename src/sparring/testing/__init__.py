"""The contracts of samplers, losses and models, callable from any project's tests.

Each `check_*` raises an AssertionError that names the broken promises; `judge` and
`judge_sampler` report them instead, and `judge` takes samplers of any library. All seeds are
fixed, so a check that passes once passes always.
"""

from sparring.testing.corruptions import Contestant
from sparring.testing.density import check_density
from sparring.testing.judge import judge, judge_sampler
from sparring.testing.losses import check_loss
from sparring.testing.models import check_model
from sparring.testing.report import Fault, Report
from sparring.testing.samplers import check_sampler
from sparring.testing.worlds import table_scorer, tiny_graph, tiny_queries

__all__ = [
    "Contestant",
    "Fault",
    "Report",
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
