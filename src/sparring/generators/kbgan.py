"""A generator that picks from a small random pool, rewarded by the main model's scores."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.batch import Negatives
from sparring.generators.base import NegativeGenerator, draw, policy_gradient
from sparring.graph.knowledge_graph import TrainGraph


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

    states_answer_density = closed_density = False
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
        trace = log_share.gather(1, pick)
        log_q = trace.detach() + math.log(self.pool / self.num_entities)
        return Negatives.offer(queries, pool.gather(1, pick), log_q, trace=trace)

    def observe(self, feedback):
        mask, trace = feedback.negatives.mask, feedback.negatives.trace
        reward = feedback.negative.float()
        loss = policy_gradient(trace, reward - self.baseline, mask)
        if self.compat:
            loss = loss * mask.sum()
        self.learn(loss + self.model.penalty(feedback.queries))
        self.model.after_step()
        self._remember((reward * mask).sum(), mask.sum(), len(feedback.queries))
        entropy = -(trace.detach() * mask).sum() / mask.sum().clamp(min=1)
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
