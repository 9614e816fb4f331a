"""The base class of samplers that learn, and what several of them share: draws and features."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.data.index import query_key, split_key
from sparring.samplers.base import NegativeSampler


class NegativeGenerator(NegativeSampler):
    """A sampler that learns from feedback, with an optimizer of its own.

    The main loss cannot reach its parameters, and its loss cannot reach those of the main model:
    all that passes between them is detached, except `log_policy`, which is the generator's own.
    """

    optimizer: torch.optim.Optimizer

    def p_false_negative(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Estimated probability that each candidate is a fact; 0 for generators without one."""
        return queries.weight.new_zeros(len(queries), ids.shape[1])

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """Take one step of the generator's own optimizer."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "NegativeGenerator":
        moved = super()._apply(fn, recurse)
        self.optimizer.load_state_dict(self.optimizer.state_dict())  # its state moves along
        return moved

    def get_extra_state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def sample_columns(
    log_prob: Float[Tensor, "B M"], k: int, rng: torch.Generator
) -> Int[Tensor, "B k"]:
    """k columns per row, drawn with replacement in proportion to exp(log_prob)."""
    cumulative = log_prob.detach().double().exp().cumsum(1)
    shape, device = (len(cumulative), k), cumulative.device
    u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
    index = torch.searchsorted(cumulative, u * cumulative[:, -1:], right=True)
    return index.clamp_(max=log_prob.shape[1] - 1)


def structural_features(graph: TrainGraph, dim: int = 16, rounds: int = 4) -> Float[Tensor, "N d"]:
    """Principal components of how often each entity is head and tail of each relation.

    Counts enter as log(1 + count). Components have unit variance; where the graph has fewer
    than `dim`, the rest is 0. By subspace iteration from a fixed start (Halko et al., 2011).

    Args:
        dim: number of components.
        rounds: of subspace iteration.
    """
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    relations = 2 * graph.num_relations
    key = query_key(queries.answer, queries.relation, graph.num_relations)
    key, count = key.unique(return_counts=True)
    entity, relation = split_key(key, graph.num_relations)
    value = count.double().log1p()
    mean = value.new_zeros(relations).index_add(0, relation, value) / graph.num_entities

    def project(basis: Tensor) -> Tensor:  # centered counts times basis
        terms = value.unsqueeze(1) * basis[relation]
        total = value.new_zeros(graph.num_entities, basis.shape[1]).index_add(0, entity, terms)
        return total - mean @ basis

    def project_back(columns: Tensor) -> Tensor:  # centered counts, transposed, times columns
        terms = value.unsqueeze(1) * columns[entity]
        total = value.new_zeros(relations, columns.shape[1]).index_add(0, relation, terms)
        return total - torch.outer(mean, columns.sum(0))

    width = min(dim, relations, graph.num_entities)
    rng = torch.Generator().manual_seed(0)
    basis = torch.randn(relations, width, generator=rng, dtype=torch.double).to(value.device)
    for _ in range(rounds):
        basis = torch.linalg.qr(project_back(project(basis)))[0]
    left, size, _ = torch.linalg.svd(project(basis), full_matrices=False)
    nonzero = size > 1e-9 * size.amax().clamp(min=1e-30)
    features = left * nonzero * graph.num_entities**0.5
    return torch.nn.functional.pad(features, (0, dim - width)).float()
