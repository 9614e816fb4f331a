"""A balanced tree of coin tosses: exact density and draws in log(N) steps."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Negatives, Queries, group_rows
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator, halve, slot_features
from sparring.registry import register


@register("adversarial-tree", example={"k": 4})
class AdversarialTree(NegativeGenerator):
    """Draws what the graph itself makes likely, by a binary tree with an entity at each leaf.

    At each node a logistic model of the query decides between left and right; the nodes learn
    from the answers of each batch, by maximum likelihood, so the tree approaches the
    distribution of answers and never chases the main model (Bamler & Mandt, 2020). `log_prob`
    can be added to the scores of a model that was trained with an uncorrected loss.

    Queries are described by principal components of how their anchor occurs and of how the
    answers of their relation do. The tree halves the entities along the main direction of the
    queries they answer.

    Args:
        dim: principal components for anchor and relation each.
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
        anchor = slot_features(graph, dim)
        relation = means(anchor[queries.answer], queries.relation, 2 * graph.num_relations)
        self.register_buffer("anchor_feature", anchor)
        self.register_buffer("relation_feature", relation)
        asked = means(self.features(queries), queries.answer, graph.num_entities)
        leaf, self.depth = halve(asked)
        entity = torch.zeros(2**self.depth, dtype=torch.long, device=leaf.device)
        entity[leaf] = torch.arange(graph.num_entities, device=leaf.device)
        self.register_buffer("leaf", leaf)
        self.register_buffer("entity", entity)
        self.register_buffer("forked", forks(leaf, self.depth))
        self.node = nn.Embedding(2**self.depth, 2 * dim + 1)
        nn.init.zeros_(self.node.weight)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def features(self, queries: Queries) -> Float[Tensor, "B f"]:
        """What the nodes see of a query; the last number is 1."""
        anchor = self.anchor_feature[queries.anchor]
        relation = self.relation_feature[queries.relation]
        return torch.cat([anchor, relation, torch.ones_like(anchor[:, :1])], 1)

    def log_turn(
        self,
        features: Float[Tensor, "B f"],
        node: Int[Tensor, "G K"],
        right: Int[Tensor, "G K"],
    ) -> Float[Tensor, "B K"]:
        """Log-probability of turning right (1) or left (0) at nodes; certain without a fork."""
        logit = group_rows(features, len(node)) @ self.node(node).mT
        turn = F.logsigmoid((2 * right - 1).unsqueeze(1) * logit)
        return (turn * self.forked[node].unsqueeze(1)).flatten(0, 1)

    def sample(self, queries, score, rng):
        with torch.no_grad():
            features = self.features(queries)
            place = torch.zeros(len(queries), self.k, dtype=torch.long, device=features.device)
            log_q = features.new_zeros(place.shape)
            for level in range(self.depth):
                node = 2**level + place
                chance = self.log_turn(features, node, torch.ones_like(node)).exp()
                lot = torch.rand(chance.shape, generator=rng, device=chance.device)
                right = ((lot < chance) & (self.forked[node] > 0)).long()
                log_q = log_q + self.log_turn(features, node, right)
                place = 2 * place + right
            answer = self.log_prob(queries, queries.answer.unsqueeze(1)).squeeze(1)
            return Negatives.from_ids(queries, self.entity[place], log_q, answer)

    def log_prob(self, queries, ids):
        features, leaf = self.features(queries), self.leaf[ids]
        log_q = features.new_zeros(len(queries), ids.shape[1])
        for level in range(self.depth):
            node = 2**level + (leaf >> (self.depth - level))
            right = (leaf >> (self.depth - level - 1)) & 1
            log_q = log_q + self.log_turn(features, node, right)
        return log_q

    def observe(self, feedback):
        queries = feedback.queries
        loss = -self.log_prob(queries, queries.answer.unsqueeze(1)).mean()
        self.learn(loss)
        return {"generator_loss": loss.detach()}


def means(rows: Float[Tensor, "M d"], group: Int[Tensor, "M"], groups: int) -> Float[Tensor, "S d"]:
    """Mean row of each group; 0 for a group without."""
    total = rows.new_zeros(groups, rows.shape[1]).index_add(0, group, rows)
    count = torch.bincount(group, minlength=groups).clamp(min=1).unsqueeze(1)
    return total / count


def forks(leaf: Int[Tensor, "N"], depth: int) -> Float[Tensor, "L"]:
    """1 at nodes with entities on both sides, else 0; node n has children 2 n and 2 n + 1."""
    sizes = torch.zeros(2 ** (depth + 1), dtype=torch.long, device=leaf.device)
    for level in range(depth + 1):
        node = 2**level + (leaf >> (depth - level))
        sizes += torch.bincount(node, minlength=len(sizes))
    return (sizes.view(-1, 2).amin(1) > 0).float()
