"""Samplers in PyTorch Geometric's `nn.kge` models, and generators that learn from them.

bridge = Bridge(lambda graph: SparringGenerator(graph, k=8))
model = bridged(ComplEx, bridge)(num_nodes, num_relations, hidden_channels)
loader = model.loader(head_index, rel_type, tail_index, batch_size=512)
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.nn.kge import ComplEx, KGEModel

from sparring.graph.knowledge_graph import TrainGraph
from sparring.hosts.bridge import Bridge, frozen
from sparring.samplers import NegativeSampler
from sparring.testing import Contestant
from sparring.testing.judge import taste


class BridgedModel(KGEModel):
    """What `bridged` adds to a model.

    `loss` pairs each negative that counts with its own triple, so that losses which compare two
    lists of one length take any number of them; `state_dict` holds the sampler too.
    """

    bridge: Bridge

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.drawn: tuple[Tensor, Tensor] | None = None
        self.scored: Tensor | None = None
        self.bridge.judge = self.judge

    def enter(self, triples: Int[Tensor, "T 3"]) -> None:
        """Build the sampler for these training triples."""
        self.bridge.enter(TrainGraph(triples, self.num_nodes, self.num_relations))

    def loader(self, head_index, rel_type, tail_index, **options):
        """A loader of these triples; those of the first loader are the training graph."""
        if self.bridge.sampler is None:
            self.enter(torch.stack([head_index, rel_type, tail_index], 1))
        return super().loader(head_index, rel_type, tail_index, **options)

    def judge(self, triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
        """The model's scores of triples, in evaluation mode and without a trace."""
        with frozen(self):
            return super().forward(*triples.to(self.node_emb.weight.device).unbind(1))

    @torch.no_grad()
    def random_sample(self, head_index, rel_type, tail_index):
        """The negatives of the loss that is being computed; elsewhere, all that are drawn."""
        if self.drawn is not None:
            corrupted, mask = self.drawn
            return corrupted[mask].unbind(1)
        corrupted, _ = self.bridge.draw(torch.stack([head_index, rel_type, tail_index], 1))
        return corrupted.flatten(0, 1).unbind(1)

    def loss(self, head_index, rel_type, tail_index):
        """The model's own loss on drawn negatives, or that of the bridge."""
        triples = torch.stack([head_index, rel_type, tail_index], 1)
        corrupted, mask = self.bridge.draw(triples)
        if self.bridge.loss is not None:
            positive = self(*triples.unbind(1))
            negative = self(*corrupted.flatten(0, 1).unbind(1)).view(mask.shape)
            self.bridge.hear(positive, negative)
            return self.bridge.own_loss(positive, negative)
        row = mask.nonzero()[:, 0]
        self.drawn, self.scored = (corrupted, mask), None
        try:
            return super().loss(*triples[row].unbind(1))
        finally:
            self.drawn = None

    def forward(self, head_index, rel_type, tail_index):
        """Scores, of which the bridge hears those that a loss asks for."""
        scores = super().forward(head_index, rel_type, tail_index)
        if self.drawn is None:
            return scores
        if self.scored is None:  # a loss asks for its triples first
            self.scored = scores.detach()
            return scores
        mask = self.drawn[1]
        positive = scores.new_zeros(len(mask))
        positive[mask.nonzero()[:, 0]] = self.scored
        negative = scores.new_zeros(mask.shape).masked_scatter(mask, scores)
        self.bridge.hear(positive, negative)
        return negative[mask]  # as before, but by way of what was heard

    def get_extra_state(self) -> dict[str, Any]:
        return self.bridge.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.bridge.load_state_dict(state)


def bridged(maker: type[KGEModel], bridge: Bridge) -> type[KGEModel]:
    """The same class of `nn.kge` models with negatives from a bridge; built in the same way."""
    return type(f"Bridged{maker.__name__}", (BridgedModel, maker), {"bridge": bridge})


def contestant(maker: type[KGEModel], options: Mapping[str, Any]) -> Contestant:
    """The negatives of a class of `nn.kge` models, to be judged."""

    def make(graph, width, seed):
        torch.manual_seed(seed)
        model = maker(graph.num_entities, graph.num_relations, 4, **options)

        def draw(triples: Int[Tensor, "B 3"]) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            corrupted = torch.stack(model.random_sample(*triples.unbind(1)), 1)
            corrupted = corrupted.unflatten(0, (len(triples), -1))
            return corrupted, torch.ones(corrupted.shape[:2], dtype=torch.bool)

        return draw

    own = maker.random_sample is KGEModel.random_sample
    return Contestant(maker.__name__, make, widths=(1,), uniform=own)


def adapted(made: Callable[..., NegativeSampler], **options: Any) -> Contestant:
    """A class of our samplers inside PyG, to be judged."""

    def make(graph, width, seed):
        bridge = Bridge(lambda graph: made(graph, k=width, **options), seed=seed)
        model = bridged(ComplEx, bridge)(graph.num_entities, graph.num_relations, 4)
        bridge.judge = taste
        model.enter(graph.triples)

        def draw(triples):
            flat = torch.stack(model.random_sample(*triples.unbind(1)), 1)
            assert bridge.last is not None
            return flat.unflatten(0, (len(triples), width)), bridge.last[1].mask

        return draw

    return Contestant(f"{made.__name__} in PyG", make)
