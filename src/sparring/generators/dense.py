"""Generators that weigh every entity: for graphs whose entities fit into one row of numbers."""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, per_query
from sparring.generators.base import NegativeGenerator, draw, floored
from sparring.generators.policies import BilinearPolicy
from sparring.graph.knowledge_graph import TrainGraph


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
        return Negatives.offer(queries, ids, log_q.gather(1, ids), answer)

    def log_prob(self, queries, ids):
        return self.floored(self.log_policy(queries).gather(1, per_query(ids, len(queries))))


class SoftmaxGenerator(DenseGenerator):
    """Learns the softmax of the main model's scores by forward KL, without policy gradient.

    The scores of the candidates just offered, corrected for their density, are the target; the
    optimum is q in proportion to (1 - false_negative) * exp(score / temperature), to which it
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
        drawn = log_policy.gather(1, per_query(feedback.negatives.ids, len(queries)))
        target = self.target(feedback, self.floored(drawn.detach()))
        apart = -(target * drawn).sum(1).mean()
        answer = -log_policy.gather(1, queries.answer.unsqueeze(1)).mean()
        self.learn(apart + self.likelihood * answer)
        return {"generator_loss": apart.detach(), "generator_answer_loss": answer.detach()}

    def target(self, feedback: Feedback, log_q: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Self-normalised importance weights of the candidates; 0 in rows where none counts."""
        counted = feedback.negatives.mask * (1 - feedback.negatives.false_negative)
        logit = feedback.negative.to(log_q.dtype) / self.temperature - log_q + counted.log()
        return logit.softmax(1).nan_to_num(0.0)
