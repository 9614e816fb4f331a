"""Generators trained by policy gradient, with the main model's scores as reward."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Feedback, Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator, sample_columns
from sparring.generators.softmax import NeuralPolicy
from sparring.groups import ungroup
from sparring.registry import register
from sparring.samplers.base import Capabilities


def policy_gradient(
    log_policy: Float[Tensor, "B K"], advantage: Float[Tensor, "B K"], mask: Bool[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """A loss whose gradient raises the expected advantage of the draws that count (REINFORCE)."""
    return -(advantage * mask * log_policy).sum() / mask.sum().clamp(min=1)


@register(
    "kbgan",
    example={"k": 2, "pool": 6, "model": {"name": "distmult", "dim": 4}},
    renamed={"epoch": "queries_per_epoch", "compat": "sum_over_batch"},
)
class KBGAN(NegativeGenerator):
    """A softmax inside a pool of uniform entities, trained to draw what scores high.

    The reward of a draw is its score under the main model before the step, the baseline the mean
    reward of the previous epoch (0 in the first), and the gradient REINFORCE's (Cai & Wang, 2018).
    The reward is linear in the policy, so the optimum is a single candidate per pool.

    Args:
        model: the generator's own model: any model for knowledge graph completion.
        k: negatives per query.
        pool: uniform entities to choose from, drawn anew for every query.
        temperature: of the softmax.
        queries_per_epoch: queries after which the baseline is renewed; None for the number of
            training triples, which is an epoch where each triple makes one query.
        lr: of the generator's own Adam.
        sum_over_batch: sum the generator's loss over the batch, as the authors' program does,
            instead of averaging it.

    Raises:
        ValueError: for a pool of fewer than 2 entities.
    """

    capabilities = Capabilities(has_answer_log_q=False, has_log_prob=False)
    schedulable = (("temperature", 1e-6, math.inf),)
    baseline: Float[Tensor, ""]
    total: Float[Tensor, "2"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        model: nn.Module,
        k: int = 1,
        pool: int = 20,
        temperature: float = 1.0,
        queries_per_epoch: int | None = None,
        lr: float = 1e-3,
        sum_over_batch: bool = False,
    ):
        super().__init__(k)
        if pool < 2:
            raise ValueError(f"a pool to choose from holds at least 2 entities; got pool={pool}")
        self.num_entities, self.pool, self.temperature = graph.num_entities, pool, temperature
        self.queries_per_epoch = (
            len(graph.triples) if queries_per_epoch is None else queries_per_epoch
        )
        self.sum_over_batch = sum_over_batch
        self.model: Any = model  # a KGEModel, a class that this package does not import
        self.seen = 0
        self.register_buffer("baseline", torch.zeros(()))
        self.register_buffer("total", torch.zeros(2, dtype=torch.double))  # reward, draws
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape, device = (len(queries), self.pool), queries.anchor.device
        pool = torch.randint(self.num_entities, shape, generator=rng, device=device)
        log_prob = (self.model(queries)(pool) / self.temperature).log_softmax(1)
        column = sample_columns(log_prob, self.k, rng)
        log_policy = log_prob.gather(1, column)
        log_q = log_policy.detach() + math.log(self.pool / self.num_entities)
        return Negatives.from_ids(queries, pool.gather(1, column), log_q, log_policy=log_policy)

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        mask, log_policy = feedback.negatives.mask, feedback.negatives.log_policy
        reward = feedback.negative.float()
        loss = policy_gradient(log_policy, reward - self.baseline, mask)
        if self.sum_over_batch:
            loss = loss * mask.sum()
        self.learn(loss + self.model.regularization(feedback.queries))
        self.model.after_step()
        self._update_baseline((reward * mask).sum(), mask.sum(), len(feedback.queries))
        entropy = -(log_policy.detach() * mask).sum() / mask.sum().clamp(min=1)
        return {"reward": (reward * mask).sum() / mask.sum().clamp(min=1), "entropy": entropy}

    def _update_baseline(self, reward: Tensor, draws: Tensor, queries: int) -> None:
        """Add to the mean reward of this epoch, which is the baseline of the next."""
        self.total += torch.stack([reward, draws])
        self.seen += queries
        if self.seen >= self.queries_per_epoch:
            self.baseline.copy_(self.total[0] / self.total[1].clamp(min=1))
            self.total.zero_()
            self.seen = 0

    def get_extra_state(self) -> dict[str, Any]:
        return super().get_extra_state() | {"seen": self.seen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.seen = state["seen"]


@register(
    "neural-gan",
    example={"k": 4, "dim": 8, "hidden": 8},
    renamed={"entropy": "entropy_weight"},
)
class NeuralGAN(NegativeGenerator):
    """A network over (anchor, relation) with a softmax over entities, trained by policy gradient.

    The reward of a draw is the main model's score minus `entropy_weight` times its
    log-probability, the baseline the mean over the batch. The optimum is q in proportion to
    exp(score / entropy_weight). In the spirit of IGAN (Wang et al., 2018) and KCGAN, and a
    reproduction of neither.

    Args:
        k: negatives per query.
        dim: vector width.
        hidden: width of the hidden layer.
        pool: uniform entities that the batch chooses from; None for all entities.
        entropy_weight: 0 lets the policy collapse to one candidate per query.
        lr: of the generator's own Adam.

    Raises:
        ValueError: for a pool that is empty or larger than the graph.
    """

    schedulable = (("entropy_weight", 0.0, math.inf),)
    all_ids: Int[Tensor, "1 N"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        dim: int = 32,
        hidden: int = 64,
        pool: int | None = None,
        entropy_weight: float = 1.0,
        lr: float = 1e-3,
    ):
        super().__init__(k)
        size = graph.num_entities
        if pool is not None and not 0 < pool <= size:
            raise ValueError(f"a pool of {pool} cannot be drawn from {size} entities")
        self.pool, self.entropy_weight = pool, entropy_weight
        self.capabilities = Capabilities(has_answer_log_q=pool is None, has_log_prob=pool is None)
        self.register_buffer("all_ids", torch.arange(size).unsqueeze(0), persistent=False)
        self.policy = NeuralPolicy(graph, dim, hidden)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        pool = self.candidates(rng)
        log_prob = self.log_prob_in(pool, queries)
        column = sample_columns(log_prob, self.k, rng)
        log_policy = log_prob.gather(1, column)
        log_q = log_policy.detach() + math.log(pool.shape[1] / self.all_ids.shape[1])
        answer = None
        if self.pool is None:
            answer = log_prob.detach().gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, pool[0][column], log_q, answer, log_policy)

    def candidates(self, rng: torch.Generator) -> Int[Tensor, "1 M"]:
        """The entities to choose from, each once."""
        if self.pool is None:
            return self.all_ids
        u = torch.rand(self.all_ids.shape, generator=rng, device=self.all_ids.device)
        return u.topk(self.pool, dim=1).indices

    def log_prob_in(self, pool: Int[Tensor, "1 M"], queries: Queries) -> Float[Tensor, "B M"]:
        """Log-probability of each entity of a pool."""
        return self.policy(queries, pool).log_softmax(1)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        if self.pool is not None:
            return None
        return self.log_prob_in(self.all_ids, queries).gather(1, ungroup(ids, len(queries)))

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        mask, log_policy = feedback.negatives.mask, feedback.negatives.log_policy
        reward = feedback.negative.float() - self.entropy_weight * log_policy.detach()
        mean = (reward * mask).sum() / mask.sum().clamp(min=1)
        self.learn(policy_gradient(log_policy, reward - mean, mask))
        return {"reward": mean, "entropy": -log_policy.detach().mean()}
