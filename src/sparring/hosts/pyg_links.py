"""Samplers in the link loaders of PyTorch Geometric.

bridge = Bridge(make, sides=Tails, loss=Softmax(correction="both"))
links = LinkNegatives(data, bridge, around=NeighborSampler(data, [10, 10]))
for batch in LinkLoader(data, links, neg_sampling=NegativeSampling("triplet", k), ...):
    ...  # score (batch.src_index, batch.dst_pos_index) and (batch.src_index, batch.dst_neg_index)
    bridge.hear(positive, negative)
    bridge.own_loss(positive, negative).backward()
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)

from sparring.graph.knowledge_graph import TrainGraph
from sparring.graph.sides import ChosenSide
from sparring.hosts.bridge import Bridge


class Tails(ChosenSide):
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
        bridge: Bridge,
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
        if not isinstance(bridge.sides, Tails):
            raise ValueError(
                "a link loader has room for wrong targets only; build the bridge with sides=Tails, "
                f"not {type(bridge.sides).__name__}"
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
