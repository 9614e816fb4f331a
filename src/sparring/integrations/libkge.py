"""Our samplers in LibKGE's training jobs, and LibKGE's samplers in our conformance kit.

class TrainingJobGenerator(TrainingJobSparring):  # in a module of yours
    adapter = Adapter(lambda graph: NSGenerator(graph, k=8), corruption=CorruptBoth)

modules: [kge.job, kge.model, kge.model.embedder, my_module]  # in the configuration
train.type: negative_sampling
negative_sampling.class_name: TrainingJobGenerator
"""

import copy
import random
import time
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from kge import Config, Dataset  # pyright: ignore[reportMissingImports]
from kge.job import Job, TrainingJobNegativeSampling  # pyright: ignore[reportMissingImports]
from kge.model import KgeModel  # pyright: ignore[reportMissingImports]
from kge.util.sampler import (  # pyright: ignore[reportMissingImports]
    KgeSampler,
    KgeUniformSampler,
)
from torch import Tensor

from sparring.corruption import to_triples
from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.evaluation.ranking import eval_mode
from sparring.integrations.adapter import Adapter
from sparring.integrations.export import counted_columns
from sparring.samplers import NegativeSampler
from sparring.testing import ExternalSampler, dummy_scores
from sparring.testing.external import Draw

KEY = "negative_sampling"
DIRECTIONS = ("o", "s")  # LibKGE's names for predicting the tail, and the head


class TrainingJobSparring(TrainingJobNegativeSampling):
    """LibKGE's job with a sampler that sees the model's scores and learns from them.

    LibKGE builds its jobs by the name of their class, so each has its `adapter` as a class
    attribute, and every job works with a copy. The adapter's `corruption` chooses which ends are
    replaced; `CorruptBoth` is what LibKGE does. Where a candidate does not count, one of the same
    list that does takes its place; a triple without any is left out. Triples are scored one by
    one, and `negative_sampling.implementation` is ignored. Checkpoints hold the sampler too.

    Raises:
        ValueError: for options of `negative_sampling` that would do nothing: `shared`, `filtering`,
            corrupted relations, and another number of negatives than the sampler draws.
    """

    adapter: Adapter

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        parent_job: Job | None = None,
        model: KgeModel | None = None,
        forward_only: bool = False,
    ) -> None:
        super().__init__(config, dataset, parent_job, model=model, forward_only=forward_only)
        self.adapter = copy.copy(self.adapter)
        self.adapter.reset()
        self.adapter.score_triples = self.score_triples
        triples = dataset.split(self.train_split).long().to(self.device)
        sampler = self.adapter.bind(
            TrainGraph(triples, dataset.num_entities(), dataset.num_relations())
        )
        self._check_options(sampler.k)
        self.post_batch_hooks.append(lambda job: job.adapter.flush())
        for hook in Job.job_created_hooks:
            hook(self)

    def _check_options(self, k: int) -> None:
        given = {slot: self.config.get(f"{KEY}.num_samples.{slot}") for slot in "spo"}
        default = Config().get(f"{KEY}.num_samples")
        if any(given[slot] not in (k, default[slot]) for slot in "so"):
            raise ValueError(
                f"the sampler draws k={k} negatives for each end; got {KEY}.num_samples={given}: "
                "leave it out"
            )
        if given["p"] > 0:
            raise ValueError(
                f"samplers of sparring replace heads and tails; got {KEY}.num_samples.p="
                f"{given['p']}: set it to 0"
            )
        filters = self.config.get(f"{KEY}.filtering")
        if self._sampler.shared or any(filters[slot] for slot in "spo"):
            raise ValueError(
                f"{KEY}.shared and {KEY}.filtering belong to LibKGE's own samplers; leave them "
                "off, and use a sampler that filters by itself, such as UniformFiltered, or "
                "MaskKnown around any other"
            )

    def score_triples(
        self, triples: Int[Tensor, "M 3"], head: Bool[Tensor, "M"]
    ) -> Float[Tensor, "M"]:
        """Scores of triples in evaluation mode, without gradients."""
        with eval_mode(self.model):
            return self._scores(triples.to(self.device), head.to(self.device))

    def _scores(self, triples: Int[Tensor, "M 3"], head: Bool[Tensor, "M"]) -> Float[Tensor, "M"]:
        scores = torch.zeros(len(triples), device=triples.device)
        for direction, rows in zip(DIRECTIONS, (~head, head)):  # reciprocal models differ by it
            part = triples[rows]
            if len(part):
                found = self.model.score_spo(*part.unbind(1), direction=direction).flatten()
                scores = scores.masked_scatter(rows, found)
        return scores

    def _get_collate_fun(self) -> Callable[[list[int]], dict[str, Tensor]]:
        return lambda rows: {"triples": self.dataset.split(self.train_split)[rows].long()}

    def _prepare_batch(self, batch_index: int, batch: dict[str, Any], result: Any) -> None:
        start_time = time.time()
        batch["triples"] = batch["triples"].to(self.device)
        self.adapter.recorded = []  # those of an attempt that ran out of memory
        batch["corrupted"], batch["mask"] = self.adapter.draw_queries(batch["triples"])
        result.size = len(batch["triples"])
        result.prepare_time += time.time() - start_time

    def _process_batch(self, batch_index: int, batch: dict[str, Any]) -> Any:
        result = self._ProcessBatchResult()
        self._prepare_batch(batch_index, batch, result)
        queries = len(batch["mask"]) // result.size  # of each triple
        triples = self._max_subbatch_size if self._max_subbatch_size > 0 else result.size
        for start in range(0, len(batch["mask"]), triples * queries):
            rows = slice(start, start + triples * queries)
            self._process_subbatch(batch_index, batch, rows, result)
        return result

    def _process_subbatch(
        self, batch_index: int, batch: dict[str, Any], subbatch_slice: slice, result: Any
    ) -> None:
        start_time, rows = time.time(), subbatch_slice
        assert self.adapter.last_draw is not None
        queries = self.adapter.last_draw[0][rows]
        corrupted, mask = batch["corrupted"][rows], batch["mask"][rows]
        triples = to_triples(
            queries, queries.answer.unsqueeze(1), self.adapter.corruption.num_relations
        )
        everything = torch.cat([triples.to(self.device), corrupted], 1)
        head = self.adapter.predicts_head(queries).to(self.device).unsqueeze(1)
        head = head.expand(everything.shape[:2]).flatten()
        scores = self._scores(everything.flatten(0, 1), head).view(everything.shape[:2])
        loss = self._loss_of(scores[:, 0], scores[:, 1:], mask, rows.start) / result.size
        result.avg_loss += loss.item()
        result.forward_time += time.time() - start_time
        if not self.is_forward_only:
            start_time = time.time()
            loss.backward()
            result.backward_time += time.time() - start_time

    def _loss_of(
        self,
        positive: Float[Tensor, "b"],
        negative: Float[Tensor, "b K"],
        mask: Bool[Tensor, "b K"],
        start: int,
    ) -> Float[Tensor, ""]:
        """Summed over triples, as LibKGE's losses are."""
        if not self.is_forward_only:
            self.adapter.record_scores(positive, negative)
        if self.adapter.loss is not None:
            return self.adapter.compute_loss(positive, negative, start) * len(positive)
        rows, k = mask.any(1), mask.shape[1]
        scores = torch.cat([positive.unsqueeze(1), negative.gather(1, counted_columns(mask, k))], 1)
        labels = torch.zeros_like(scores)
        labels[:, 0] = 1
        return self.loss(scores[rows], labels[rows], num_negatives=k)

    def save_to(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint with the sampler in it."""
        return super().save_to({**checkpoint, "sparring": self.adapter.state_dict()})

    def _load(self, checkpoint: dict[str, Any]) -> None:
        if "sparring" not in checkpoint:
            raise ValueError(
                f"the checkpoint {checkpoint.get('file')} holds no sampler: it was saved by "
                "another training job"
            )
        super()._load(checkpoint)
        self.adapter.load_state_dict(checkpoint["sparring"])


def to_libkge(graph: KnowledgeGraph, config: Config) -> Dataset:
    """The graph as a LibKGE `Dataset`, without files."""
    splits = {name: getattr(graph, name) for name in ("train", "valid", "test")}
    return _dataset(splits, list(graph.entities), list(graph.relations), config)


def _dataset(
    splits: Mapping[str, Tensor], entities: list[str], relations: list[str], config: Config
) -> Dataset:
    config.set("dataset.pickle", False)  # there are no files to pickle next to
    dataset = Dataset(config)
    dataset._num_entities, dataset._num_relations = len(entities), len(relations)
    dataset._meta.update(entity_ids=entities, relation_ids=relations)
    dataset._triples.update({name: triples.int() for name, triples in splits.items()})
    return dataset


def _sampler_arguments(
    graph: TrainGraph, options: Mapping[str, Any]
) -> tuple[Config, str, Dataset]:
    config = Config()
    device = str(graph.triples.device)
    config.set_all({"console.quiet": True, "job.device": device, "model": "complex"})
    config.set(f"{KEY}.implementation", "triple")  # jobs of LibKGE choose it, samplers do not
    config._import("complex")
    config.set_all({f"{KEY}.{name}": value for name, value in Config.flatten(options).items()})
    entities, relations = (
        [str(i) for i in range(number)] for number in (graph.num_entities, graph.num_relations)
    )
    return config, KEY, _dataset({"train": graph.triples}, entities, relations, config)


def external_sampler(
    sampler_class: type[KgeSampler], options: Mapping[str, Any]
) -> ExternalSampler:
    """A sampler class of LibKGE for the conformance kit; it replaces tails, then heads.

    Args:
        options: as in the section `negative_sampling` of a configuration.
    """

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        for set_seed in (torch.manual_seed, np.random.seed, random.seed):
            set_seed(seed)
        sampler = sampler_class(*_sampler_arguments(graph, options))
        numbers = {2: k - k // 2, 0: k // 2}  # by column

        def draw(
            triples: Int[Tensor, "B 3"],
        ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            corrupted = triples.unsqueeze(1).repeat(1, k, 1)
            for column, part in zip(numbers, corrupted.split(list(numbers.values()), 1)):
                drawn = sampler.sample(triples, column, part.shape[1])
                part[..., column] = drawn.samples().view(part.shape[:2])
            return corrupted, torch.ones(corrupted.shape[:2], dtype=torch.bool)

        return draw

    filtered = any(options.get("filtering", {}).values())
    uniform = sampler_class is KgeUniformSampler and not filtered
    return ExternalSampler(sampler_class.__name__, make, filtered=filtered, uniform=uniform)


def adapted_sampler(
    make_sampler: Callable[..., NegativeSampler], **options: Any
) -> ExternalSampler:
    """One of our sampler classes inside LibKGE, for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        adapter = Adapter(lambda graph: make_sampler(graph, k=k, **options), seed=seed)
        job_class = type("TrainingJobAdapted", (TrainingJobSparring,), {"adapter": adapter})
        config, _, dataset = _sampler_arguments(graph, {})
        with TemporaryDirectory() as config.folder:
            job = job_class(config, dataset)
        job.adapter.score_triples = dummy_scores
        return job.adapter.draw

    return ExternalSampler(f"{make_sampler.__name__} in LibKGE", make)
