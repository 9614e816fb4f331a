"""Our samplers in TorchKGE's training loops, and TorchKGE's samplers in our conformance kit.

sampler = SparringNegativeSampler(kg, adapter, model)
criterion = ObservedLoss(MarginLoss(0.5), adapter)
...
    negative_heads, negative_tails = sampler.corrupt_batch(heads, tails, relations)
    loss = criterion(*model(heads, tails, relations, negative_heads, negative_tails))
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchkge.data_structures import (  # pyright: ignore[reportMissingImports]
    KnowledgeGraph as TorchKGEGraph,
)
from torchkge.models.interfaces import Model  # pyright: ignore[reportMissingImports]
from torchkge.sampling import (  # pyright: ignore[reportMissingImports]
    BernoulliNegativeSampler,
    UniformNegativeSampler,
)
from torchkge.sampling import (  # pyright: ignore[reportMissingImports]
    NegativeSampler as TorchKGESampler,
)

from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.evaluation.ranking import eval_mode
from sparring.integrations.adapter import Adapter
from sparring.samplers import NegativeSampler
from sparring.testing import ExternalSampler, dummy_scores
from sparring.testing.external import Draw


class SparringNegativeSampler(TorchKGESampler):
    """One of our samplers as a TorchKGE negative sampler.

    Args:
        kg: the training facts.
        adapter: of the sampler, which is built for these facts.
        model: for samplers that need scores; None for those that ignore them.
    """

    def __init__(
        self,
        kg: TorchKGEGraph,
        adapter: Adapter,
        model: Model | None = None,
        kg_val: TorchKGEGraph | None = None,
        kg_test: TorchKGEGraph | None = None,
    ) -> None:
        triples = torch.stack([kg.head_idx, kg.relations, kg.tail_idx], 1)
        sampler = adapter.bind(TrainGraph(triples, kg.n_ent, kg.n_rel))
        super().__init__(kg, kg_val, kg_test, n_neg=sampler.k)
        self.adapter, self.model = adapter, model
        if model is not None:
            adapter.score_triples = self.score_triples

    def score_triples(self, triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
        """Scores of triples in evaluation mode, without gradients."""
        assert self.model is not None
        device = next(self.model.parameters()).device
        with eval_mode(self.model):
            head, relation, tail = triples.to(device).unbind(1)
            return self.model.scoring_function(head, tail, relation)

    def corrupt_batch(
        self,
        heads: Int[Tensor, "B"],
        tails: Int[Tensor, "B"],
        relations: Int[Tensor, "B"],
        n_neg: int | None = None,
    ) -> tuple[Int[Tensor, "KB"], Int[Tensor, "KB"]]:
        """Heads and tails; the first negative of every triple, then the second of every triple.

        Raises:
            ValueError: for another number of negatives than the sampler draws.
        """
        if n_neg not in (None, self.n_neg):
            raise ValueError(
                f"the sampler draws k={self.n_neg} negatives for each triple; got n_neg={n_neg}"
            )
        corrupted, _ = self.adapter.draw(torch.stack([heads, relations, tails], 1))
        flat = corrupted.transpose(0, 1).flatten(0, 1)
        return flat[:, 0], flat[:, 2]


class ObservedLoss(nn.Module):
    """A criterion that also passes the scores it is given on to an adapter.

    Candidates that do not count, such as the answer, are left out. The adapter's `loss`, if it
    has one, replaces the criterion.
    """

    def __init__(self, criterion: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.criterion, self.adapter = criterion, adapter

    def forward(
        self, positive: Float[Tensor, "KB"], negative: Float[Tensor, "KB"]
    ) -> Float[Tensor, ""]:
        """The loss of the triples that were corrupted last.

        Raises:
            RuntimeError: if the scores are not of those triples.
        """
        last_draw = self.adapter.last_draw
        if last_draw is None or last_draw[1].mask.numel() != len(negative):
            raise RuntimeError(
                f"{len(negative)} scores of negatives are not those of the last batch that was "
                "corrupted; corrupt, score and compare one batch after the other"
            )
        mask = last_draw[1].mask.to(negative.device)
        k = mask.shape[1]
        positive, negative = (x.unflatten(0, (k, -1)).mT for x in (positive, negative))
        self.adapter.record_scores(positive[:, 0], negative)
        if self.adapter.loss is not None:
            return self.adapter.compute_loss(positive[:, 0], negative)
        return self.criterion(positive[mask], negative[mask])


def to_torchkge(graph: TrainGraph) -> TorchKGEGraph:
    """The training facts as TorchKGE's `KnowledgeGraph`."""
    head, relation, tail = graph.triples.unbind(1)
    return TorchKGEGraph(
        kg={"heads": head, "relations": relation, "tails": tail},
        ent2ix={entity: entity for entity in range(graph.num_entities)},
        rel2ix={relation: relation for relation in range(graph.num_relations)},
    )


def train_and_test(graph: KnowledgeGraph) -> tuple[TorchKGEGraph, TorchKGEGraph]:
    """Training and test facts as TorchKGE's graphs; each filters ranks by the facts of both."""
    both = torch.cat([graph.train, graph.test])
    whole = to_torchkge(TrainGraph(both, len(graph.entities), len(graph.relations)))
    train, test = whole.split_kg(sizes=(len(graph.train), len(graph.test)))
    return train, test


def external_sampler(
    sampler_class: type[TorchKGESampler], options: Mapping[str, Any]
) -> ExternalSampler:
    """A sampler class of TorchKGE for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        torch.manual_seed(seed)
        number = {"n_neg": k} if "n_neg" in inspect.signature(sampler_class).parameters else {}
        sampler = sampler_class(to_torchkge(graph), **number, **options)

        def draw(
            triples: Int[Tensor, "B 3"],
        ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            head, relation, tail = triples.unbind(1)
            drawn = sampler.corrupt_batch(head, tail, relation, n_neg=k)
            by_triple = [column.view(-1, len(triples)).mT for column in drawn]
            relations = (
                by_triple[2] if len(drawn) > 2 else relation[:, None].expand_as(by_triple[0])
            )
            corrupted = torch.stack([by_triple[0], relations, by_triple[1]], 2)
            return corrupted, torch.ones(corrupted.shape[:2], dtype=torch.bool)

        return draw

    uniform = sampler_class in (UniformNegativeSampler, BernoulliNegativeSampler)
    return ExternalSampler(sampler_class.__name__, make, uniform=uniform)


def adapted_sampler(
    make_sampler: Callable[..., NegativeSampler], **options: Any
) -> ExternalSampler:
    """One of our sampler classes inside TorchKGE, for the conformance kit."""

    def make(graph: TrainGraph, k: int, seed: int) -> Draw:
        adapter = Adapter(lambda graph: make_sampler(graph, k=k, **options), seed=seed)
        adapter.score_triples = dummy_scores
        sampler = SparringNegativeSampler(to_torchkge(graph), adapter)

        def draw(
            triples: Int[Tensor, "B 3"],
        ) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
            drawn = sampler.corrupt_batch(triples[:, 0], triples[:, 2], triples[:, 1])
            head, tail = (column.view(k, -1).mT for column in drawn)
            relation = triples[:, 1:2].expand_as(head)
            assert adapter.last_draw is not None
            return torch.stack([head, relation, tail], 2), adapter.last_draw[1].mask

        return draw

    return ExternalSampler(f"{make_sampler.__name__} in TorchKGE", make)
