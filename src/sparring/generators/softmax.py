"""Networks that say how likely each entity is to be proposed for a query.

Generators that weigh every entity: for graphs whose entities fit into one row of numbers.

A policy of two steps, group and member, that learns to be proportional to a reward."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Feedback, Negatives, Queries, group_rows, ungroup
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator, draw, floored, halve, slot_features
from sparring.registry import register


class Policy(nn.Module, ABC):
    """Logits as inner products of a vector for the query and one for each entity, plus a bias.

    Args:
        dim: numbers per vector.
    """

    def __init__(self, graph: TrainGraph, dim: int):
        super().__init__()
        self.entity = _table(graph.num_entities, dim)
        self.bias = nn.Parameter(torch.zeros(graph.num_entities))

    @abstractmethod
    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        """The vector of each query."""

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Logits of candidates, up to a constant per query."""
        context = group_rows(self.context(queries), len(ids))
        logits = context @ self.entity(ids).mT + self.bias[ids].unsqueeze(1)
        return logits.flatten(0, 1)


class BilinearPolicy(Policy):
    """The query is the product of its anchor's and its relation's vector."""

    def __init__(self, graph: TrainGraph, dim: int):
        super().__init__(graph, dim)
        self.relation = _table(2 * graph.num_relations, dim, scale=1.0)

    def context(self, queries):
        return self.entity(queries.anchor) * self.relation(queries.relation)


class NeuralPolicy(Policy):
    """The query is a network with one hidden layer over its anchor's and relation's vectors."""

    def __init__(self, graph: TrainGraph, dim: int, hidden: int):
        super().__init__(graph, dim)
        self.anchor = _table(graph.num_entities, dim)
        self.relation = _table(2 * graph.num_relations, dim)
        self.network = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def context(self, queries):
        given = [self.anchor(queries.anchor), self.relation(queries.relation)]
        return self.network(torch.cat(given, 1))


def _table(rows: int, dim: int, scale: float | None = None) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=dim**-0.5 if scale is None else scale)
    return table


class DenseGenerator(NegativeGenerator):
    """Draws from a distribution over all entities, mixed with a uniform floor; exact density.

    Args:
        floor: share of draws that are uniform: no importance weight exceeds N / floor.

    Raises:
        ValueError: if the floor is no share.
    """

    schedulable = (("floor", 0.0, 0.999),)
    everyone: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph, *, k: int, floor: float):
        super().__init__(k)
        if not 0 <= floor < 1:
            raise ValueError(f"the uniform floor is a share of the draws below 1; got {floor}")
        self.floor = floor
        everyone = torch.arange(graph.num_entities).unsqueeze(0)
        self.register_buffer("everyone", everyone, persistent=False)

    @abstractmethod
    def log_policy(self, queries: Queries) -> Float[Tensor, "B N"]:
        """Log-probability of every entity, floor not included."""

    def floored(self, log_policy: Float[Tensor, "B M"]) -> Float[Tensor, "B M"]:
        """Log-probabilities with the floor mixed in."""
        return floored(log_policy, self.floor, self.everyone.shape[1])

    @torch.no_grad()
    def sample(self, queries, score, rng):
        log_q = self.floored(self.log_policy(queries))
        ids = draw(log_q, self.k, rng)
        answer = log_q.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, ids, log_q.gather(1, ids), answer)

    def log_prob(self, queries, ids):
        return self.floored(self.log_policy(queries).gather(1, ungroup(ids, len(queries))))


@register("softmax-generator", example={"k": 4, "dim": 8})
class SoftmaxGenerator(DenseGenerator):
    """Learns the softmax of the main model's scores by forward KL, without policy gradient.

    The scores of the candidates just offered, corrected for their density, are the target; the
    optimum is q in proportion to (1 - p_false_negative) * exp(score / temperature), to which it
    stays mass-covering. The reference for generators that need not weigh every entity.

    Args:
        dim: numbers per vector of the policy.
        temperature: of the target.
        floor: share of draws that are uniform.
        likelihood: weight of the log-probability of the answers, which keeps the density at the
            answer calibrated.
        lr: of the generator's own Adam.

    Raises:
        ValueError: for a single candidate, whose softmax is 1 whatever its score.
    """

    schedulable = (("temperature", 1e-6, math.inf), *DenseGenerator.schedulable)

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        dim: int = 32,
        temperature: float = 1.0,
        floor: float = 0.1,
        likelihood: float = 0.1,
        lr: float = 1e-2,
    ):
        super().__init__(graph, k=k, floor=floor)
        if k < 2:
            raise ValueError(
                f"forward KL compares the candidates of a query, so it needs at least 2; got k={k}"
            )
        self.temperature, self.likelihood = temperature, likelihood
        self.policy = BilinearPolicy(graph, dim)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def log_policy(self, queries):
        return self.policy(queries, self.everyone).log_softmax(1)

    def observe(self, feedback):
        queries = feedback.queries
        log_policy = self.log_policy(queries)
        drawn = log_policy.gather(1, ungroup(feedback.negatives.ids, len(queries)))
        target = self.target(feedback, self.floored(drawn.detach()))
        apart = -(target * drawn).sum(1).mean()
        answer = -log_policy.gather(1, queries.answer.unsqueeze(1)).mean()
        self.learn(apart + self.likelihood * answer)
        return {"generator_loss": apart.detach(), "generator_answer_loss": answer.detach()}

    def target(self, feedback: Feedback, log_q: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Self-normalised importance weights of the candidates; 0 in rows where none counts."""
        counted = feedback.negatives.mask * (1 - feedback.negatives.p_false_negative)
        logit = feedback.negative.to(log_q.dtype) / self.temperature - log_q + counted.log()
        return logit.softmax(1).nan_to_num(0.0)


FARTHEST = 80.0  # exp(-80) is still above 0 in float32


@register("flow", example={"k": 4, "dim": 8})
class FlowGenerator(DenseGenerator):
    """Chooses a group, then one of its entities, with trajectory balance (Bengio et al., 2021).

    As each entity lies in one group there is one way to reach it, and the balance is
    log Z + log q = log reward, with Z learned for each query. The reward is
    exp(score / temperature) * (1 - p_false_negative), so q becomes proportional to it, as in
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
        drawn = ungroup(offered.ids, len(queries))
        trusted = 1 - offered.p_false_negative
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
