"""A conformance kit: contracts of samplers, losses and models, to call from any project's tests.

```python
def test_my_sampler():
    make = lambda graph: MySampler(graph, k=5)
    check_sampler(make)  # shapes, masks, seeds, state, scores, feedback
    check_density(make)  # draws follow log_q, if it is given

def test_my_loss():
    check_loss(MyLoss())

def test_my_model():
    check_model(lambda graph: MyModel(graph, dim=8))
```

- Each `check_*` raises an AssertionError that names the broken promises.
- `report_sampler` and `report_external` return a `Report` of all violations instead.
- For a sampler of another library, wrap it in an `ExternalSampler`: a function that corrupts
  triples is all that `check_external` needs.
- `tiny_graph`, `tiny_queries`, `table_scorer` and `dummy_scorer` help to write tests of your own.

All seeds are fixed, so a check that passes once always passes.
"""

from sparring.testing.contracts import check_loss, check_model
from sparring.testing.external import (
    ExternalSampler,
    check_external,
    report_external,
    report_sampler,
)
from sparring.testing.fixtures import (
    dummy_scorer,
    dummy_scores,
    table_scorer,
    tiny_graph,
    tiny_queries,
)
from sparring.testing.report import Report, Violation
from sparring.testing.samplers import check_density, check_sampler

__all__ = [
    "ExternalSampler",
    "Report",
    "Violation",
    "check_density",
    "check_external",
    "check_loss",
    "check_model",
    "check_sampler",
    "dummy_scorer",
    "dummy_scores",
    "report_external",
    "report_sampler",
    "table_scorer",
    "tiny_graph",
    "tiny_queries",
]
