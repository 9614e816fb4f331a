"""
Compare samplers
================

The same model, the same loss, the same epochs: only the negatives differ. We look at three things:
how good the model gets, how hard the negatives are, and how many of them are in truth facts.
"""

# %%
# Five samplers
# -------------
# All of them draw 16 negatives per query. The pool of the third one has 64 candidates, so it asks
# the model for 64 scores more.

import matplotlib.pyplot as plt
import polars as pl

import sparring

uniform = {"name": "uniform", "k": 16}
samplers = {
    "uniform": {"name": "mask-known", "inner": uniform},
    "by type": {"name": "mask-known", "inner": {"name": "type-constrained", "k": 16}},
    "hardest of 64": {
        "name": "dynamic-negatives",
        "k": 16,
        "inner": {"name": "mask-known", "inner": {"name": "uniform", "k": 64}},
    },
    "generator": {"name": "generator", "k": 16},
}

# %%
# The loss is a softmax. It is corrected by the density of the draws where the sampler knows it. The
# hardest of a pool have no density.

graph = sparring.load_graph("atlas")
rows, curves = [], {}
for name, sampler in samplers.items():
    correction = "none" if sampler["name"] == "dynamic-negatives" else "both"
    predictor = sparring.fit(
        graph,
        model={"name": "complex", "dim": 64, "reciprocal_relations": True, "n3": 0.05},
        sampler=sampler,
        loss={"name": "sampled-softmax", "correction": correction},
        epochs=6,
        validate_every=1,
        progress=False,
    )
    audit = predictor.audit().overall
    rows.append(
        {
            "sampler": name,
            "test MRR": round(predictor.metrics["test"]["mrr"], 3),
            "above the answer": f"{audit.above:.1%}",
            "held-out facts": f"{audit.withheld_counted:.2%}",
        }
    )
    validation = predictor.history.filter(pl.col("kind") == "validation")
    curves[name] = validation["mrr"].to_list()

pl.DataFrame(rows)

# %%
# *Above the answer* is the share of draws that the model scores higher than the right answer: these
# are the hard ones. *Held-out facts* are false negatives, which the sampler could not know.

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (name, curve), mark in zip(curves.items(), "os^D", strict=True):
    axes.plot(range(1, len(curve) + 1), curve, marker=mark, label=name)
axes.set(xlabel="epoch", ylabel="validation MRR")
axes.legend()
plt.show()

# %%
# What to make of it
# ------------------
# One seed, a small graph and untuned settings: this shows how to compare, not which is best. For a
# comparison that can be believed, tune each method with the same number of trials, use several
# seeds, and count all scores that a method asks for. ``sparring compare`` does so from an
# experiment file, and writes a report with intervals.
