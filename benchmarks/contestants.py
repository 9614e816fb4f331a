"""Training and evaluation in this library and in others, each in a process of its own.

`run.py` starts one process per library and asks it, in turns with the others, for a few steps of
training or for some ranks. Every library trains the same model on the same batches' size: 1,024
queries, each an answer with K corruptions of one side, a margin ranking loss, and Adam or Adagrad.
None filters its negatives. Both optimisers do the same arithmetic with sparse gradients as with
dense ones; ours asks for sparse ones where a step uses few rows of the tables. Ours runs its own
`TrainingStep` and `evaluate`; PyKEEN its own training loop and evaluator, without the regulariser
and the constraint that its models add; TorchKGE the loop of its documentation and its evaluator;
LibKGE its own jobs.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from other_process import Process

BATCH, STEPS, LR, MARGIN = 1024, 8, 0.01, 1.0


class Sparring:
    """This library."""

    def __init__(self, arrays):
        import torch

        from sparring.data.graph import TrainGraph
        from sparring.data.index import TripleIndex
        from sparring.experiments.environment import keep_freed_memory

        keep_freed_memory()
        self.torch, sizes = torch, arrays["sizes"].tolist()
        train, valid, self.test = (torch.from_numpy(arrays[n]) for n in ("train", "valid", "test"))
        self.graph = TrainGraph(train, *sizes)
        self.known = TripleIndex(torch.cat([train, valid, self.test]), *sizes)

    def model(self, name, dim, sparse=False):
        from sparring.models import ComplEx, TransE

        cls = {"complex": ComplEx, "transe": TransE}[name]
        return cls(self.graph, dim=dim, init=0.1, sparse=sparse)

    def train(self, name, dim, k, optimizer="adam", shared=False):
        from sparring.corruption import CorruptEither
        from sparring.losses import MarginRankingLoss
        from sparring.samplers import Uniform
        from sparring.training import OPTIMIZERS, TrainingStep

        sampler = Uniform(self.graph, k=k, groups=1 if shared else None)
        loss = MarginRankingLoss(margin=MARGIN)
        # gradients of the rows in use, where those are few
        model = self.model(name, dim, sparse=shared or k < 16)
        step = TrainingStep(model, sampler, loss, CorruptEither(self.graph))
        updates = OPTIMIZERS[optimizer](step.trainable_parameters(), lr=LR)
        rng = self.torch.Generator().manual_seed(0)

        def some():
            order = self.torch.randperm(len(self.graph.triples), generator=rng)
            batches = order[: STEPS * BATCH].split(BATCH)
            start = clocks()
            for rows in batches:
                step(self.graph.triples[rows], updates, rng)
            return since(start), STEPS * BATCH

        return some

    def evaluate(self, name, dim, rows):
        from sparring.evaluation.ranking import evaluate

        model, some = self.model(name, dim), self.test[:rows]

        def ranks():
            start = clocks()
            evaluate(model, some, self.known)
            return since(start), len(some)

        return ranks


class PyKEEN:
    """PyKEEN's own loop, its first batch left out, and its own evaluator."""

    def __init__(self, arrays):
        import torch
        from pykeen.triples import CoreTriplesFactory

        torch.set_default_device("cpu")
        entities, relations = arrays["sizes"].tolist()
        self.train_triples, self.valid, self.test = (
            torch.from_numpy(arrays[name]).long() for name in ("train", "valid", "test")
        )
        self.of = lambda triples: CoreTriplesFactory(
            triples, num_entities=entities, num_relations=relations
        )
        self.torch = torch

    def model(self, name, dim):
        from pykeen import models
        from pykeen.losses import MarginRankingLoss

        given = {
            "triples_factory": self.of(self.train_triples),
            "loss": MarginRankingLoss(margin=MARGIN),
            "random_seed": 0,
            "regularizer": None,
        }
        if name == "complex":
            return models.ComplEx(embedding_dim=dim // 2, **given)
        return models.TransE(
            embedding_dim=dim, scoring_fct_norm=1, entity_constrainer=None, **given
        )

    def train(self, name, dim, k, optimizer="adam"):
        from pykeen.training import SLCWATrainingLoop, TrainingCallback

        class Watch(TrainingCallback):
            def post_batch(self, epoch, batch, **options):
                marks.append(clocks())

        marks, model = [], self.model(name, dim)
        updates = optimizer_of(self.torch, optimizer, model)

        def some():
            marks.clear()
            pick = self.torch.randperm(len(self.train_triples))[: (STEPS + 1) * BATCH]
            factory = self.of(self.train_triples[pick])
            loop = SLCWATrainingLoop(
                model=model, triples_factory=factory, optimizer=updates,
                negative_sampler="basic", negative_sampler_kwargs={"num_negs_per_pos": k},
            )  # fmt: skip
            loop.train(
                factory, num_epochs=1, batch_size=BATCH, use_tqdm=False, use_tqdm_batch=False,
                num_workers=0, pin_memory=False, callbacks=Watch(), clear_optimizer=False,
            )  # fmt: skip
            spent = [stop - start for start, stop in zip(marks[0], marks[-1])]
            return spent, (len(marks) - 1) * BATCH

        return some

    def evaluate(self, name, dim, rows):
        from pykeen.evaluation import RankBasedEvaluator

        model, some = self.model(name, dim), self.test[:rows]
        others = [self.train_triples, self.valid]

        def ranks():
            start = clocks()
            RankBasedEvaluator().evaluate(
                model, some, additional_filter_triples=others, batch_size=256, use_tqdm=False
            )
            return since(start), len(some)

        return ranks


class TorchKGE:
    """The training loop of TorchKGE's documentation, and its own evaluator."""

    def __init__(self, arrays):
        import pandas
        import torch
        from torchkge import KnowledgeGraph

        self.torch, ids = torch, [{i: i for i in range(size)} for size in arrays["sizes"].tolist()]

        def graph(name):
            frame = pandas.DataFrame(dict(zip(("from", "rel", "to"), arrays[name].T)))
            return KnowledgeGraph(frame, None, *ids)

        everything = pandas.concat(
            pandas.DataFrame(dict(zip(("from", "rel", "to"), arrays[name].T)))
            for name in ("train", "valid", "test")
        )
        self.whole = KnowledgeGraph(everything, None, *ids)
        self.graph, self.pick = graph("train"), graph
        self.arrays, self.ids, self.pandas = arrays, ids, pandas

    def model(self, name, dim):
        from torchkge.models import ComplExModel, TransEModel

        sizes = self.graph.n_ent, self.graph.n_rel
        if name == "complex":
            return ComplExModel(dim // 2, *sizes)
        return TransEModel(dim, *sizes, dissimilarity_type="L1")

    def train(self, name, dim, k, optimizer="adam"):
        from torchkge.sampling import UniformNegativeSampler
        from torchkge.utils import MarginLoss

        model, loss = self.model(name, dim), MarginLoss(MARGIN)
        sampler = UniformNegativeSampler(self.graph, n_neg=k)
        updates = optimizer_of(self.torch, optimizer, model)

        def some():
            order = self.torch.randperm(self.graph.n_facts)
            batches = order[: STEPS * BATCH].split(BATCH)
            start = clocks()
            for rows in batches:
                head, tail = self.graph.head_idx[rows], self.graph.tail_idx[rows]
                relation = self.graph.relations[rows]
                wrong = sampler.corrupt_batch(head, tail, relation)
                updates.zero_grad()
                loss(*model(head, tail, relation, *wrong)).backward()
                updates.step()
            return since(start), STEPS * BATCH

        return some

    def evaluate(self, name, dim, rows):
        from torchkge import KnowledgeGraph
        from torchkge.evaluation import LinkPredictionEvaluator

        frame = self.pandas.DataFrame(
            dict(zip(("from", "rel", "to"), self.arrays["test"][:rows].T))
        )
        some = KnowledgeGraph(
            frame, None, *self.ids, self.whole.dict_of_heads, self.whole.dict_of_tails
        )
        model = self.model(name, dim)

        def ranks():
            start = clocks()
            with self.torch.no_grad():
                LinkPredictionEvaluator(model, some).evaluate(256, verbose=False)
            return since(start), rows

        return ranks


class LibKGE:
    """LibKGE's own job, its first batch left out, and its own entity ranking.

    It asks for both ends of each triple, so that half as many triples make as many queries.
    """

    def __init__(self, arrays):
        import torch

        self.sizes = arrays["sizes"].tolist()
        self.triples = {
            name: torch.from_numpy(arrays[name]).int() for name in ("train", "valid", "test")
        }
        self.torch = torch

    def made(self, name, dim, options, triples):
        """A configuration, and the facts in LibKGE's form."""
        from kge import Config, Dataset

        config = Config(tempfile.mkdtemp())
        config._import(name)
        fixed = {"model": name, "console.quiet": True, "job.device": "cpu", "dataset.pickle": False}
        config.set_all({**fixed, "lookup_embedder.dim": dim, **options}, create=True)
        facts = Dataset(config)
        facts._num_entities, facts._num_relations = self.sizes
        entities, relations = ([str(i) for i in range(size)] for size in self.sizes)
        facts._meta.update(entity_ids=entities, relation_ids=relations)
        facts._triples.update(triples)
        return config, facts

    def train(self, name, dim, k, optimizer="adam"):
        from kge.job import TrainingJob

        marks, train = [], self.triples["train"]
        pick = self.torch.randperm(len(train))[: (STEPS + 1) * BATCH // 2]
        options = {
            "train": {"type": "negative_sampling", "loss": "margin_ranking", "loss_arg": MARGIN},
            "train.batch_size": BATCH // 2,
            "train.optimizer.default": {"type": optimizer.capitalize(), "args": {"lr": LR}},
            "negative_sampling.num_samples": {"s": k, "p": 0, "o": k},
        }
        job = TrainingJob.create(*self.made(name, dim, options, {"train": train[pick]}))
        job.post_batch_hooks.append(lambda job: marks.append(clocks()))
        job._prepare()

        def some():
            marks.clear()
            job.model.train()
            job.run_epoch()
            spent = [stop - start for start, stop in zip(marks[0], marks[-1])]
            return spent, (len(marks) - 1) * BATCH

        return some

    def evaluate(self, name, dim, rows):
        from kge.job import EvaluationJob
        from kge.model import KgeModel

        options = {"eval.batch_size": 256, "eval.split": "test"}
        triples = {**self.triples, "test": self.triples["test"][:rows]}
        config, facts = self.made(name, dim, options, triples)
        job = EvaluationJob.create(config, facts, model=KgeModel.create(config, facts))

        def ranks():
            start = clocks()
            job.run()
            return since(start), rows

        return ranks


LIBRARIES = {"sparring": Sparring, "pykeen": PyKEEN, "torchkge": TorchKGE, "libkge": LibKGE}


def arrays_of(graph) -> dict:
    """What every library is given of a graph: its sizes, and its triples by split."""
    import numpy as np

    splits = {name: getattr(graph, name).long().numpy() for name in ("train", "valid", "test")}
    return {"sizes": np.array([len(graph.entities), len(graph.relations)]), **splits}


def optimizer_of(torch, name, model):
    """Adam or Adagrad, as PyTorch has them."""
    cls = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[name]
    return cls(model.parameters(), lr=LR)


def clocks() -> tuple[float, float]:
    """Processor seconds and seconds, as of now."""
    return time.process_time(), time.perf_counter()


def since(start: tuple[float, float]) -> list[float]:
    """Processor seconds and seconds gone by."""
    return [now - then for now, then in zip(clocks(), start)]


def peak() -> float:
    """Largest resident size of this process so far, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


class Contestant(Process):
    """A library in a process of its own."""

    def __init__(self, python: list[str], library: str, file: Path, threads: int, script=__file__):
        words = [*python, str(script), library, str(file), str(threads)]
        super().__init__(words, threads=threads, quiet=True)

    def ask(self, *words):
        """What the process answers; an error of its own is raised here."""
        answer = super().ask(*words)
        if "wrong" in answer:
            raise RuntimeError(answer["wrong"])
        return answer["right"]


def serve(library: str, file: str, threads: str) -> None:
    """Do what standard input asks for."""
    import numpy as np
    import torch

    torch.set_num_threads(int(threads))
    contestant = LIBRARIES[library](np.load(file))
    once = None
    for line in sys.stdin:
        verb, *words = json.loads(line)
        try:
            if verb == "prepare":
                what, *given = words
                once = getattr(contestant, what)(*given)
                right = None
            else:
                right = once() if verb == "timed" else peak()
            answer = {"right": right}
        except Exception as error:  # whatever another library may raise is recorded
            answer = {"wrong": f"{type(error).__name__}: {error}"}
        print("answer:" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    serve(*sys.argv[1:])
