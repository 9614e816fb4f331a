"""A neural generator that proposes from all entities, or from a sample shared by the batch."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, per_query
from sparring.generators.base import NegativeGenerator, draw, policy_gradient
from sparring.generators.policies import NeuralPolicy
from sparring.graph.knowledge_graph import TrainGraph


class NeuralGAN(NegativeGenerator):
    """A network over (anchor, relation) with a softmax over entities, trained by policy gradient.

    The reward is the main model's score plus `entropy` times the surprise of the draw, less the
    mean of the batch; its optimum is q in proportion to exp(score / entropy). The family of
    IGAN (Wang et al., 2018) and KCGAN, not a reproduction of either.

    Args:
        dim: numbers per vector.
        hidden: width of the hidden layer.
        pool: uniform entities that the batch chooses from; None for all entities.
        entropy: 0 lets the policy collapse to one candidate per query.
        lr: of the generator's own Adam.

    Raises:
        ValueError: for a pool that is empty or larger than the graph.
    """

    schedulable = (("entropy", 0.0, math.inf),)
    everyone: Int[Tensor, "1 N"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        dim: int = 32,
        hidden: int = 64,
        pool: int | None = None,
        entropy: float = 1.0,
        lr: float = 1e-3,
    ):
        super().__init__(k)
        size = graph.num_entities
        if pool is not None and not 0 < pool <= size:
            raise ValueError(f"a pool of {pool} cannot be drawn from {size} entities")
        self.pool, self.entropy = pool, entropy
        self.states_answer_density = self.closed_density = pool is None
        self.register_buffer("everyone", torch.arange(size).unsqueeze(0), persistent=False)
        self.policy = NeuralPolicy(graph, dim, hidden)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def sample(self, queries, score, rng):
        within = self.candidates(rng)
        log_share = self.log_share(queries, within)
        pick = draw(log_share, self.k, rng)
        trace = log_share.gather(1, pick)
        log_q = trace.detach() + math.log(within.shape[1] / self.everyone.shape[1])
        answer = None
        if self.pool is None:
            answer = log_share.detach().gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        return Negatives.offer(queries, within[0][pick], log_q, answer, trace)

    def candidates(self, rng: torch.Generator) -> Int[Tensor, "1 M"]:
        """The entities to choose from, each once."""
        if self.pool is None:
            return self.everyone
        lot = torch.rand(self.everyone.shape, generator=rng, device=self.everyone.device)
        return lot.topk(self.pool, dim=1).indices

    def log_share(self, queries: Queries, ids: Int[Tensor, "1 M"]) -> Float[Tensor, "B M"]:
        """Log-probability of each of `ids` among them."""
        return self.policy(queries, ids).log_softmax(1)

    def log_prob(self, queries, ids):
        if self.pool is not None:
            return None
        whole = self.log_share(queries, self.everyone)
        return whole.gather(1, per_query(ids, len(queries)))

    def observe(self, feedback):
        mask, trace = feedback.negatives.mask, feedback.negatives.trace
        reward = feedback.negative.float() - self.entropy * trace.detach()
        mean = (reward * mask).sum() / mask.sum().clamp(min=1)
        self.learn(policy_gradient(trace, reward - mean, mask))
        return {"reward": mean, "entropy": -trace.detach().mean()}
