"""Our samplers in PyKEEN 1.11, and PyKEEN's samplers in our conformance kit.

adapter = Adapter(lambda graph: NSGenerator(graph, k=8))
options = {"adapter": adapter}
pipeline(..., training_loop=SparringTrainingLoop, training_loop_kwargs=options)
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pykeen.losses import Loss  # pyright: ignore[reportMissingImports]
from pykeen.sampling import (  # pyright: ignore[reportMissingImports]
    BasicNegativeSampler,
    BernoulliNegativeSampler,
)
from pykeen.sampling import (  # pyright: ignore[reportMissingImports]
    NegativeSampler as PyKEENSampler,
)
from pykeen.training import SLCWATrainingLoop  # pyright: ignore[reportMissingImports]
from torch import Tensor

from sparring.data.graph import TrainGraph
from sparring.evaluation.ranking import eval_mode
from sparring.integrations.adapter import Adapter
from sparring.samplers import NegativeSampler
from sparring.testing import ExternalSampler, dummy_scores
from sparring.testing.external import Draw


class SparringNegativeSampler(PyKEENSampler):
    """One of our samplers as a PyKEEN negative sampler; `SparringTrainingLoop` builds it.

    On its own, as `negative_sampler=SparringNegativeSampler` with
    `negative_sampler_kwargs={"adapter": adapter}`, it takes samplers that neither need scores nor
    learn.

    Args:
        adapter: of the sampler, which is built for `mapped_triples`. With
            `create_inverse_triples`, these are twice as many, of twice as many relations.

    Raises:
        ValueError: for another number of negatives than the sampler draws, and for a filter.
    """

    def __init__(
        self,
        *,
        adapter: Adapter,
        mapped_triples: Int[Tensor, "T 3"],
        num_entities: int | None = None,
        num_relations: int | None = None,
        num_negs_per_pos: int | None = None,
        filtered: bool = False,
        filterer: Any = None,
        filterer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if filtered or filterer is not None:
            raise ValueError(
                "PyKEEN's filter would hide negatives from the sampler that drew them; leave it "
                "off, and use a sampler that filters by itself, such as UniformFiltered, or "
                "MaskKnown around any other"
            )
        super().__init__(
            mapped_triples=mapped_triples, num_entities=num_entities, num_relations=num_relations
        )
        sampler = adapter.bind(
            TrainGraph(mapped_triples.long(), self.num_entities, self.num_relations)
        )
        if num_negs_per_pos not in (None, sampler.k):
            raise ValueError(
                f"the sampler draws k={sampler.k} negatives for each triple; got "
                f"num_negs_per_pos={num_negs_per_pos}: leave it out"
            )
        self.num_negs_per_pos, self.adapter = sampler.k, adapter

    def sample(
        self, positive_batch: Int[Tensor, "B 3"]
    ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
        """Corrupted triples, and True where they count."""
        return self.adapter.draw(positive_batch)

    def corrupt_batch(self, positive_batch: Int[Tensor, "B 3"]) -> Int[Tensor, "B K 3"]:
        """Corrupted triples, whether or not they count."""
        return self.adapter.draw(positive_batch)[0]


class SparringTrainingLoop(SLCWATrainingLoop):
    """PyKEEN's sLCWA loop, with a sampler that sees the model's scores and learns from them.

    Checkpoints hold the sampler too. Scoring for the sampler leaves the model unchanged: its mode,
    its batch statistics, and no cached vectors of a graph network.

    Args:
        adapter: of the sampler; its `loss`, if it has one, replaces the model's.

    Raises:
        ValueError: for worker processes, or a negative sampler next to the adapter.
    """

    def __init__(self, *, adapter: Adapter, **options: Any) -> None:
        if options.get("negative_sampler") is not None:
            raise ValueError("this loop takes negatives from its adapter; give no negative_sampler")
        options.pop("negative_sampler", None)
        options.pop("negative_sampler_kwargs", None)
        super().__init__(
            negative_sampler=SparringNegativeSampler,
            negative_sampler_kwargs={"adapter": adapter},
            **options,
        )
        self.adapter, self.starts_over = adapter, False
        adapter.score_triples = self.score_triples

    def score_triples(self, triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
        """Scores of triples in evaluation mode, without gradients."""
        triples = triples.to(self.model.device)
        try:
            with eval_mode(self.model):
                return self.model.score_hrt(triples, mode=self.mode).squeeze(1)
        finally:
            # graph networks keep the vectors of their last pass for the next one; computed without
            # gradients, they would keep training from learning anything
            self.model.post_parameter_update()

    def _train(self, *args: Any, continue_training: bool = False, **options: Any) -> Any:
        # a search for the batch size trains within training, and discards the result
        before, self.starts_over = self.starts_over, not continue_training
        try:
            return super()._train(*args, continue_training=continue_training, **options)
        finally:
            self.adapter.flush()
            self.starts_over = before

    def _create_training_data_loader(self, *args: Any, **options: Any) -> Any:
        if options.get("num_workers"):
            raise ValueError(
                "worker processes draw with copies of the sampler that never learn; "
                f"num_workers must be 0, got {options['num_workers']}"
            )
        if self.starts_over:
            self.adapter.reset()
        return super()._create_training_data_loader(*args, **options)

    def _process_batch(
        self,
        batch: Any,
        start: int,
        stop: int,
        label_smoothing: float = 0.0,
        slice_size: int | None = None,
    ) -> Tensor:
        loss: Any = ObservedLoss(self.loss, self.adapter, start)
        return self._process_batch_static(
            self.model, loss, self.mode, batch, start, stop, label_smoothing, slice_size
        )

    def _save_state(self, path: Any, *args: Any, **options: Any) -> None:
        super()._save_state(path, *args, **options)
        # PyKEEN's own file: it holds random states as pickles, and PyKEEN reads it like this too
        saved = torch.load(path, weights_only=False)
        torch.save({**saved, "sparring": self.adapter.state_dict()}, path)

    def _load_state(self, path: Any, *args: Any, **options: Any) -> Any:
        loaded = super()._load_state(path, *args, **options)
        state = torch.load(path, weights_only=False).get("sparring")
        if state is None:
            raise ValueError(
                f"the checkpoint {path} holds no sampler: it was saved by another training loop"
            )
        self.adapter.load_state_dict(state)
        return loaded


class ObservedLoss:
    """A PyKEEN loss that also passes the scores it is given on to an adapter.

    Args:
        start: number of the first triple of this part of the batch.
    """

    def __init__(self, loss: Loss, adapter: Adapter, start: int | None) -> None:
        self.loss, self.adapter, self.start = loss, adapter, start or 0

    def process_slcwa_scores(
        self,
        positive_scores: Float[Tensor, "b 1"],
        negative_scores: Float[Tensor, "valid"],
        batch_filter: Bool[Tensor, "b K"],
        **options: Any,
    ) -> Tensor:
        """The loss of one part of a batch."""
        positive = positive_scores.squeeze(1)
        negative = negative_scores.new_zeros(batch_filter.shape).masked_scatter(
            batch_filter, negative_scores
        )
        self.adapter.record_scores(positive, negative)
        if self.adapter.loss is not None:
            return self.adapter.compute_loss(positive, negative, self.start)
        return self.loss.process_slcwa_scores(
            positive_scores=positive_scores,
            negative_scores=negative[batch_filter],  # the same, but their gradients are recorded
            batch_filter=batch_filter,
            **options,
        )


def external_sampler(
    sampler_class: type[PyKEENSampler], options: Mapping[str, Any]
) -> ExternalSampler:
    """A sampler class of PyKEEN for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        torch.manual_seed(seed)
        sampler = sampler_class(
            mapped_triples=graph.triples,
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
            num_negs_per_pos=k,
            **options,
        )

        def draw(
            triples: Int[Tensor, "B 3"],
        ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            corrupted, mask = sampler.sample(positive_batch=triples)
            everything = torch.ones(corrupted.shape[:2], dtype=torch.bool)
            return corrupted, everything if mask is None else mask

        return draw

    filtered = bool(options.get("filtered") or options.get("filterer"))
    uniform = sampler_class in (BasicNegativeSampler, BernoulliNegativeSampler) and not filtered
    return ExternalSampler(sampler_class.__name__, make, filtered=filtered, uniform=uniform)


def adapted_sampler(
    make_sampler: Callable[..., NegativeSampler], **options: Any
) -> ExternalSampler:
    """One of our sampler classes inside PyKEEN, for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        adapter = Adapter(lambda graph: make_sampler(graph, k=k, **options), seed=seed)
        adapter.score_triples = dummy_scores
        return SparringNegativeSampler(
            adapter=adapter,
            mapped_triples=graph.triples,
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
        ).sample

    return ExternalSampler(f"{make_sampler.__name__} in PyKEEN", make)
