"""Generators with a logit for every entity, for graphs whose entities fit into one row of numbers.

They are the reference for generators that need not score all entities.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Feedback, Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator, sample_columns, structural_features
from sparring.generators.tree import balanced_tree
from sparring.groups import group_rows, ungroup
from sparring.registry import register

MAX_LOGIT_GAP = 80.0  # exp(-80) is still above 0 in float32


class Policy(nn.Module, ABC):
    """Logits: inner products of a vector of the query and one of each entity, plus a bias.

    Args:
        dim: vector width.
    """

    def __init__(self, graph: TrainGraph, dim: int):
        super().__init__()
        self.entity = _embedding(graph.num_entities, dim)
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
        self.relation = _embedding(2 * graph.num_relations, dim, std=1.0)

    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        return self.entity(queries.anchor) * self.relation(queries.relation)


class NeuralPolicy(Policy):
    """The query is a network with one hidden layer over its anchor's and relation's vectors."""

    def __init__(self, graph: TrainGraph, dim: int, hidden: int):
        super().__init__(graph, dim)
        self.anchor = _embedding(graph.num_entities, dim)
        self.relation = _embedding(2 * graph.num_relations, dim)
        self.network = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        vectors = [self.anchor(queries.anchor), self.relation(queries.relation)]
        return self.network(torch.cat(vectors, 1))


def _embedding(rows: int, dim: int, std: float | None = None) -> nn.Embedding:
    embedding = nn.Embedding(rows, dim)
    nn.init.normal_(embedding.weight, std=dim**-0.5 if std is None else std)
    return embedding


class DenseGenerator(NegativeGenerator):
    """Draws from a distribution over all entities, mixed with the uniform one; exact density.

    Args:
        k: negatives per query.
        uniform_mix: probability that a draw is uniform. No importance weight exceeds
            N / uniform_mix.

    Raises:
        ValueError: if `uniform_mix` is not in [0, 1).
    """

    schedulable = (("uniform_mix", 0.0, 0.999),)
    all_ids: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph, *, k: int, uniform_mix: float):
        super().__init__(k)
        if not 0 <= uniform_mix < 1:
            raise ValueError(f"uniform_mix is a probability below 1; got uniform_mix={uniform_mix}")
        self.uniform_mix = uniform_mix
        all_ids = torch.arange(graph.num_entities).unsqueeze(0)
        self.register_buffer("all_ids", all_ids, persistent=False)

    @abstractmethod
    def log_policy(self, queries: Queries) -> Float[Tensor, "B N"]:
        """Log-probability of every entity, before the uniform distribution is mixed in."""

    def mixed(self, log_policy: Float[Tensor, "B M"]) -> Float[Tensor, "B M"]:
        """Log-probabilities with the uniform distribution mixed in."""
        mix = self.uniform_mix
        uniform = math.log(mix / self.all_ids.shape[1]) if mix else -math.inf
        uniform = log_policy.new_full((), uniform)
        return torch.logaddexp(log_policy + math.log1p(-mix), uniform)

    @torch.no_grad()
    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        log_q = self.mixed(self.log_policy(queries))
        ids = sample_columns(log_q, self.k, rng)
        answer = log_q.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, ids, log_q.gather(1, ids), answer)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return self.mixed(self.log_policy(queries).gather(1, ungroup(ids, len(queries))))


@register(
    "softmax-generator",
    example={"k": 4, "dim": 8},
    renamed={"likelihood": "answer_loss_weight"},
)
class SoftmaxGenerator(DenseGenerator):
    """Learns the softmax of the main model's scores by forward KL, without policy gradient.

    The target is the softmax of the scores that the draws have just received, corrected for their
    density. The optimum is q in proportion to (1 - p_false_negative) * exp(score / temperature),
    and q covers all of the target's mass.

    Args:
        k: negatives per query, at least 2.
        dim: vector width of the policy.
        temperature: of the target; scores are divided by it.
        uniform_mix: probability that a draw is uniform.
        answer_loss_weight: weight of the cross-entropy of the answers, which keeps the density at
            the answer calibrated.
        lr: of the generator's own Adam.

    Raises:
        ValueError: for a single candidate, whose softmax is always 1.
    """

    schedulable = (("temperature", 1e-6, math.inf), *DenseGenerator.schedulable)

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        dim: int = 32,
        temperature: float = 1.0,
        uniform_mix: float = 0.1,
        answer_loss_weight: float = 0.1,
        lr: float = 1e-2,
    ):
        super().__init__(graph, k=k, uniform_mix=uniform_mix)
        if k < 2:
            raise ValueError(
                f"forward KL compares the candidates of a query, so it needs at least 2; got k={k}"
            )
        self.temperature, self.answer_loss_weight = temperature, answer_loss_weight
        self.policy = BilinearPolicy(graph, dim)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def log_policy(self, queries: Queries) -> Float[Tensor, "B N"]:
        return self.policy(queries, self.all_ids).log_softmax(1)

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        queries = feedback.queries
        log_policy = self.log_policy(queries)
        drawn = log_policy.gather(1, ungroup(feedback.negatives.ids, len(queries)))
        target = self.target(feedback, self.mixed(drawn.detach()))
        cross_entropy = -(target * drawn).sum(1).mean()
        answer = -log_policy.gather(1, queries.answer.unsqueeze(1)).mean()
        self.learn(cross_entropy + self.answer_loss_weight * answer)
        return {"generator_loss": cross_entropy.detach(), "generator_answer_loss": answer.detach()}

    def target(self, feedback: Feedback, log_q: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Self-normalized importance weights of the candidates; 0 in rows where none counts."""
        p_negative = feedback.negatives.mask * (1 - feedback.negatives.p_false_negative)
        logit = feedback.negative.to(log_q.dtype) / self.temperature - log_q + p_negative.log()
        return logit.softmax(1).nan_to_num(0.0)


@register("flow", example={"k": 4, "dim": 8})
class FlowGenerator(DenseGenerator):
    """Chooses a group, then one of its entities, with trajectory balance (Bengio et al., 2021).

    Each entity lies in one group, so there is one way to reach it, and the balance is
    log Z + log q = log reward, with Z learned for each query. The reward is
    exp(score / temperature) * (1 - p_false_negative), so q becomes proportional to it, as in
    hierarchical flow networks for negatives (FlowNeg). Groups are the first types of entities if
    the graph has types, else about sqrt(N) equal groups that occur with the same relations.

    Args:
        k: negatives per query.
        dim: vector width of the policy.
        groups: number of groups, if the graph has no types; None for about sqrt(N).
        temperature: of the reward.
        uniform_mix: probability that a draw is uniform.
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
        uniform_mix: float = 0.1,
        lr: float = 1e-2,
    ):
        super().__init__(graph, k=k, uniform_mix=uniform_mix)
        self.temperature = temperature
        types, size = graph.entity_type, graph.num_entities
        group = structural_groups(graph, groups) if types is None else first_types(types, size)
        self.num_groups = int(group.max()) + 1
        self.register_buffer("group", group)
        self.member, self.choice = BilinearPolicy(graph, dim), nn.Linear(dim, self.num_groups)
        self.anchor_total = nn.Embedding(graph.num_entities, 1)
        self.relation_total = nn.Embedding(2 * graph.num_relations, 1)
        nn.init.zeros_(self.anchor_total.weight)
        nn.init.zeros_(self.relation_total.weight)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def log_policy(self, queries: Queries) -> Float[Tensor, "B N"]:
        log_group = self.choice(self.member.context(queries)).log_softmax(1)
        return self.within_groups(self.member(queries, self.all_ids)) + log_group[:, self.group]

    def within_groups(self, logit: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Log-softmax among the entities of each group, none of them too far below the best."""
        rows = logit.mT.contiguous()  # sums over rows are the fast ones
        rows = (rows - rows.detach().amax(0)).clamp(min=-MAX_LOGIT_GAP)
        total = rows.new_zeros(self.num_groups, len(logit)).index_add(0, self.group, rows.exp())
        return (rows - total.log()[self.group]).mT

    def log_total(self, queries: Queries) -> Float[Tensor, "B 1"]:
        """log Z: the log of the sum of rewards, as learned."""
        return self.anchor_total(queries.anchor) + self.relation_total(queries.relation)

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        queries, negatives = feedback.queries, feedback.negatives
        ids = ungroup(negatives.ids, len(queries))
        p_negative = 1 - negatives.p_false_negative
        mask = negatives.mask & (p_negative > 0)
        reward = feedback.negative / self.temperature + p_negative.masked_fill(~mask, 1.0).log()
        flow = self.log_total(queries) + self.log_policy(queries).gather(1, ids)
        gap = (flow - reward).masked_fill(~mask, 0.0)
        loss = (gap**2).sum() / mask.sum().clamp(min=1)
        self.learn(loss)
        return {"generator_loss": loss.detach()}


def first_types(types: Int[Tensor, "P 2"], size: int) -> Int[Tensor, "N"]:
    """The first type of each of `size` entities, numbered from 0; one more for those without.

    Args:
        types: pairs of entity and type.
    """
    entity, kind = types.unbind(1)
    none = torch.full((size,), torch.iinfo(kind.dtype).max, dtype=kind.dtype, device=kind.device)
    return none.scatter_reduce(0, entity, kind, "amin").unique(return_inverse=True)[1]


def structural_groups(graph: TrainGraph, groups: int | None) -> Int[Tensor, "N"]:
    """About equal groups of entities with similar structural features, a power of 2 of them."""
    wanted = groups if groups is not None else graph.num_entities**0.5
    if wanted < 1:
        raise ValueError(f"entities fall into at least one group; got groups={groups}")
    leaf, depth = balanced_tree(structural_features(graph))
    below = max(depth - round(math.log2(wanted)), 0)
    return (leaf >> below).unique(return_inverse=True)[1]
