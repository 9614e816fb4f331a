"""LibKGE's job with uniform negatives, and with a generator that learns from it."""

from tempfile import mkdtemp

from kge import Config

from sparring.corruption import CorruptBoth
from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.integrations.libkge import TrainingJobSparring, to_libkge
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

OPTIONS = {
    "console.quiet": True,
    "job.device": "cpu",
    "model": "complex",
    "train": {
        "batch_size": 512,
        "max_epochs": 6,
        "optimizer.default": {"type": "Adam", "args.lr": 0.02},
    },
    "lookup_embedder": {
        "dim": 64,
        "space": "complex",
        "initialize_args.std": 0.1,
        "regularize": "n3",
        "regularize_weight": 0.3,
        "regularize_args.weighted": True,
    },
}

samplers = [
    lambda graph: UniformFiltered(graph, k=8),
    lambda graph: NSGenerator(graph, k=8),
]
for make_sampler in samplers:

    class Job(TrainingJobSparring):
        """LibKGE's job with the negatives of this adapter."""

        adapter = Adapter(
            make_sampler, corruption=CorruptBoth, loss=SampledSoftmax(correction="both")
        )

    config = Config(mkdtemp())
    config._import("complex")
    config.set_all(OPTIONS, create=True)
    job = Job(config, to_libkge(load_embedded(), config))
    job.run()
    mrr = job.valid_trace[-1]["mean_reciprocal_rank_filtered"]
    print(f"{job.adapter}: validation MRR {mrr:.3f}")
