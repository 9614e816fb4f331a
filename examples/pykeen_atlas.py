"""PyKEEN's pipeline with uniform negatives, and with a generator that learns from it."""

from pykeen.pipeline import pipeline
from pykeen.triples import CoreTriplesFactory
from torch.nn.init import normal_

from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.integrations.pykeen import SparringTrainingLoop
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

graph = load_embedded()


def factory(triples):
    """Triples of the graph for PyKEEN."""
    return CoreTriplesFactory(
        triples.long(), num_entities=len(graph.entities), num_relations=len(graph.relations)
    )


def small(table):
    """Initial vectors; PyKEEN's standard deviation of 1 is too wide here."""
    return normal_(table, std=0.1)


samplers = [
    lambda graph: UniformFiltered(graph, k=8),
    lambda graph: NSGenerator(graph, k=8),
]
for make_sampler in samplers:
    adapter = Adapter(make_sampler, loss=SampledSoftmax(correction="both"))
    result = pipeline(
        training=factory(graph.train),
        validation=factory(graph.valid),
        testing=factory(graph.test),
        model="ComplEx",
        model_kwargs={
            "embedding_dim": 32,
            "entity_initializer": small,
            "relation_initializer": small,
            "regularizer_kwargs": {"weight": 0.01, "p": 3.0},
        },
        optimizer_kwargs={"lr": 0.02},
        lr_scheduler="ExponentialLR",
        lr_scheduler_kwargs={"gamma": 0.75},
        training_loop=SparringTrainingLoop,
        training_loop_kwargs={"adapter": adapter},
        training_kwargs={"num_epochs": 10, "batch_size": 512, "use_tqdm": False},
        random_seed=0,
    )
    mrr = result.get_metric("both.realistic.inverse_harmonic_mean_rank")
    print(f"{adapter}: MRR {mrr:.3f}")
