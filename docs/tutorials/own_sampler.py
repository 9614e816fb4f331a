"""
Your own sampler, and what can go wrong
=======================================

We write a sampler that draws entities in proportion to the square of their degree. The first
version has two mistakes that are easy to miss: training runs, and the loss falls. The conformance
kit finds both. Then we look at what the sampler draws.
"""

# %%
# First version
# -------------
# Half of the draws are in proportion to the square of the degree, half are uniform.

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
# and checks for mistakes that real samplers have made.

from sparring.testing import report_sampler

report = report_sampler(lambda graph, k: Hasty(graph, k=k), "hasty", widths=(2, 64))
for violation in report.violations:
    print(f"{violation.severity}: {violation.check}: {violation.message}")

# %%
# The mistakes
# ------------
# - ``torch.randint`` and ``torch.rand`` do not use ``rng``. The draws depend on what else the
#   process draws, so no run can be repeated.
# - ``log_prob`` ignores the uniform draws. A loss that corrects by it is biased.
#
# The warning is not a mistake: the sampler does not exclude known facts. The wrapper ``mask-known``
# does.


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
# In your own test suite, use these. They raise an AssertionError that says what is wrong.

from sparring.testing import check_density, check_sampler

check_sampler(lambda graph: ByDegree(graph, k=5))
check_density(lambda graph: ByDegree(graph, k=5))

# %%
# Use it
# ------
# ``@register`` gave the sampler a name. ``mask-known`` filters known facts.

import sparring

sampler = {"name": "mask-known", "inner": {"name": "by-degree", "k": 16}}
predictor = sparring.fit("atlas", sampler=sampler, epochs=2, progress=False)
predictor.audit()

# %%
# What does it draw?
# ------------------
# A good negative scores nearly as high as an answer. We draw for 200 validation facts and compare
# the scores of the negatives with those of the answers.

import matplotlib.pyplot as plt
import polars as pl

facts = predictor.graph.valid[:200]
drawn = predictor.negatives(facts).to_polars().filter(pl.col("counts"))
answers = predictor.score(facts)

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.hist(drawn["score"], bins=40, density=True, alpha=0.6, label="negatives by-degree draws")
axes.hist(answers, bins=40, density=True, alpha=0.6, label="answers")
axes.set(xlabel="score", ylabel="density")
axes.legend(loc="upper right")
plt.show()

# %%
# Most of its negatives are easy. Compare with the generator: put its name in place of the sampler
# above.
#
# Share it
# --------
# A package with an entry point of the group ``sparring`` makes the name known wherever it is
# installed, in Python, in experiment files and on the command line: see *How to: Write a sampler*.
