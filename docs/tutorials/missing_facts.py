"""
Find and review missing facts
=============================

A trained model can say which facts a graph probably lacks. A person should look at them before they
go in. This page finds candidates, gives them probabilities and reasons, and writes a list for
review.
"""

# %%
# Train
# -----
# The model learns from the training facts only. The held-out test facts play the missing ones here:
# they are true, and the model has never seen them.

import sparring

graph = sparring.load_graph("atlas")
predictor = sparring.fit(graph, epochs=6, progress=False)

# %%
# Probabilities
# -------------
# A score has no unit. ``calibrate`` fits a probability to it on the validation facts.
# ``completeness`` is your estimate of how many of the true facts the graph has: nine of ten, say.

calibration = predictor.calibrate(completeness=0.9)
print(f"share of true facts among all candidates: {calibration.prior:.1e}")

# %%
# Candidates
# ----------
# Which countries might share a border that the graph does not list? We ask for many at once.
# ``remove`` names the splits whose facts are left out of the answers: not those of the test split,
# which we want to find.

relation = "shares a land border with"
countries = ["Germany", "Brazil", "Kenya", "Thailand", "Poland", "Niger", "Laos", "Austria"]
found = predictor.predict(
    queries=[(name, relation, None) for name in countries], k=4, remove=("train", "valid")
)
candidates = found.to_polars().sort("probability", descending=True)
candidates.select("head", "name", "label", "probability", "known").head(12)

# %%
# *known* marks the test facts: these are right. The others may be wrong, or true and missing.
#
# Reasons
# -------
# Rules that were mined from the graph say what speaks for a fact. They do not say how the model
# computed its score.

first = candidates.row(0, named=True)
predictor.explain((first["head"], first["relation"], first["name"]))

# %%
# A list for review
# -----------------
# A CSV file opens in any spreadsheet. The reviewer fills in the last column.

import polars as pl

review = candidates.select("head", "relation", "name", "label", "probability")
review = review.with_columns(accepted=pl.lit(""))
print(review.head(4).write_csv())

# %%
# What was accepted goes back into the model. ``update`` trains on from where it stands.

accepted = [(first["head"], first["relation"], first["name"])]
better = predictor.update(accepted, epochs=1)
print(len(better.graph.train) - len(graph.train), "facts added")
