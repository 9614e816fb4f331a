"""LibKGE's job with uniform negatives, and with a generator that learns from it."""

from tempfile import mkdtemp

from kge import Config
from kge.job import EvaluationJob

from sparring.datasets.embedded import load_embedded
from sparring.generators import SparringGenerator
from sparring.graph.sides import BothSides
from sparring.hosts import bridge, libkge
from sparring.losses import Softmax
from sparring.samplers import UniformUnknown

embedder = {"dim": 64, "space": "complex", "regularize": "n3"}
options = {"console.quiet": True, "job.device": "cpu", "eval.split": "test", "model": "complex"}
options |= {"lookup_embedder": embedder, "train": {"batch_size": 512, "max_epochs": 4}}
options["train.optimizer.default"] = {"type": "Adam", "args.lr": 0.02}
for make in (lambda g: UniformUnknown(g, k=8), lambda g: SparringGenerator(g, k=8)):
    (config := Config(mkdtemp()))._import("complex")
    config.set_all(options, create=True)
    link = bridge.Bridge(make, sides=BothSides, loss=Softmax(correction="both"))
    job = type("Job", (libkge.SparringJob,), {"bridge": link})
    job = job(config, data := libkge.dataset_of(load_embedded(), config))
    job.run()
    found = EvaluationJob.create(config, data, job, job.model).run()
    print(f"{job.bridge}: MRR {found['mean_reciprocal_rank_filtered']:.3f}")
