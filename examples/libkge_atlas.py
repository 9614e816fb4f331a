"""LibKGE's job with uniform negatives, and with a generator that learns from it."""

from tempfile import mkdtemp

from kge import Config

from sparring.corruption import CorruptBoth
from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations import adapter as adapter
from sparring.integrations import libkge
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

embedder = {"dim": 64, "space": "complex", "initialize_args.std": 0.1, "regularize": "n3"}
embedder |= {"regularize_weight": 0.3, "regularize_args.weighted": True}
train = {"batch_size": 512, "max_epochs": 6, "optimizer.default": {"type": "Adam", "args.lr": 0.02}}
options = {"console.quiet": True, "job.device": "cpu", "model": "complex", "train": train}
for make in (lambda g: UniformFiltered(g, k=8), lambda g: NSGenerator(g, k=8)):
    (config := Config(mkdtemp()))._import("complex")
    config.set_all(options | {"lookup_embedder": embedder}, create=True)
    link = adapter.Adapter(make, corruption=CorruptBoth, loss=SampledSoftmax(correction="both"))
    kind = type("Job", (libkge.TrainingJobSparring,), {"adapter": link})
    (job := kind(config, libkge.to_libkge(load_embedded(), config))).run()
    found = job.valid_trace[-1]["mean_reciprocal_rank_filtered"]
    print(f"{job.adapter}: validation MRR {found:.3f}")
