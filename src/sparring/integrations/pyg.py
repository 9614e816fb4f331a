"""Our samplers in PyTorch Geometric: in the models of `nn.kge`, and in its link loaders.

adapter = Adapter(lambda graph: NSGenerator(graph, k=8))
model = with_adapter(ComplEx, adapter)(num_nodes, num_relations, hidden_channels)
loader = model.loader(head_index, rel_type, tail_index, batch_size=512)

adapter = Adapter(make_sampler, corruption=CorruptTail, loss=SampledSoftmax(correction="both"))
links = NegativeLinkSampler(data, adapter, neighbors=NeighborSampler(data, [10, 10]))
for batch in LinkLoader(data, links, neg_sampling=NegativeSampling("triplet", k), ...):
    ...  # score (batch.src_index, batch.dst_pos_index) and (batch.src_index, batch.dst_neg_index)
    adapter.record_scores(positive, negative)
    adapter.compute_loss(positive, negative).backward()
"""

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
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)

from sparring.corruption import CorruptEither
from sparring.data.graph import TrainGraph
from sparring.evaluation.ranking import eval_mode
from sparring.integrations.adapter import Adapter
from sparring.samplers import NegativeSampler
from sparring.testing import ExternalSampler, dummy_scores
from sparring.testing.external import Draw


class AdaptedKGEModel(KGEModel):
    """What `with_adapter` adds to a model of `nn.kge`.

    `loss` pairs each negative that counts with its own triple, so that losses which compare two
    lists of one length take any number of negatives. `state_dict` holds the sampler too.
    """

    adapter: Adapter

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.drawn: tuple[Tensor, Tensor] | None = None
        self.positive_scores: Tensor | None = None
        self.adapter.score_triples = self.score_triples

    def bind(self, triples: Int[Tensor, "T 3"]) -> None:
        """Build the sampler for these training triples."""
        self.adapter.bind(TrainGraph(triples, self.num_nodes, self.num_relations))

    def loader(
        self,
        head_index: Int[Tensor, "T"],
        rel_type: Int[Tensor, "T"],
        tail_index: Int[Tensor, "T"],
        **options: Any,
    ) -> Any:
        """A loader of these triples; those of the first loader are the training graph."""
        if self.adapter.sampler is None:
            self.bind(torch.stack([head_index, rel_type, tail_index], 1))
        return super().loader(head_index, rel_type, tail_index, **options)

    def score_triples(self, triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
        """Scores of triples in evaluation mode, without gradients."""
        with eval_mode(self):
            return super().forward(*triples.to(self.node_emb.weight.device).unbind(1))

    @torch.no_grad()
    def random_sample(
        self,
        head_index: Int[Tensor, "B"],
        rel_type: Int[Tensor, "B"],
        tail_index: Int[Tensor, "B"],
    ) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"], Int[Tensor, "M"]]:
        """The negatives of the loss that is being computed; elsewhere, all that are drawn."""
        if self.drawn is not None:
            corrupted, mask = self.drawn
            head, relation, tail = corrupted[mask].unbind(1)
        else:
            corrupted, _ = self.adapter.draw(torch.stack([head_index, rel_type, tail_index], 1))
            head, relation, tail = corrupted.flatten(0, 1).unbind(1)
        return head, relation, tail

    def loss(
        self,
        head_index: Int[Tensor, "B"],
        rel_type: Int[Tensor, "B"],
        tail_index: Int[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """The model's own loss on drawn negatives, or that of the adapter."""
        triples = torch.stack([head_index, rel_type, tail_index], 1)
        corrupted, mask = self.adapter.draw(triples)
        if self.adapter.loss is not None:
            positive = self(*triples.unbind(1))
            negative = self(*corrupted.flatten(0, 1).unbind(1)).view(mask.shape)
            self.adapter.record_scores(positive, negative)
            return self.adapter.compute_loss(positive, negative)
        row = mask.nonzero()[:, 0]
        self.drawn, self.positive_scores = (corrupted, mask), None
        try:
            return super().loss(*triples[row].unbind(1))
        finally:
            self.drawn = None

    def forward(
        self,
        head_index: Int[Tensor, "M"],
        rel_type: Int[Tensor, "M"],
        tail_index: Int[Tensor, "M"],
    ) -> Float[Tensor, "M"]:
        """Scores of triples; those that a loss asks for are recorded."""
        scores = super().forward(head_index, rel_type, tail_index)
        if self.drawn is None:
            return scores
        if self.positive_scores is None:  # a loss scores its triples first
            self.positive_scores = scores.detach()
            return scores
        mask = self.drawn[1]
        positive = scores.new_zeros(len(mask))
        positive[mask.nonzero()[:, 0]] = self.positive_scores
        negative = scores.new_zeros(mask.shape).masked_scatter(mask, scores)
        self.adapter.record_scores(positive, negative)
        return negative[mask]  # the same, but their gradients are recorded

    def get_extra_state(self) -> dict[str, Any]:
        return self.adapter.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.adapter.load_state_dict(state)


def with_adapter(model_class: type[KGEModel], adapter: Adapter) -> type[KGEModel]:
    """The same class of `nn.kge` models with negatives from an adapter, and the same arguments."""
    return type(
        f"Adapted{model_class.__name__}", (AdaptedKGEModel, model_class), {"adapter": adapter}
    )


def external_sampler(model_class: type[KGEModel], options: Mapping[str, Any]) -> ExternalSampler:
    """The negatives of a class of `nn.kge` models, for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        torch.manual_seed(seed)
        model = model_class(graph.num_entities, graph.num_relations, 4, **options)

        def draw(
            triples: Int[Tensor, "B 3"],
        ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            corrupted = torch.stack(model.random_sample(*triples.unbind(1)), 1)
            corrupted = corrupted.unflatten(0, (len(triples), -1))
            return corrupted, torch.ones(corrupted.shape[:2], dtype=torch.bool)

        return draw

    uniform = model_class.random_sample is KGEModel.random_sample
    return ExternalSampler(model_class.__name__, make, widths=(1,), uniform=uniform)


def adapted_sampler(
    make_sampler: Callable[..., NegativeSampler], **options: Any
) -> ExternalSampler:
    """One of our sampler classes inside PyG, for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        adapter = Adapter(lambda graph: make_sampler(graph, k=k, **options), seed=seed)
        model = with_adapter(ComplEx, adapter)(graph.num_entities, graph.num_relations, 4)
        adapter.score_triples = dummy_scores
        adapter.bind(graph)

        def draw(
            triples: Int[Tensor, "B 3"],
        ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            corrupted = torch.stack(model.random_sample(*triples.unbind(1)), 1)
            assert adapter.last_draw is not None
            return corrupted.unflatten(0, (len(triples), k)), adapter.last_draw[1].mask

        return draw

    return ExternalSampler(f"{make_sampler.__name__} in PyG", make)


class CorruptTail(CorruptEither):
    """One query per triple, always for its tail."""

    def __init__(self, graph: TrainGraph) -> None:
        super().__init__(graph)
        self.rate.zero_()


class NegativeLinkSampler(BaseSampler):
    """Negative targets of each link, from an adapter, for PyG's `LinkLoader`.

    A loader in `triplet` mode keeps the source of a link and replaces its target, so the adapter
    is built with `CorruptTail`. For negative sources, add the reversed links as relations of their
    own, as is usual for graph networks. Unlike PyG's own negatives, these depend on the relation of
    the link, and may leave out known links. `batch.n_id` holds the nodes that `batch.src_index`
    [B], `batch.dst_pos_index` [B] and `batch.dst_neg_index` [B, K] number.

    Args:
        data: the training graph: its `edge_index` and, if it has one, `edge_type`.
        adapter: of the sampler. If the sampler needs scores, set `score_triples` yourself.
        neighbors: a sampler of PyG that finds the neighborhood of the nodes; None for the nodes
            alone, without edges, for models that keep the whole graph.
        relation: relations of the links that the loader is given; those of `data` by default.

    Raises:
        ValueError: for a corruption that replaces sources; later, for a loader in another mode or
            with another number of negatives.
    """

    def __init__(
        self,
        data: Data,
        adapter: Adapter,
        *,
        neighbors: BaseSampler | None = None,
        relation: Int[Tensor, "L"] | None = None,
    ) -> None:
        assert data.edge_index is not None and data.num_nodes is not None
        source, target = data.edge_index
        own = data.edge_type if "edge_type" in data else torch.zeros_like(source)
        self.relation = own if relation is None else relation
        triples = torch.stack([source, own, target], 1)
        self.k = adapter.bind(TrainGraph(triples, data.num_nodes, int(own.max()) + 1)).k
        self.adapter, self.neighbors = adapter, neighbors
        if not isinstance(adapter.corruption, CorruptTail):
            raise ValueError(
                "a link loader takes negative targets only; build the adapter with "
                f"corruption=CorruptTail, not {type(adapter.corruption).__name__}"
            )

    @property
    def edge_permutation(self) -> Any:
        return None if self.neighbors is None else self.neighbors.edge_permutation

    def sample_from_nodes(
        self, index: NodeSamplerInput, **options: Any
    ) -> SamplerOutput | HeteroSamplerOutput:
        """The neighborhood of nodes, from `neighbors`."""
        if self.neighbors is not None:
            return self.neighbors.sample_from_nodes(index, **options)
        nothing = index.node.new_empty(0)
        return SamplerOutput(node=index.node, row=nothing, col=nothing, edge=nothing)

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput | HeteroSamplerOutput:
        """The ends of links, K negative targets of each, and the neighborhood of all of them."""
        if neg_sampling is None or not neg_sampling.is_triplet() or neg_sampling.amount != self.k:
            raise ValueError(
                f"the sampler draws k={self.k} negative targets for each link; build the loader "
                f'with neg_sampling=NegativeSampling("triplet", {self.k}), not {neg_sampling}'
            )
        triples = torch.stack([index.row, self.relation[index.input_id], index.col], 1)
        corrupted, _ = self.adapter.draw(triples)
        ends = torch.cat([index.row, index.col, corrupted[..., 2].flatten()])
        node, position = ends.unique(return_inverse=True)
        output = self.sample_from_nodes(NodeSamplerInput(None, node))
        row, col, negative = position.split([len(triples), len(triples), self.k * len(triples)])
        output.metadata = (index.input_id, row, col, negative.view(-1, self.k), None)
        return output
