"""Samplers as TorchKGE's, for training loops like those of its documentation.

sampler = SparringSampler(kg, bridge, model)
criterion = Overheard(MarginLoss(0.5), bridge)
...
    negative_heads, negative_tails = sampler.corrupt_batch(heads, tails, relations)
    loss = criterion(*model(heads, tails, relations, negative_heads, negative_tails))"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchkge.data_structures import KnowledgeGraph
from torchkge.models.interfaces import Model
from torchkge.sampling import BernoulliNegativeSampler, NegativeSampler, UniformNegativeSampler

from sparring.data.graph import KnowledgeGraph as SplitGraph
from sparring.data.graph import TrainGraph
from sparring.integrations.adapter import Adapter, frozen
from sparring.samplers import NegativeSampler as Ours
from sparring.testing import ExternalSampler
from sparring.testing.external import dummy_scores


class SparringSampler(NegativeSampler):
    """A sampler of ours as one of TorchKGE's.

    Args:
        bridge: to the sampler, which is built for the facts of `kg`.
        model: whose scores the sampler may ask for; None for samplers that ignore them.
    """

    def __init__(
        self,
        kg: KnowledgeGraph,
        bridge: Adapter,
        model: Model | None = None,
        kg_val: KnowledgeGraph | None = None,
        kg_test: KnowledgeGraph | None = None,
    ):
        triples = torch.stack([kg.head_idx, kg.relations, kg.tail_idx], 1)
        sampler = bridge.enter(TrainGraph(triples, kg.n_ent, kg.n_rel))
        super().__init__(kg, kg_val, kg_test, n_neg=sampler.k)
        self.bridge, self.model = bridge, model
        if model is not None:
            bridge.judge = self.judge

    def judge(self, triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
        """The model's scores of triples, in evaluation mode and without a trace."""
        assert self.model is not None
        device = next(self.model.parameters()).device
        with frozen(self.model):
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
        corrupted, _ = self.bridge.draw(torch.stack([heads, relations, tails], 1))
        flat = corrupted.transpose(0, 1).flatten(0, 1)
        return flat[:, 0], flat[:, 2]


class Overheard(nn.Module):
    """A criterion that passes the scores it is given on to a bridge.

    Candidates that do not count, such as the answer, are left out. The bridge's `loss`, if it has
    one, replaces the criterion.
    """

    def __init__(self, criterion: nn.Module, bridge: Adapter):
        super().__init__()
        self.criterion, self.bridge = criterion, bridge

    def forward(
        self, positive: Float[Tensor, "KB"], negative: Float[Tensor, "KB"]
    ) -> Float[Tensor, ""]:
        """The loss of the triples that were corrupted last.

        Raises:
            RuntimeError: if these are the scores of other triples than were drawn.
        """
        drawn = self.bridge.last
        if drawn is None or drawn[1].mask.numel() != len(negative):
            raise RuntimeError(
                f"{len(negative)} scores of negatives are not those of the last batch that was "
                "corrupted; corrupt, score and compare one batch after the other"
            )
        mask = drawn[1].mask.to(negative.device)
        width = mask.shape[1]
        positive, negative = (x.unflatten(0, (width, -1)).mT for x in (positive, negative))
        self.bridge.hear(positive[:, 0], negative)
        if self.bridge.loss is not None:
            return self.bridge.own_loss(positive[:, 0], negative)
        return self.criterion(positive[mask], negative[mask])


def facts_of(graph: TrainGraph) -> KnowledgeGraph:
    """The same facts in TorchKGE's form."""
    head, relation, tail = graph.triples.unbind(1)
    return KnowledgeGraph(
        kg={"heads": head, "relations": relation, "tails": tail},
        ent2ix={entity: entity for entity in range(graph.num_entities)},
        rel2ix={relation: relation for relation in range(graph.num_relations)},
    )


def splits_of(graph: SplitGraph) -> tuple[KnowledgeGraph, KnowledgeGraph]:
    """Training and test facts in TorchKGE's form; each knows all of both, to filter ranks by."""
    both = torch.cat([graph.train, graph.test])
    whole = facts_of(TrainGraph(both, len(graph.entities), len(graph.relations)))
    train, test = whole.split_kg(sizes=(len(graph.train), len(graph.test)))
    return train, test


def contestant(maker: type[NegativeSampler], options: Mapping[str, Any]) -> ExternalSampler:
    """A sampler class of TorchKGE, to be judged."""

    def make(graph, width, seed):
        torch.manual_seed(seed)
        wide = {"n_neg": width} if "n_neg" in inspect.signature(maker).parameters else {}
        sampler = maker(facts_of(graph), **wide, **options)

        def draw(triples):
            head, relation, tail = triples.unbind(1)
            found = sampler.corrupt_batch(head, tail, relation, n_neg=width)
            by_triple = [part.view(-1, len(triples)).mT for part in found]
            other = by_triple[2] if len(found) > 2 else relation[:, None].expand_as(by_triple[0])
            corrupted = torch.stack([by_triple[0], other, by_triple[1]], 2)
            return corrupted, torch.ones(corrupted.shape[:2], dtype=torch.bool)

        return draw

    uniform = maker in (UniformNegativeSampler, BernoulliNegativeSampler)
    return ExternalSampler(maker.__name__, make, uniform=uniform)


def adapted(made: Callable[..., Ours], **options: Any) -> ExternalSampler:
    """A class of our samplers inside TorchKGE, to be judged."""

    def make(graph, width, seed):
        bridge = Adapter(lambda graph: made(graph, k=width, **options), seed=seed)
        bridge.judge = dummy_scores
        sampler = SparringSampler(facts_of(graph), bridge)

        def draw(triples):
            found = sampler.corrupt_batch(triples[:, 0], triples[:, 2], triples[:, 1])
            head, tail = (part.view(width, -1).mT for part in found)
            relation = triples[:, 1:2].expand_as(head)
            assert bridge.last is not None
            return torch.stack([head, relation, tail], 2), bridge.last[1].mask

        return draw

    return ExternalSampler(f"{made.__name__} in TorchKGE", make)
