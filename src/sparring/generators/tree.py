"""A balanced binary tree with an entity at each leaf: exact density and draws in log2(N) steps."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Feedback, Negatives, Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator, structural_features
from sparring.groups import group_rows
from sparring.registry import register


@register("adversarial-tree", example={"k": 4})
class AdversarialTree(NegativeGenerator):
    """Draws what the graph itself makes likely, by a binary tree with an entity at each leaf.

    At each node a logistic model of the query decides between left and right. The nodes learn
    from the answers of each batch by maximum likelihood, so the tree approaches the distribution
    of answers, independent of the main model's scores (Bamler & Mandt, 2020). `log_prob` can be
    added to the scores of a model that was trained with an uncorrected loss.

    Queries are described by structural features of their anchor, and by the mean features of the
    answers of their relation. The tree halves the entities along the main direction of the
    queries that they answer.

    Args:
        k: negatives per query.
        dim: features of anchor and relation each.
        lr: of the generator's own Adam.
    """

    anchor_feature: Float[Tensor, "N d"]
    relation_feature: Float[Tensor, "S d"]
    leaf: Int[Tensor, "N"]
    entity: Int[Tensor, "L"]
    forked: Float[Tensor, "L"]

    def __init__(self, graph: TrainGraph, *, k: int, dim: int = 16, lr: float = 1e-2):
        super().__init__(k)
        queries = tail_and_head_queries(graph.triples, graph.num_relations)
        anchor = structural_features(graph, dim)
        relation = group_means(anchor[queries.answer], queries.relation, 2 * graph.num_relations)
        self.register_buffer("anchor_feature", anchor)
        self.register_buffer("relation_feature", relation)
        answered = group_means(self.features(queries), queries.answer, graph.num_entities)
        leaf, self.depth = balanced_tree(answered)
        entity = torch.zeros(2**self.depth, dtype=torch.long, device=leaf.device)
        entity[leaf] = torch.arange(graph.num_entities, device=leaf.device)
        self.register_buffer("leaf", leaf)
        self.register_buffer("entity", entity)
        self.register_buffer("forked", find_forks(leaf, self.depth))
        self.node = nn.Embedding(2**self.depth, 2 * dim + 1)
        nn.init.zeros_(self.node.weight)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def features(self, queries: Queries) -> Float[Tensor, "B f"]:
        """What the nodes see of each query; the last feature is 1."""
        anchor = self.anchor_feature[queries.anchor]
        relation = self.relation_feature[queries.relation]
        return torch.cat([anchor, relation, torch.ones_like(anchor[:, :1])], 1)

    def log_branch(
        self,
        features: Float[Tensor, "B f"],
        node: Int[Tensor, "G K"],
        right: Int[Tensor, "G K"],
    ) -> Float[Tensor, "B K"]:
        """Log-probability of going right (1) or left (0) at nodes; 0 where there is no choice."""
        logit = group_rows(features, len(node)) @ self.node(node).mT
        log_prob = F.logsigmoid((2 * right - 1).unsqueeze(1) * logit)
        return (log_prob * self.forked[node].unsqueeze(1)).flatten(0, 1)

    @torch.no_grad()
    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        features = self.features(queries)
        position = torch.zeros(len(queries), self.k, dtype=torch.long, device=features.device)
        log_q = features.new_zeros(position.shape)
        for level in range(self.depth):
            node = 2**level + position
            p_right = self.log_branch(features, node, torch.ones_like(node)).exp()
            u = torch.rand(p_right.shape, generator=rng, device=p_right.device)
            right = ((u < p_right) & (self.forked[node] > 0)).long()
            log_q = log_q + self.log_branch(features, node, right)
            position = 2 * position + right
        answer = self.log_prob(queries, queries.answer.unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, self.entity[position], log_q, answer)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        features, leaf = self.features(queries), self.leaf[ids]
        log_q = features.new_zeros(len(queries), ids.shape[1])
        for level in range(self.depth):
            node = 2**level + (leaf >> (self.depth - level))
            right = (leaf >> (self.depth - level - 1)) & 1
            log_q = log_q + self.log_branch(features, node, right)
        return log_q

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        queries = feedback.queries
        loss = -self.log_prob(queries, queries.answer.unsqueeze(1)).mean()
        self.learn(loss)
        return {"generator_loss": loss.detach()}


def balanced_tree(points: Float[Tensor, "N d"], rounds: int = 8) -> tuple[Int[Tensor, "N"], int]:
    """The leaf of each point and the depth of the tree, which is log2(N), rounded up.

    At each level every node's points are sorted along the principal direction of their spread,
    found by power iteration, and the first half goes left. Leaves are in [0, 2 ** depth), and
    a point's node at level l is leaf >> (depth - l).
    """
    size, depth = len(points), max(math.ceil(math.log2(len(points))), 1)
    node = torch.zeros(size, dtype=torch.long, device=points.device)
    for level in range(depth):
        coordinate = _principal_coordinate(points, node, 2**level, rounds)
        order = coordinate.argsort(stable=True)
        order = order[node[order].argsort(stable=True)]
        count = torch.bincount(node, minlength=2**level)
        first = count.cumsum(0) - count
        rank = torch.empty_like(node)
        rank[order] = torch.arange(size, device=points.device) - first[node[order]]
        node = 2 * node + (rank >= (count[node] + 1) // 2)
    return node, depth


def _principal_coordinate(
    points: Float[Tensor, "N d"], node: Int[Tensor, "N"], nodes: int, rounds: int
) -> Float[Tensor, "N"]:
    """Coordinate of each point along the principal direction of its node."""
    gather = lambda rows: rows.new_zeros(nodes, rows.shape[1]).index_add(0, node, rows)
    count = gather(torch.ones_like(points[:, :1])).clamp(min=1)
    centered = points - (gather(points) / count)[node]
    # directions start at each node's widest coordinate
    widest = gather(centered**2).argmax(1)
    direction = F.one_hot(widest, points.shape[1]).to(points.dtype)
    for _ in range(rounds):
        coordinate = (centered * direction[node]).sum(1, keepdim=True)
        direction = F.normalize(gather(coordinate * centered), dim=1)
    return (centered * direction[node]).sum(1)


def group_means(
    rows: Float[Tensor, "M d"], group: Int[Tensor, "M"], groups: int
) -> Float[Tensor, "S d"]:
    """Mean row of each group; 0 for an empty group."""
    total = rows.new_zeros(groups, rows.shape[1]).index_add(0, group, rows)
    count = torch.bincount(group, minlength=groups).clamp(min=1).unsqueeze(1)
    return total / count


def find_forks(leaf: Int[Tensor, "N"], depth: int) -> Float[Tensor, "L"]:
    """1 at nodes with entities on both sides, else 0; node n has children 2 n and 2 n + 1."""
    sizes = torch.zeros(2 ** (depth + 1), dtype=torch.long, device=leaf.device)
    for level in range(depth + 1):
        node = 2**level + (leaf >> (depth - level))
        sizes += torch.bincount(node, minlength=len(sizes))
    return (sizes.view(-1, 2).amin(1) > 0).float()
