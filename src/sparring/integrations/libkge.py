"""Samplers in LibKGE's negative sampling training, and generators that learn from it.

class Sparring(SparringJob):  # in a module of yours
    bridge = Bridge(lambda graph: NSGenerator(graph, k=8), corruption=CorruptBoth)

modules: [kge.job, kge.model, kge.model.embedder, my_module]  # in the configuration
train.type: negative_sampling
negative_sampling.class_name: Sparring"""

import copy
import random
import time
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from kge import Config, Dataset
from kge.job import Job, TrainingJobNegativeSampling
from kge.model import KgeModel
from kge.util.sampler import KgeSampler, KgeUniformSampler
from torch import Tensor

from sparring.corruption import to_triples
from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.integrations.adapter import Adapter, frozen
from sparring.integrations.export import that_count
from sparring.samplers import NegativeSampler
from sparring.testing import ExternalSampler
from sparring.testing.external import dummy_scores

KEY = "negative_sampling"
ONE_WAY = ("o", "s")  # what LibKGE calls asking for the tail, and for the head


class SparringJob(TrainingJobNegativeSampling):
    """LibKGE's job with a sampler that sees the model's scores and learns from them.

    LibKGE builds its jobs by the name of their class, so each has its `bridge` as an attribute of
    the class; every job works with a copy. `corruption` of the bridge says which ends are replaced;
    `CorruptBoth` is what LibKGE does. Where a candidate does not count, one of the same list that
    does takes its place; a triple without any is left out. Triples are scored one by one, whatever
    `negative_sampling.implementation` says. Checkpoints hold the sampler too.

    Raises:
        ValueError: for options of `negative_sampling` that would do nothing: `shared`, `filtering`,
            corrupted relations, and another number of negatives than the sampler draws.
    """

    bridge: Adapter

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        parent_job: Job | None = None,
        model: KgeModel | None = None,
        forward_only: bool = False,
    ):
        super().__init__(config, dataset, parent_job, model=model, forward_only=forward_only)
        self.bridge = copy.copy(self.bridge)
        self.bridge.forget()
        self.bridge.judge = self.judge
        triples = dataset.split(self.train_split).long().to(self.device)
        sampler = self.bridge.enter(
            TrainGraph(triples, dataset.num_entities(), dataset.num_relations())
        )
        self._refuse(sampler.k)
        self.post_batch_hooks.append(lambda job: job.bridge.digest())
        for hook in Job.job_created_hooks:
            hook(self)

    def _refuse(self, k: int) -> None:
        asked = {slot: self.config.get(f"{KEY}.num_samples.{slot}") for slot in "spo"}
        usual = Config().get(f"{KEY}.num_samples")
        if any(asked[slot] not in (k, usual[slot]) for slot in "so"):
            raise ValueError(
                f"the sampler draws k={k} negatives for each end; got {KEY}.num_samples={asked}: "
                "leave it out"
            )
        if asked["p"] > 0:
            raise ValueError(
                f"samplers of sparring replace heads and tails; got {KEY}.num_samples.p="
                f"{asked['p']}: set it to 0"
            )
        filters = self.config.get(f"{KEY}.filtering")
        if self._sampler.shared or any(filters[slot] for slot in "spo"):
            raise ValueError(
                f"{KEY}.shared and {KEY}.filtering are of LibKGE's own samplers; leave them off, "
                "and build a sampler that filters by itself, such as UniformFiltered, or MaskKnown "
                "around any other"
            )

    def judge(self, triples: Int[Tensor, "M 3"], head: Bool[Tensor, "M"]) -> Float[Tensor, "M"]:
        """The model's scores of triples, in evaluation mode and without a trace."""
        with frozen(self.model):
            return self._scores(triples.to(self.device), head.to(self.device))

    def _scores(self, triples: Int[Tensor, "M 3"], head: Bool[Tensor, "M"]) -> Float[Tensor, "M"]:
        scores = torch.zeros(len(triples), device=triples.device)
        for direction, rows in zip(ONE_WAY, (~head, head)):  # reciprocal models tell them apart
            some = triples[rows]
            if len(some):
                found = self.model.score_spo(*some.unbind(1), direction=direction).flatten()
                scores = scores.masked_scatter(rows, found)
        return scores

    def _get_collate_fun(self):
        return lambda rows: {"triples": self.dataset.split(self.train_split)[rows].long()}

    def _prepare_batch(self, batch_index: int, batch: dict[str, Any], result: Any) -> None:
        began = time.time()
        batch["triples"] = batch["triples"].to(self.device)
        self.bridge.heard = []  # of a try that ran out of memory
        batch["corrupted"], batch["mask"] = self.bridge.draw_all(batch["triples"])
        result.size = len(batch["triples"])
        result.prepare_time += time.time() - began

    def _process_batch(self, batch_index: int, batch: dict[str, Any]) -> Any:
        result = self._ProcessBatchResult()
        self._prepare_batch(batch_index, batch, result)
        width = len(batch["mask"]) // result.size  # queries of a triple
        most = self._max_subbatch_size if self._max_subbatch_size > 0 else result.size
        for start in range(0, len(batch["mask"]), most * width):
            rows = slice(start, start + most * width)
            self._process_subbatch(batch_index, batch, rows, result)
        return result

    def _process_subbatch(
        self, batch_index: int, batch: dict[str, Any], subbatch_slice: slice, result: Any
    ) -> None:
        began, rows = time.time(), subbatch_slice
        assert self.bridge.last is not None
        queries = self.bridge.last[0][rows]
        corrupted, mask = batch["corrupted"][rows], batch["mask"][rows]
        triples = to_triples(
            queries, queries.answer.unsqueeze(1), self.bridge.corruption.num_relations
        )
        everything = torch.cat([triples.to(self.device), corrupted], 1)
        head = self.bridge.heads(queries).to(self.device).unsqueeze(1)
        head = head.expand(everything.shape[:2]).flatten()
        scores = self._scores(everything.flatten(0, 1), head).view(everything.shape[:2])
        loss = self._loss_of(scores[:, 0], scores[:, 1:], mask, rows.start) / result.size
        result.avg_loss += loss.item()
        result.forward_time += time.time() - began
        if not self.is_forward_only:
            began = time.time()
            loss.backward()
            result.backward_time += time.time() - began

    def _loss_of(
        self,
        positive: Float[Tensor, "b"],
        negative: Float[Tensor, "b K"],
        mask: Bool[Tensor, "b K"],
        start: int,
    ) -> Float[Tensor, ""]:
        """Summed over triples, as LibKGE's losses are."""
        if not self.is_forward_only:
            self.bridge.hear(positive, negative)
        if self.bridge.loss is not None:
            return self.bridge.own_loss(positive, negative, start) * len(positive)
        rows, k = mask.any(1), mask.shape[1]
        scores = torch.cat([positive.unsqueeze(1), negative.gather(1, that_count(mask, k))], 1)
        labels = torch.zeros_like(scores)
        labels[:, 0] = 1
        return self.loss(scores[rows], labels[rows], num_negatives=k)

    def save_to(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint with the sampler in it."""
        return super().save_to({**checkpoint, "sparring": self.bridge.state_dict()})

    def _load(self, checkpoint: dict[str, Any]) -> None:
        if "sparring" not in checkpoint:
            raise ValueError(
                f"the checkpoint {checkpoint.get('file')} holds no sampler: it was saved by "
                "another training job"
            )
        super()._load(checkpoint)
        self.bridge.load_state_dict(checkpoint["sparring"])


def dataset_of(graph: KnowledgeGraph, config: Config) -> Dataset:
    """The same facts in LibKGE's form, without files."""
    splits = {name: getattr(graph, name) for name in ("train", "valid", "test")}
    return _dataset(splits, list(graph.entities), list(graph.relations), config)


def _dataset(
    splits: Mapping[str, Tensor], entities: list[str], relations: list[str], config: Config
) -> Dataset:
    config.set("dataset.pickle", False)  # beside the files that there are not
    dataset = Dataset(config)
    dataset._num_entities, dataset._num_relations = len(entities), len(relations)
    dataset._meta.update(entity_ids=entities, relation_ids=relations)
    dataset._triples.update({name: triples.int() for name, triples in splits.items()})
    return dataset


def _configured(graph: TrainGraph, options: Mapping[str, Any]) -> tuple[Config, str, Dataset]:
    config = Config()
    device = str(graph.triples.device)
    config.set_all({"console.quiet": True, "job.device": device, "model": "complex"})
    config.set(f"{KEY}.implementation", "triple")  # jobs of LibKGE choose it, samplers do not
    config._import("complex")
    config.set_all({f"{KEY}.{name}": value for name, value in Config.flatten(options).items()})
    names = [[str(i) for i in range(n)] for n in (graph.num_entities, graph.num_relations)]
    return config, KEY, _dataset({"train": graph.triples}, *names, config)


def contestant(maker: type[KgeSampler], options: Mapping[str, Any]) -> ExternalSampler:
    """A sampler class of LibKGE, to be judged; it replaces tails, then heads.

    Args:
        options: as in the part `negative_sampling` of a configuration.
    """

    def make(graph, width, seed):
        for start in (torch.manual_seed, np.random.seed, random.seed):
            start(seed)
        sampler = maker(*_configured(graph, options))
        amounts = {2: width - width // 2, 0: width // 2}  # by column

        def draw(triples):
            corrupted = triples.unsqueeze(1).repeat(1, width, 1)
            for column, part in zip(amounts, corrupted.split(list(amounts.values()), 1)):
                drawn = sampler.sample(triples, column, part.shape[1])
                part[..., column] = drawn.samples().view(part.shape[:2])
            return corrupted, torch.ones(corrupted.shape[:2], dtype=torch.bool)

        return draw

    filtered = any(options.get("filtering", {}).values())
    uniform = maker is KgeUniformSampler and not filtered
    return ExternalSampler(maker.__name__, make, filtered=filtered, uniform=uniform)


def adapted(made: Callable[..., NegativeSampler], **options: Any) -> ExternalSampler:
    """A class of our samplers inside LibKGE, to be judged."""

    def make(graph, width, seed):
        kind = type("Judged", (SparringJob,), {"bridge": None})
        kind.bridge = Adapter(lambda graph: made(graph, k=width, **options), seed=seed)
        config, _, dataset = _configured(graph, {})
        with TemporaryDirectory() as config.folder:
            job = kind(config, dataset)
        job.bridge.judge = dummy_scores
        return job.bridge.draw

    return ExternalSampler(f"{made.__name__} in LibKGE", make)
