"""A policy of two steps, group and member, that learns to be proportional to a reward."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, per_query
from sparring.generators.dense import DenseGenerator
from sparring.generators.features import slot_features
from sparring.generators.halving import halve
from sparring.generators.policies import BilinearPolicy
from sparring.graph.knowledge_graph import TrainGraph

FARTHEST = 80.0  # exp(-80) is still above 0 in float32


class FlowGenerator(DenseGenerator):
    """Chooses a group, then one of its entities, with trajectory balance (Bengio et al., 2021).

    As each entity lies in one group there is one way to reach it, and the balance is
    log Z + log q = log reward, with Z learned for each query. The reward is
    exp(score / temperature) * (1 - false_negative), so q becomes proportional to it, as in
    hierarchical flow networks for negatives (FlowNeg). Groups are the first types of entities if
    the graph has types, else about sqrt(N) equal groups that occur with the same relations.

    Args:
        dim: numbers per vector of the policy.
        groups: number of groups, without types; None for about sqrt(N).
        temperature: of the reward.
        floor: share of draws that are uniform.
        lr: of the generator's own Adam.
    """

    schedulable = (("temperature", 1e-6, math.inf), *DenseGenerator.schedulable)
    group: Int[Tensor, "N"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        dim: int = 32,
        groups: int | None = None,
        temperature: float = 1.0,
        floor: float = 0.1,
        lr: float = 1e-2,
    ):
        super().__init__(graph, k=k, floor=floor)
        self.temperature = temperature
        pairs, size = graph.entity_type, graph.num_entities
        group = alike(graph, groups) if pairs is None else first_types(pairs, size)
        self.num_groups = int(group.max()) + 1
        self.register_buffer("group", group)
        self.member, self.choice = BilinearPolicy(graph, dim), nn.Linear(dim, self.num_groups)
        self.anchor_total = nn.Embedding(graph.num_entities, 1)
        self.relation_total = nn.Embedding(2 * graph.num_relations, 1)
        nn.init.zeros_(self.anchor_total.weight)
        nn.init.zeros_(self.relation_total.weight)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def log_policy(self, queries):
        of_group = self.choice(self.member.context(queries)).log_softmax(1)
        return self.within(self.member(queries, self.everyone)) + of_group[:, self.group]

    def within(self, logit: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Log-softmax among the entities of each group, none of them too far below the best."""
        rows = logit.mT.contiguous()  # sums over rows are the fast ones
        rows = (rows - rows.detach().amax(0)).clamp(min=-FARTHEST)
        mass = rows.new_zeros(self.num_groups, len(logit)).index_add(0, self.group, rows.exp())
        return (rows - mass.log()[self.group]).mT

    def log_total(self, queries: Queries) -> Float[Tensor, "B 1"]:
        """Log of the sum of rewards, as learned."""
        return self.anchor_total(queries.anchor) + self.relation_total(queries.relation)

    def observe(self, feedback):
        queries, offered = feedback.queries, feedback.negatives
        drawn = per_query(offered.ids, len(queries))
        trusted = 1 - offered.false_negative
        mask = offered.mask & (trusted > 0)
        reward = feedback.negative / self.temperature + trusted.masked_fill(~mask, 1.0).log()
        flow = self.log_total(queries) + self.log_policy(queries).gather(1, drawn)
        gap = (flow - reward).masked_fill(~mask, 0.0)
        loss = (gap**2).sum() / mask.sum().clamp(min=1)
        self.learn(loss)
        return {"generator_loss": loss.detach()}


def first_types(pairs: Int[Tensor, "P 2"], size: int) -> Int[Tensor, "N"]:
    """The first type of each of `size` entities, as a number from 0; one for all without type."""
    entity, kind = pairs.unbind(1)
    none = torch.full((size,), torch.iinfo(kind.dtype).max, dtype=kind.dtype, device=kind.device)
    return none.scatter_reduce(0, entity, kind, "amin").unique(return_inverse=True)[1]


def alike(graph: TrainGraph, groups: int | None) -> Int[Tensor, "N"]:
    """About equal groups, a power of two of them, of entities that occur alike."""
    wanted = groups if groups is not None else graph.num_entities**0.5
    if wanted < 1:
        raise ValueError(f"entities fall into at least one group; got groups={groups}")
    leaf, depth = halve(slot_features(graph))
    below = max(depth - round(math.log2(wanted)), 0)
    return (leaf >> below).unique(return_inverse=True)[1]
