"""Samplers in PyKEEN 1.11's sLCWA training, and generators that learn from it.

bridge = Bridge(lambda graph: NSGenerator(graph, k=8))
pipeline(..., training_loop=SparringLoop, training_loop_kwargs={"bridge": bridge})"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pykeen.losses import Loss
from pykeen.sampling import BasicNegativeSampler, BernoulliNegativeSampler, NegativeSampler
from pykeen.training import SLCWATrainingLoop
from torch import Tensor

from sparring.data.graph import TrainGraph
from sparring.integrations.adapter import Adapter, frozen
from sparring.samplers import NegativeSampler as Ours
from sparring.testing import ExternalSampler
from sparring.testing.external import dummy_scores


class SparringSampler(NegativeSampler):
    """A sampler of ours as one of PyKEEN's; `SparringLoop` builds it.

    By itself, as `negative_sampler=SparringSampler, negative_sampler_kwargs={"bridge": bridge}`,
    it serves samplers that neither look at scores nor learn.

    Args:
        bridge: to the sampler, which is built for the triples handed in: with
            `create_inverse_triples`, these are twice as many, of twice as many relations.

    Raises:
        ValueError: for another number of negatives than the sampler draws, and for a filter.
    """

    def __init__(
        self,
        *,
        bridge: Adapter,
        mapped_triples: Int[Tensor, "T 3"],
        num_entities: int | None = None,
        num_relations: int | None = None,
        num_negs_per_pos: int | None = None,
        filtered: bool = False,
        filterer: Any = None,
        filterer_kwargs: Mapping[str, Any] | None = None,
    ):
        if filtered or filterer is not None:
            raise ValueError(
                "PyKEEN's filter would hide negatives without telling their sampler; leave it "
                "off, and build a sampler that filters by itself, such as UniformFiltered, or "
                "MaskKnown around any other"
            )
        super().__init__(
            mapped_triples=mapped_triples, num_entities=num_entities, num_relations=num_relations
        )
        sampler = bridge.enter(
            TrainGraph(mapped_triples.long(), self.num_entities, self.num_relations)
        )
        if num_negs_per_pos not in (None, sampler.k):
            raise ValueError(
                f"the sampler draws k={sampler.k} negatives for each triple; got "
                f"num_negs_per_pos={num_negs_per_pos}: leave it out"
            )
        self.num_negs_per_pos, self.bridge = sampler.k, bridge

    def sample(
        self, positive_batch: Int[Tensor, "B 3"]
    ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
        """Corrupted triples, and True where they count."""
        return self.bridge.draw(positive_batch)

    def corrupt_batch(self, positive_batch: Int[Tensor, "B 3"]) -> Int[Tensor, "B K 3"]:
        """Corrupted triples, whether or not they count."""
        return self.bridge.draw(positive_batch)[0]


class SparringLoop(SLCWATrainingLoop):
    """PyKEEN's loop, with a sampler that sees the model's scores and learns from them.

    Checkpoints hold the sampler too. The sampler's own scores leave the model as it was: its mode,
    its batch statistics, and no cached vectors of a graph network.

    Args:
        bridge: to the sampler; its `loss`, if it has one, replaces the model's.

    Raises:
        ValueError: for worker processes, or a negative sampler beside the bridge.
    """

    def __init__(self, *, bridge: Adapter, **options: Any):
        if options.get("negative_sampler") is not None:
            raise ValueError("the negatives of this loop come from its bridge; give no other")
        options.pop("negative_sampler", None)
        options.pop("negative_sampler_kwargs", None)
        super().__init__(
            negative_sampler=SparringSampler, negative_sampler_kwargs={"bridge": bridge}, **options
        )
        self.bridge, self.anew = bridge, False
        bridge.judge = self.judge

    def judge(self, triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
        """The model's scores of triples, in evaluation mode and without a trace."""
        triples = triples.to(self.model.device)
        try:
            with frozen(self.model):
                return self.model.score_hrt(triples, mode=self.mode).squeeze(1)
        finally:
            # graph networks keep the vectors of their last pass for the next one; without
            # gradients, they would keep training from learning anything
            self.model.post_parameter_update()

    def _train(self, *args: Any, continue_training: bool = False, **options: Any):
        # batch-size searches train within training, and for nothing
        before, self.anew = self.anew, not continue_training
        try:
            return super()._train(*args, continue_training=continue_training, **options)
        finally:
            self.bridge.digest()
            self.anew = before

    def _create_training_data_loader(self, *args: Any, **options: Any):
        if options.get("num_workers"):
            raise ValueError(
                "worker processes draw with copies of the sampler that never learn; "
                f"num_workers must be 0, got {options['num_workers']}"
            )
        if self.anew:
            self.bridge.forget()
        return super()._create_training_data_loader(*args, **options)

    def _process_batch(self, batch, start, stop, label_smoothing=0.0, slice_size=None) -> Tensor:
        heard: Any = Overheard(self.loss, self.bridge, start)
        return self._process_batch_static(
            self.model, heard, self.mode, batch, start, stop, label_smoothing, slice_size
        )

    def _save_state(self, path, *args: Any, **options: Any) -> None:
        super()._save_state(path, *args, **options)
        saved = torch.load(path, weights_only=False)
        torch.save({**saved, "sparring": self.bridge.state_dict()}, path)

    def _load_state(self, path, *args: Any, **options: Any):
        found = super()._load_state(path, *args, **options)
        state = torch.load(path, weights_only=False).get("sparring")
        if state is None:
            raise ValueError(
                f"the checkpoint {path} holds no sampler: it was saved by another training loop"
            )
        self.bridge.load_state_dict(state)
        return found


class Overheard:
    """Stands in for a PyKEEN loss, and passes the scores it is given on to a bridge.

    Args:
        start: number of the first triple of a part of a batch.
    """

    def __init__(self, loss: Loss, bridge: Adapter, start: int | None):
        self.loss, self.bridge, self.start = loss, bridge, start or 0

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
        self.bridge.hear(positive, negative)
        if self.bridge.loss is not None:
            return self.bridge.own_loss(positive, negative, self.start)
        return self.loss.process_slcwa_scores(
            positive_scores=positive_scores,
            negative_scores=negative[batch_filter],  # as before, but by way of what was heard
            batch_filter=batch_filter,
            **options,
        )


def contestant(maker: type[NegativeSampler], options: Mapping[str, Any]) -> ExternalSampler:
    """A sampler class of PyKEEN, to be judged."""

    def make(graph, width, seed):
        torch.manual_seed(seed)
        sampler = maker(
            mapped_triples=graph.triples,
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
            num_negs_per_pos=width,
            **options,
        )

        def draw(triples):
            corrupted, mask = sampler.sample(positive_batch=triples)
            everything = torch.ones(corrupted.shape[:2], dtype=torch.bool)
            return corrupted, everything if mask is None else mask

        return draw

    filtered = bool(options.get("filtered") or options.get("filterer"))
    uniform = maker in (BasicNegativeSampler, BernoulliNegativeSampler) and not filtered
    return ExternalSampler(maker.__name__, make, filtered=filtered, uniform=uniform)


def adapted(made: Callable[..., Ours], **options: Any) -> ExternalSampler:
    """A class of our samplers inside PyKEEN, to be judged."""

    def make(graph, width, seed):
        bridge = Adapter(lambda graph: made(graph, k=width, **options), seed=seed)
        bridge.judge = dummy_scores
        return SparringSampler(
            bridge=bridge,
            mapped_triples=graph.triples,
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
        ).sample

    return ExternalSampler(f"{made.__name__} in PyKEEN", make)
