"""
Your own sampler, and what can go wrong
=======================================

We write a sampler that draws entities by the square of the number of their facts. The first version
has two mistakes that are hard to see: training runs, and the loss falls. The conformance kit finds
both.
"""

# %%
# First version
# -------------
# An entity is drawn in proportion to the square of its degree or, every second time, uniformly.

import torch

from sparring.groups import ungroup
from sparring.registry import register
from sparring.samplers import NegativeSampler


class Hasty(NegativeSampler):
    """Entities in proportion to the square of their degree."""

    def __init__(self, graph, *, k: int, uniform_mix: float = 0.5):
        super().__init__(k)
        weight = graph.degree**2
        self.register_buffer("share", weight / weight.sum(), persistent=False)
        self.num_entities, self.uniform_mix = graph.num_entities, uniform_mix

    def sample(self, queries, score, rng):
        shape = (len(queries), self.k)
        drawn = torch.multinomial(self.share, shape[0] * shape[1], True, generator=rng)
        uniform = torch.randint(self.num_entities, shape)
        ids = torch.where(torch.rand(shape) < self.uniform_mix, uniform, drawn.view(shape))
        return self.to_negatives(queries, ids)

    def log_prob(self, queries, ids):
        return ungroup(self.share[ids].log(), len(queries))


# %%
# Ask the kit
# -----------
# ``report_sampler`` builds the sampler on graphs of a few entities, for two numbers of candidates,
# and tries what has gone wrong in samplers before.

from sparring.testing import report_sampler

report = report_sampler(lambda graph, k: Hasty(graph, k=k), "hasty", widths=(2, 64))
for violation in report.violations:
    print(f"{violation.severity}: {violation.check}: {violation.message}")

# %%
# The mistakes
# ------------
# - ``torch.randint`` and ``torch.rand`` do not use ``rng``. The draws depend on whatever else the
#   process draws, and no run can be repeated.
# - ``log_prob`` forgets the uniform draws. A loss that corrects by it is biased.
#
# The warning is no mistake: nothing here excludes known facts. The wrapper ``mask-known`` does.


@register("by-degree", example={"k": 5})
class ByDegree(Hasty):
    """Entities in proportion to the square of their degree, or uniform.

    Args:
        uniform_mix: probability that a draw is uniform.
    """

    def __init__(self, graph, *, k: int, uniform_mix: float = 0.5):
        super().__init__(graph, k=k, uniform_mix=uniform_mix)
        self.share.mul_(1 - uniform_mix).add_(uniform_mix / graph.num_entities)

    def sample(self, queries, score, rng):
        shape = (len(queries), self.k)
        ids = torch.multinomial(self.share, shape[0] * shape[1], True, generator=rng)
        return self.to_negatives(queries, ids.view(shape))


print(report_sampler(lambda graph, k: ByDegree(graph, k=k), "by-degree", widths=(2, 64)))

# %%
# In your own test suite, these raise an AssertionError with everything that is wrong.

from sparring.testing import check_density, check_sampler

check_sampler(lambda graph: ByDegree(graph, k=5))
check_density(lambda graph: ByDegree(graph, k=5))

# %%
# Use it
# ------
# The decorator made its name known. Known facts are masked.

import sparring

sampler = {"name": "mask-known", "inner": {"name": "by-degree", "k": 16}}
predictor = sparring.fit("atlas", sampler=sampler, epochs=2, progress=False)
predictor.audit()

# %%
# A command line and experiment files take ``my_package.samplers:ByDegree``, or the name once
# your package has an entry point of the group ``sparring``.
