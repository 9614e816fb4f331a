"""
Your first graph
================

From a table of facts to answers, in five steps. We use *atlas*, a graph of places, languages,
currencies and time zones that comes with the package. Put the path of your own file in its place.
"""

# %%
# Read
# ----
# A fact is a triple: head, relation, tail. ``load_graph`` takes files, data frames, triples and
# databases. A part of the facts is held out: *valid* to choose by, *test* to report.

import sparring

graph = sparring.load_graph("atlas")
print(f"{len(graph.entities):,} entities, {len(graph.relations)} relations")
print(
    f"{len(graph.train):,} facts to train on, {len(graph.valid):,} and {len(graph.test):,} held out"
)

# %%
# Train
# -----
# ``fit`` chooses a model, a sampler and a loss that suit the graph. Five epochs take some seconds.

predictor = sparring.fit(graph, epochs=5, progress=False)
predictor

# %%
# The model ranks every entity as an answer to each held-out query. *MRR* is the mean of 1 / rank:
# 1 if the right answer always comes first. Other known answers are left out of the ranking.

predictor.metrics["test"]

# %%
# Ask
# ---
# Which languages does Switzerland have? ``remove=()`` keeps the known facts among the answers.

predictor.predict("Switzerland", "has the official language", k=6, remove=())

# %%
# Without it, we see what the graph does not know. Most of it is wrong, and that is expected: the
# graph of official languages is nearly complete.

predictor.predict("Switzerland", "has the official language", k=3)

# %%
# Which relation holds between two entities?

predictor.predict(head="Switzerland", tail="Portuguese", k=3)

# %%
# Look at the negatives
# ---------------------
# The model learned from facts, and from *negatives*: facts with one end replaced. The sampler was a
# generator, which has learned what the model finds plausible.

predictor.negatives([("Switzerland", "has the official language", "German")], k=8)

# %%
# Are they too good? An audit counts how many draws are facts that were held out.

predictor.audit()

# %%
# Keep it
# -------
# The folder holds the model and the graph, and can be opened anywhere.

import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp()) / "atlas-model"
predictor.save(folder)
again = sparring.load(folder)
print(again)
