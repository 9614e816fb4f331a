"""Samplers with parameters of their own, and how they draw and learn.

What an entity is like, read off the training graph.

A balanced binary tree over points: halved again and again along their widest direction."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.data.index import query_key, split_key
from sparring.samplers.base import NegativeSampler


class NegativeGenerator(NegativeSampler):
    """A sampler that feedback trains, by an optimiser of its own.

    The main loss cannot reach its parameters, and its loss cannot reach the main model's: all
    that passes between them is detached, but for `log_policy`, which is the generator's own.
    """

    optimizer: torch.optim.Optimizer

    def p_false_negative(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Estimated probability that each candidate is in truth a fact; here, no estimate: 0."""
        return queries.weight.new_zeros(len(queries), ids.shape[1])

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """One step of the generator's own optimiser."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _apply(self, fn, recurse=True):
        moved = super()._apply(fn, recurse)
        self.optimizer.load_state_dict(self.optimizer.state_dict())  # its state goes along
        return moved

    def get_extra_state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def draw(log_share: Float[Tensor, "B M"], k: int, rng: torch.Generator) -> Int[Tensor, "B k"]:
    """k columns per row, drawn with replacement in proportion to exp(log_share)."""
    upto = log_share.detach().double().exp().cumsum(1)
    lot = torch.rand(len(upto), k, generator=rng, device=upto.device, dtype=torch.double)
    pick = torch.searchsorted(upto, lot * upto[:, -1:], right=True)
    return pick.clamp_(max=log_share.shape[1] - 1)


def floored(log_share: Float[Tensor, "B M"], floor: float, entities: int) -> Float[Tensor, "B M"]:
    """Log-probabilities with a uniform floor mixed in, from which the share `floor` is drawn."""
    flat = math.log(floor / entities) if floor else -math.inf
    return torch.logaddexp(log_share + math.log1p(-floor), log_share.new_full((), flat))


def policy_gradient(
    log_policy: Float[Tensor, "B K"], advantage: Float[Tensor, "B K"], mask: Bool[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """What to minimise to raise the expected advantage of the draws that count (REINFORCE)."""
    return -(advantage * mask * log_policy).sum() / mask.sum().clamp(min=1)


def slot_features(graph: TrainGraph, dim: int = 16, rounds: int = 4) -> Float[Tensor, "N d"]:
    """Principal components of which relations each entity stands at which end of.

    Counts enter as log(1 + count). Components have unit variance; where the graph has fewer
    than `dim`, the rest is 0. By subspace iteration from a fixed start (Halko et al., 2011).
    """
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    slots = 2 * graph.num_relations
    place = query_key(queries.answer, queries.relation, graph.num_relations)
    key, count = place.unique(return_counts=True)
    row, slot = split_key(key, graph.num_relations)
    value = count.double().log1p()
    mean = value.new_zeros(slots).index_add(0, slot, value) / graph.num_entities

    def project(basis: Tensor) -> Tensor:  # centred counts times basis
        spread = value.unsqueeze(1) * basis[slot]
        whole = value.new_zeros(graph.num_entities, basis.shape[1]).index_add(0, row, spread)
        return whole - mean @ basis

    def reflect(columns: Tensor) -> Tensor:  # centred counts, transposed, times columns
        spread = value.unsqueeze(1) * columns[row]
        whole = value.new_zeros(slots, columns.shape[1]).index_add(0, slot, spread)
        return whole - torch.outer(mean, columns.sum(0))

    width = min(dim, slots, graph.num_entities)
    rng = torch.Generator().manual_seed(0)
    basis = torch.randn(slots, width, generator=rng, dtype=torch.double).to(value.device)
    for _ in range(rounds):
        basis = torch.linalg.qr(reflect(project(basis)))[0]
    component = project(basis)
    left, size, _ = torch.linalg.svd(component, full_matrices=False)
    real = size > 1e-9 * size.amax().clamp(min=1e-30)
    features = left * real * graph.num_entities**0.5
    return torch.nn.functional.pad(features, (0, dim - width)).float()


def halve(points: Float[Tensor, "N d"], rounds: int = 8) -> tuple[Int[Tensor, "N"], int]:
    """The leaf of each point and the depth of the tree, which is log2(N), rounded up.

    At each level every node's points are sorted along the dominant direction of their spread,
    found by power iteration, and the first half goes left. Leaves are in [0, 2 ** depth), and
    a point's node at level l is leaf >> (depth - l).
    """
    size, depth = len(points), max(math.ceil(math.log2(len(points))), 1)
    node = torch.zeros(size, dtype=torch.long, device=points.device)
    for level in range(depth):
        along = _along(points, node, 2**level, rounds)
        order = along.argsort(stable=True)
        order = order[node[order].argsort(stable=True)]
        count = torch.bincount(node, minlength=2**level)
        first = count.cumsum(0) - count
        rank = torch.empty_like(node)
        rank[order] = torch.arange(size, device=points.device) - first[node[order]]
        node = 2 * node + (rank >= (count[node] + 1) // 2)
    return node, depth


def _along(
    points: Float[Tensor, "N d"], node: Int[Tensor, "N"], nodes: int, rounds: int
) -> Float[Tensor, "N"]:
    """Place of each point along the dominant direction of its node."""
    gather = lambda rows: rows.new_zeros(nodes, rows.shape[1]).index_add(0, node, rows)
    count = gather(torch.ones_like(points[:, :1])).clamp(min=1)
    centred = points - (gather(points) / count)[node]
    # directions start at each node's widest coordinate
    widest = gather(centred**2).argmax(1)
    direction = torch.nn.functional.one_hot(widest, points.shape[1]).to(points.dtype)
    for _ in range(rounds):
        along = (centred * direction[node]).sum(1, keepdim=True)
        direction = torch.nn.functional.normalize(gather(along * centred), dim=1)
    return (centred * direction[node]).sum(1)
