"""A generator that picks from a small random pool, rewarded by the main model's scores.

A neural generator that proposes from all entities, or from a sample shared by the batch."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Negatives, Queries, ungroup
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator, draw, policy_gradient
from sparring.generators.softmax import NeuralPolicy
from sparring.registry import register
from sparring.samplers.base import Capabilities


@register("kbgan", example={"k": 2, "pool": 6, "model": {"name": "distmult", "dim": 4}})
class KBGAN(NegativeGenerator):
    """A softmax inside a pool of uniform entities, trained to offer what scores high.

    The reward of a draw is its score under the main model before the step, the baseline the mean
    reward of the epoch before (0 in the first), and the gradient REINFORCE's (Cai & Wang, 2018).
    With a reward linear in the policy the optimum is a single candidate per pool.

    Args:
        model: the generator's own model; any main model will do.
        pool: uniform entities to choose from, drawn anew for every query.
        temperature: of the softmax.
        epoch: queries after which the baseline is renewed; None for the training triples, which
            is an epoch for sides that ask one query per triple.
        lr: of the generator's own Adam.
        compat: add up the generator's loss over the batch, as the authors' program does, instead
            of averaging it.

    Raises:
        ValueError: for a pool of one entity or none.
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
        epoch: int | None = None,
        lr: float = 1e-3,
        compat: bool = False,
    ):
        super().__init__(k)
        if pool < 2:
            raise ValueError(f"a pool to choose from holds at least 2 entities; got pool={pool}")
        self.num_entities, self.pool, self.temperature = graph.num_entities, pool, temperature
        self.epoch = len(graph.triples) if epoch is None else epoch
        self.compat = compat
        self.model: Any = model  # a main model, of which this room knows no class
        self.seen = 0
        self.register_buffer("baseline", torch.zeros(()))
        self.register_buffer("total", torch.zeros(2, dtype=torch.double))  # reward, draws
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.pool), queries.anchor.device
        pool = torch.randint(self.num_entities, shape, generator=rng, device=device)
        log_share = (self.model(queries)(pool) / self.temperature).log_softmax(1)
        pick = draw(log_share, self.k, rng)
        log_policy = log_share.gather(1, pick)
        log_q = log_policy.detach() + math.log(self.pool / self.num_entities)
        return Negatives.from_ids(queries, pool.gather(1, pick), log_q, log_policy=log_policy)

    def observe(self, feedback):
        mask, log_policy = feedback.negatives.mask, feedback.negatives.log_policy
        reward = feedback.negative.float()
        loss = policy_gradient(log_policy, reward - self.baseline, mask)
        if self.compat:
            loss = loss * mask.sum()
        self.learn(loss + self.model.regularization(feedback.queries))
        self.model.after_step()
        self._remember((reward * mask).sum(), mask.sum(), len(feedback.queries))
        entropy = -(log_policy.detach() * mask).sum() / mask.sum().clamp(min=1)
        return {"reward": (reward * mask).sum() / mask.sum().clamp(min=1), "entropy": entropy}

    def _remember(self, reward: Tensor, draws: Tensor, queries: int) -> None:
        """Count towards the mean reward of this epoch, the baseline of the next."""
        self.total += torch.stack([reward, draws])
        self.seen += queries
        if self.seen >= self.epoch:
            self.baseline.copy_(self.total[0] / self.total[1].clamp(min=1))
            self.total.zero_()
            self.seen = 0

    def get_extra_state(self):
        return super().get_extra_state() | {"seen": self.seen}

    def set_extra_state(self, state):
        super().set_extra_state(state)
        self.seen = state["seen"]


@register("neural-gan", example={"k": 4, "dim": 8, "hidden": 8})
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
        self.capabilities = Capabilities(has_answer_log_q=pool is None, has_log_prob=pool is None)
        self.register_buffer("everyone", torch.arange(size).unsqueeze(0), persistent=False)
        self.policy = NeuralPolicy(graph, dim, hidden)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def sample(self, queries, score, rng):
        within = self.candidates(rng)
        log_share = self.log_share(queries, within)
        pick = draw(log_share, self.k, rng)
        log_policy = log_share.gather(1, pick)
        log_q = log_policy.detach() + math.log(within.shape[1] / self.everyone.shape[1])
        answer = None
        if self.pool is None:
            answer = log_share.detach().gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, within[0][pick], log_q, answer, log_policy)

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
        return whole.gather(1, ungroup(ids, len(queries)))

    def observe(self, feedback):
        mask, log_policy = feedback.negatives.mask, feedback.negatives.log_policy
        reward = feedback.negative.float() - self.entropy * log_policy.detach()
        mean = (reward * mask).sum() / mask.sum().clamp(min=1)
        self.learn(policy_gradient(log_policy, reward - mean, mask))
        return {"reward": mean, "entropy": -log_policy.detach().mean()}
