"""Samplers in PyTorch Geometric's `nn.kge` models, and generators that learn from them.

bridge = Bridge(lambda graph: NSGenerator(graph, k=8))
model = bridged(ComplEx, bridge)(num_nodes, num_relations, hidden_channels)
loader = model.loader(head_index, rel_type, tail_index, batch_size=512)

Samplers in the link loaders of PyTorch Geometric.

bridge = Bridge(make, corruption=Tails, loss=SampledSoftmax(correction="both"))
links = LinkNegatives(data, bridge, around=NeighborSampler(data, [10, 10]))
for batch in LinkLoader(data, links, neg_sampling=NegativeSampling("triplet", k), ...):
    ...  # score (batch.src_index, batch.dst_pos_index) and (batch.src_index, batch.dst_neg_index)
    bridge.hear(positive, negative)
    bridge.own_loss(positive, negative).backward()"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.kge import ComplEx, KGEModel
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)

from sparring.corruption import CorruptEither
from sparring.data.graph import TrainGraph
from sparring.integrations.adapter import Adapter, frozen
from sparring.samplers import NegativeSampler
from sparring.testing import ExternalSampler
from sparring.testing.external import dummy_scores


class BridgedModel(KGEModel):
    """What `bridged` adds to a model.

    `loss` pairs each negative that counts with its own triple, so that losses which compare two
    lists of one length take any number of them; `state_dict` holds the sampler too.
    """

    bridge: Adapter

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


def bridged(maker: type[KGEModel], bridge: Adapter) -> type[KGEModel]:
    """The same class of `nn.kge` models with negatives from a bridge; built in the same way."""
    return type(f"Bridged{maker.__name__}", (BridgedModel, maker), {"bridge": bridge})


def contestant(maker: type[KGEModel], options: Mapping[str, Any]) -> ExternalSampler:
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
    return ExternalSampler(maker.__name__, make, widths=(1,), uniform=own)


def adapted(made: Callable[..., NegativeSampler], **options: Any) -> ExternalSampler:
    """A class of our samplers inside PyG, to be judged."""

    def make(graph, width, seed):
        bridge = Adapter(lambda graph: made(graph, k=width, **options), seed=seed)
        model = bridged(ComplEx, bridge)(graph.num_entities, graph.num_relations, 4)
        bridge.judge = dummy_scores
        model.enter(graph.triples)

        def draw(triples):
            flat = torch.stack(model.random_sample(*triples.unbind(1)), 1)
            assert bridge.last is not None
            return flat.unflatten(0, (len(triples), width)), bridge.last[1].mask

        return draw

    return ExternalSampler(f"{made.__name__} in PyG", make)


class Tails(CorruptEither):
    """One query per triple, always for its tail."""

    def head_rate(self, graph: TrainGraph) -> Float[Tensor, "R"]:
        """Never for the head."""
        return torch.zeros(graph.num_relations)


class LinkNegatives(BaseSampler):
    """Wrong targets of each link, from a bridge, for PyG's `LinkLoader`.

    A loader in `triplet` mode keeps the source of a link and replaces its target, so the bridge's
    sides are `Tails`; for sources, add the reversed links as relations of their own, as is usual
    for graph networks. Negatives know the relation of their link, and known links are told from
    unknown ones, neither of which PyG's own negatives of links do. `batch.n_id` holds the nodes
    that `batch.src_index` [B], `batch.dst_pos_index` [B] and `batch.dst_neg_index` [B, K] number.

    Args:
        data: whose `edge_index` and `edge_type`, if it has one, are the training graph.
        bridge: to the sampler; its `judge`, if the sampler asks for scores, is for you to set.
        around: a sampler of PyG that finds the neighbourhood of the nodes; None for the nodes
            alone, without edges, for models that keep the whole graph.
        relation: of the links that the loader is given; those of `data` by default.

    Raises:
        ValueError: for sides that replace sources; later, for a loader in another mode or with
            another number of negatives.
    """

    def __init__(
        self,
        data: Data,
        bridge: Adapter,
        *,
        around: BaseSampler | None = None,
        relation: Int[Tensor, "L"] | None = None,
    ):
        assert data.edge_index is not None and data.num_nodes is not None
        source, target = data.edge_index
        own = data.edge_type if "edge_type" in data else torch.zeros_like(source)
        self.relation = own if relation is None else relation
        triples = torch.stack([source, own, target], 1)
        self.k = bridge.enter(TrainGraph(triples, data.num_nodes, int(own.max()) + 1)).k
        self.bridge, self.around = bridge, around
        if not isinstance(bridge.corruption, Tails):
            raise ValueError(
                "a link loader has room for wrong targets only; build the bridge with "
                f"corruption=Tails, not {type(bridge.corruption).__name__}"
            )

    @property
    def edge_permutation(self) -> Any:
        return None if self.around is None else self.around.edge_permutation

    def sample_from_nodes(self, index: NodeSamplerInput, **options: Any) -> SamplerOutput:
        """The neighbourhood of nodes, by the sampler around this one."""
        if self.around is not None:
            return self.around.sample_from_nodes(index, **options)
        nothing = index.node.new_empty(0)
        return SamplerOutput(node=index.node, row=nothing, col=nothing, edge=nothing)

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput:
        """The ends of links, K wrong targets of each, and what is around them all."""
        if neg_sampling is None or not neg_sampling.is_triplet() or neg_sampling.amount != self.k:
            raise ValueError(
                f"the sampler draws k={self.k} wrong targets for each link; build the loader with "
                f'neg_sampling=NegativeSampling("triplet", {self.k}), not {neg_sampling}'
            )
        triples = torch.stack([index.row, self.relation[index.input_id], index.col], 1)
        corrupted, _ = self.bridge.draw(triples)
        ends = torch.cat([index.row, index.col, corrupted[..., 2].flatten()])
        node, place = ends.unique(return_inverse=True)
        found = self.sample_from_nodes(NodeSamplerInput(None, node))
        row, col, wrong = place.split([len(triples), len(triples), self.k * len(triples)])
        found.metadata = (index.input_id, row, col, wrong.view(-1, self.k), None)
        return found
