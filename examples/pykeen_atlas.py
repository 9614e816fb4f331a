"""PyKEEN's pipeline with uniform negatives, and with a generator that learns from it."""

from pykeen.pipeline import pipeline
from pykeen.triples import CoreTriplesFactory
from torch.nn.init import normal_

from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations import adapter as adapter
from sparring.integrations import pykeen
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

graph, start = load_embedded(), lambda table: normal_(table, std=0.1)  # PyKEEN's 1 is too wide
sizes = {"num_entities": len(graph.entities), "num_relations": len(graph.relations)}
parts = {"training": graph.train, "validation": graph.valid, "testing": graph.test}
options = {name: CoreTriplesFactory(part.long(), **sizes) for name, part in parts.items()}
model = {"embedding_dim": 32, "entity_initializer": start, "relation_initializer": start}
options["model_kwargs"] = model | {"regularizer_kwargs": {"weight": 0.01, "p": 3.0}}
options |= {"model": "ComplEx", "optimizer_kwargs": {"lr": 0.02}, "random_seed": 0}
options |= {"lr_scheduler": "ExponentialLR", "lr_scheduler_kwargs": {"gamma": 0.75}}
options["training_kwargs"] = {"num_epochs": 10, "batch_size": 512, "use_tqdm": False}
for make in (lambda g: UniformFiltered(g, k=8), lambda g: NSGenerator(g, k=8)):
    loop = {"adapter": (link := adapter.Adapter(make, loss=SampledSoftmax(correction="both")))}
    found = pipeline(
        training_loop=pykeen.SparringTrainingLoop, training_loop_kwargs=loop, **options
    )
    print(f"{link}: MRR {found.get_metric('both.realistic.inverse_harmonic_mean_rank'):.3f}")
