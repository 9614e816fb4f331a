"""
Plug into PyKEEN
================

Keep your PyKEEN pipeline: its models, its training, its evaluation. Only the negatives change. They
come from a generator that learns from PyKEEN's model.

This page needs PyKEEN 1.11: ``pip install pykeen``. Where PyKEEN is not installed when the site is
built, the code is shown without its output.
"""

# %%
# The graph as PyKEEN sees it
# ---------------------------

import torch
from pykeen.pipeline import pipeline
from pykeen.triples import CoreTriplesFactory
from torch.nn.init import normal_

from sparring import NSGenerator, SampledSoftmax
from sparring.data import load_embedded
from sparring.integrations.adapter import Adapter
from sparring.integrations.pykeen import SparringTrainingLoop
from sparring.samplers import UniformFiltered

graph = load_embedded()
training, validation, testing = (
    CoreTriplesFactory(
        triples.long(), num_entities=len(graph.entities), num_relations=len(graph.relations)
    )
    for triples in (graph.train, graph.valid, graph.test)
)

# %%
# An adapter in the training loop
# -------------------------------
# The ``Adapter`` builds the sampler, draws, and lets it learn. ``loss`` takes the place of PyKEEN's
# loss: it corrects for the density of the draws, which PyKEEN's losses do not know.


def train(make_sampler) -> float:
    """The MRR of ComplEx after PyKEEN's pipeline with a sampler."""
    adapter = Adapter(make_sampler, loss=SampledSoftmax(correction="both"))
    result = pipeline(
        training=training,
        validation=validation,
        testing=testing,
        model="ComplEx",
        model_kwargs={
            "embedding_dim": 32,
            # PyKEEN's standard deviation of 1 is too wide for so few epochs
            "entity_initializer": lambda table: normal_(table, std=0.1),
            "relation_initializer": lambda table: normal_(table, std=0.1),
            "regularizer_kwargs": {"weight": 0.01, "p": 3.0},
        },
        optimizer_kwargs={"lr": 0.02},
        training_loop=SparringTrainingLoop,
        training_loop_kwargs={"adapter": adapter},
        training_kwargs={"num_epochs": 3, "batch_size": 512, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=0,
    )
    return result.get_metric("both.realistic.inverse_harmonic_mean_rank")


# %%
# Uniform negatives, and the generator
# ------------------------------------
# Both draw eight. Three epochs show that it runs; they do not compare the two.

torch.set_num_threads(1)
print(f"uniform:   {train(lambda graph: UniformFiltered(graph, k=8)):.3f}")
print(f"generator: {train(lambda graph: NSGenerator(graph, k=8)):.3f}")

# %%
# Next
# ----
# What is carried over, and what is not, is in *How to: PyKEEN*. ``sparring check
# pykeen.sampling:BasicNegativeSampler`` tells you what PyKEEN's own samplers do.
