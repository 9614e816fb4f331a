"""The generator: a student of the main model that proposes negatives, with exact density."""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, Scorer, score_rows
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator
from sparring.generators.false_negatives import (
    CandidateFeatures,
    FalseNegativeClassifier,
    FalseNegativePolicy,
)
from sparring.generators.multi_index import (
    BatchMeanDistribution,
    CellDistribution,
    GroupMeanDistribution,
    InvertedMultiIndex,
    PerQueryDistribution,
)
from sparring.generators.student import StudentModel
from sparring.groups import ungroup
from sparring.kernels.lookup import not_answer
from sparring.kernels.multi_index import Placed
from sparring.optim import TableAdagrad, TableAdam
from sparring.registry import register
from sparring.samplers.base import Capabilities

MANY_ENTITIES = 50_000  # above this, no step touches the vectors of all entities
DRAWS_OF_GROUP = 32  # of the list of a group that an update is about, by default


@dataclass(frozen=True)
class UpdateSchedule:
    """When the student learns, and from what.

    Attributes:
        update_every: training steps from one update to the next.
        update_fraction: share of a batch's queries that an update is about; updates take turns.
        num_uniform: uniform entities per update, shared by its queries. The main model scores them
            without gradient, in addition to the draws.
        assign_per_step: entities that are assigned to cells anew per training step.
        num_draws: draws per query that an update is about, at most; 0 for all of them, or for 32
            of the list of a group.

    Raises:
        ValueError: for counts below 1, or a fraction out of range.
    """

    update_every: int = 2
    update_fraction: float = 0.5
    num_uniform: int = 8
    assign_per_step: int = 256
    num_draws: int = 0

    def __post_init__(self) -> None:
        if self.num_draws < 0:
            raise ValueError(f"num_draws is at least 0; got num_draws={self.num_draws}")
        if self.update_every < 1 or self.assign_per_step < 1 or self.num_uniform < 0:
            raise ValueError(
                "update_every and assign_per_step are at least 1, and num_uniform at least 0; "
                f"got update_every={self.update_every}, assign_per_step={self.assign_per_step}, "
                f"num_uniform={self.num_uniform}"
            )
        if not 0 < self.update_fraction <= 1:
            raise ValueError(
                "update_fraction is above 0 and at most 1; "
                f"got update_fraction={self.update_fraction}"
            )

    @property
    def stride(self) -> int:
        """Updates until every query of a batch has had its turn."""
        return max(1, round(1 / self.update_fraction))

    def is_due(self, step: int) -> bool:
        """Whether the student learns in this step."""
        return step % self.update_every == 0

    def rows(self, step: int, batch: int) -> slice:
        """The queries of a batch that the update of this step is about."""
        turn = step // self.update_every % self.stride
        return slice(turn % batch, None, self.stride)


@dataclass(frozen=True, eq=False)
class PendingUpdate:
    """What a draw leaves for the update that follows, about M of its B queries.

    Attributes:
        batch: B.
        distribution: what the M queries draw from.
        drawn: what was drawn for all queries.
        uniform: U uniform entities, in one list.
        score: how the main model scored them.
    """

    batch: int
    distribution: CellDistribution
    drawn: Placed
    uniform: Placed
    score: Float[Tensor, "M U"]


@register(
    "generator",
    example={"k": 4, "dim": 8, "schedule": {"assign_per_step": 4}},
    aliases=["sparring"],
    renamed={
        "shared": "share_negatives",
        "sharpness": "inverse_temperature",
        "difficulty": "target_hardness",
        "likelihood": "answer_loss_weight",
        "others": "schedule.num_uniform",
        "every": "schedule.update_every",
        "learn_from": "schedule.update_fraction",
        "visits": "schedule.assign_per_step",
        "missing": "false_negatives.missing_rate",
        "weigh": "false_negatives.weight_negatives",
        "tolerate": "false_negatives.max_p_false_negative",
        "avoid": "false_negatives.penalize_target",
    },
)
class NSGenerator(NegativeGenerator):
    """Draws entities that a small student of the main model finds plausible.

    Sampled softmax works best with a proposal close to the softmax of the main model's scores, and
    needs the proposal's density. Here the proposal is a small student model, which gives every
    entity a logit for every query: the inner product of its vector, 32 numbers, with the anchor's,
    multiplied and shifted by the relation, plus a bias (`StudentModel`).

    *Drawing.* Scoring all N entities with the student would cost O(N) per query. So its entity
    vectors are quantized: an inverted multi-index assigns each entity to a cell, a pair of codes
    of the two halves of its vector (`InvertedMultiIndex`). The softmax over cells factors, and a
    draw picks a row of cells, a column, and an entity in the cell. With codes in proportion to the
    fourth root of N this costs O(sqrt(N)) per query. Some draws, `uniform_mix` of them, are
    uniform over all entities.

    *Density.* `log_q` is the exact log-probability of what is drawn, and `answer_log_q` that of
    the answer, so losses with `correction="both"` are unbiased. Known answers never count.

    *Learning.* The student is updated by distillation: forward KL from the softmax of
    score / temperature, on the negatives just drawn, whose scores the main model gave anyway, and
    on a few uniform entities. Both sides are corrected for the density of these candidates, so no
    policy gradient is needed, and the optimum covers all of the target's mass. By default half of
    every second batch is enough. A part of the entities is assigned to cells anew each step, so
    no step waits for a clustering.

    Args:
        k: negatives per query.
        dim: width of the student's vectors; even.
        codes: size of the first codebook; the second has half as many codes.
        share_negatives: draw one list for the whole batch, from the mean of its queries'
            distributions and with the density of that mean. All queries score it in one matrix
            product, so k may be large.
        group_size: above 0, a training step orders its queries by relation, and about so many
            neighbors share one list, drawn from the mean of their distributions and with the
            density of that mean. Groups are equal in size, and are scored by one batched matrix
            product: such a list may be as large as one for the whole batch, and is harder.
        uniform_mix: probability that a draw is uniform. No importance weight exceeds
            N / uniform_mix.
        temperature: of the target; scores are divided by it.
        inverse_temperature: factor on the student's logits for draws; 1 draws what it learned.
        target_hardness: above 0, the share of counted negatives that should score above their
            answer; `inverse_temperature` is then adapted. 0 leaves it alone.
        answer_loss_weight: weight of the cross-entropy of the answers against the candidates, which
            keeps the density at the answer calibrated.
        lr: of the generator's own Adam; above 50,000 entities it uses Adagrad, with 10 * lr.
        schedule: when the student learns, and from what.
        false_negatives: whether to estimate false negatives, and how to treat them.

    Raises:
        ValueError: for options out of range, or fewer than 2 candidates to learn from.
    """

    schedulable = (
        ("uniform_mix", 0.0, 0.999),
        ("temperature", 1e-6, math.inf),
    )
    inverse_temperature: Float[Tensor, ""]
    last_loss: Float[Tensor, ""]
    hardness: Float[Tensor, ""]  # share of counted draws that scored above their answer

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        dim: int = 32,
        codes: int = 128,
        share_negatives: bool = False,
        group_size: int = 0,
        uniform_mix: float = 0.1,
        temperature: float = 1.0,
        inverse_temperature: float = 1.0,
        target_hardness: float = 0.0,
        answer_loss_weight: float = 0.1,
        lr: float = 1e-2,
        schedule: UpdateSchedule = UpdateSchedule(),
        false_negatives: FalseNegativePolicy = FalseNegativePolicy(),
    ):
        super().__init__(k)
        if not (0 <= uniform_mix < 1 and 0 <= target_hardness < 1):
            raise ValueError(
                "uniform_mix and target_hardness are at least 0 and below 1; "
                f"got uniform_mix={uniform_mix}, target_hardness={target_hardness}"
            )
        if temperature <= 0 or inverse_temperature <= 0:
            raise ValueError(
                "temperature and inverse_temperature are above 0; "
                f"got temperature={temperature}, inverse_temperature={inverse_temperature}"
            )
        if group_size < 0 or (group_size and share_negatives):
            raise ValueError(
                "group_size is at least 0, and groups have lists of their own, so share_negatives "
                f"is false with them; got group_size={group_size}, "
                f"share_negatives={share_negatives}"
            )
        if k + schedule.num_uniform < 2:
            raise ValueError(
                "the generator compares candidates of a query, so it needs at least 2 of them; "
                f"got k={k} and num_uniform={schedule.num_uniform}"
            )
        self.num_entities, self.known = graph.num_entities, graph.known
        self.share_negatives, self.group_size = share_negatives, group_size
        self.uniform_mix = uniform_mix
        self.num_draws = schedule.num_draws or (DRAWS_OF_GROUP if group_size else k)
        self.temperature, self.target_hardness = temperature, target_hardness
        self.answer_loss_weight = answer_loss_weight
        self.schedule, self.false_negatives = schedule, false_negatives
        self.capabilities = Capabilities(
            needs_scores=schedule.num_uniform > 0,
            num_extra_scores=-(-schedule.num_uniform // (schedule.update_every * schedule.stride)),
            num_shared=k if share_negatives or group_size else 0,
        )
        many = graph.num_entities > MANY_ENTITIES
        self.student = self.new_student(graph, dim, many)
        self.index = self.new_index(
            graph, dim, codes, schedule.update_every * schedule.assign_per_step
        )
        self.index.initialize(self.student.vectors, self.student.bias)
        self.register_buffer("inverse_temperature", torch.tensor(float(inverse_temperature)))
        for name in ("last_loss", "hardness"):
            self.register_buffer(name, torch.zeros(()))
        rate = false_negatives.missing_rate
        self.classifier = FalseNegativeClassifier(graph, missing_rate=rate) if rate else None
        parameters = list(self.parameters())
        self.optimizer = (
            TableAdagrad(parameters, lr=10 * lr) if many else TableAdam(parameters, lr=lr)
        )
        self.steps = 0
        self.current: tuple[Queries, CellDistribution] | None = None  # of the present step
        self.pending: PendingUpdate | None = None
        self.features: CandidateFeatures | None = None

    def new_student(self, graph: TrainGraph, dim: int, sparse: bool) -> StudentModel:
        """The student of this generator."""
        return StudentModel(graph, dim=dim, sparse=sparse)

    def new_index(
        self, graph: TrainGraph, dim: int, codes: int, assign_per_update: int
    ) -> InvertedMultiIndex:
        """The cells that this generator draws from."""
        return InvertedMultiIndex(
            graph.num_entities, dim=dim, codes=codes, assign_per_update=assign_per_update
        )

    @torch.no_grad()
    def distribution(self, queries: Queries) -> CellDistribution:
        """What a batch of queries draws from."""
        if self.current is not None and self.current[0] is queries:
            return self.current[1]
        own = self._own_distributions(queries)
        if self.group_size:
            return GroupMeanDistribution.of(own, num_groups(len(queries), self.group_size))
        return BatchMeanDistribution.of(own) if self.share_negatives else own

    def arrange(self, queries: Queries) -> Queries:
        if not self.group_size:
            return queries
        return queries[queries.relation.argsort(stable=True)]

    def _own_distributions(self, queries: Queries) -> PerQueryDistribution:
        return self.index.distribution(self.student.context(queries) * self.inverse_temperature)

    def log_density(
        self, distribution: CellDistribution, ids: Int[Tensor, "G K"]
    ) -> Float[Tensor, "B K"]:
        """Log-probability that a draw is each of `ids`, known or not."""
        return self._log_density(distribution, distribution.place(ids))

    @torch.no_grad()
    def _log_density(
        self,
        distribution: CellDistribution,
        placed: Placed,
        uniform_share: float = 0.0,
    ) -> Float[Tensor, "B K"]:
        """Log-probability that a candidate is each of these entities, known or not.

        Args:
            uniform_share: share of candidates that are uniform entities instead of draws.
        """
        return distribution.log_prob_of(placed, 1 - (1 - self.uniform_mix) * (1 - uniform_share))

    @torch.no_grad()
    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        distribution = self.distribution(queries)
        if self.training:  # densities of the same step are asked for next
            self.current = queries, distribution
        placed = distribution.draw_placed(self.k, rng, self.uniform_mix)
        ids = placed.ids
        if self.training and self.schedule.num_uniform and self.schedule.is_due(self.steps):
            shape = (1, self.schedule.num_uniform)
            uniform = torch.randint(self.num_entities, shape, generator=rng, device=ids.device)
            rows = self.schedule.rows(self.steps, len(queries))
            scores = score_rows(score, rows, uniform).float()
            both = placed, distribution.place(uniform)
            self.pending = PendingUpdate(len(queries), distribution[rows], *both, scores)
        known = self.known.contains(queries, ids)
        log_q = self._log_density(distribution, placed).masked_fill(known, -torch.inf)
        answer_log_q = self.log_density(distribution, queries.answer.unsqueeze(1)).squeeze(1)
        drawn = Negatives.from_ids(queries, ids, log_q, answer_log_q)
        drawn = replace(drawn, mask=drawn.mask & ~known)
        if self.classifier is None:
            return drawn
        self.features = self.classifier.featurize(queries, ids, log_q, answer_log_q)
        return self.false_negatives.apply(drawn, self.classifier(self.features) * drawn.mask)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        log_q = self.log_density(self.distribution(queries), ids)
        return log_q.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"]:
        answer = queries.answer.unsqueeze(1)
        return self.log_density(self.distribution(queries), answer).squeeze(1)

    @torch.no_grad()
    def log_prob_scorer(self, queries: Queries) -> Scorer:
        """Log-probability of any candidates for each query by itself, known answers included."""
        own = self._own_distributions(queries)
        return lambda ids: self.log_density(own, ids)

    @torch.no_grad()
    def topk(self, queries: Queries, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order; all, if there are fewer."""
        return self._own_distributions(queries).topk(min(m, self.num_entities))

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        if self.schedule.is_due(self.steps):
            self._update(feedback)
        self.features = self.current = None
        self.steps += 1
        return {"generator_loss": self.last_loss.clone(), "hardness": self.hardness.clone()}

    def _update(self, feedback: Feedback) -> None:
        loss = self._distillation_loss(feedback)
        if self.classifier is not None and self.features is not None:
            loss = loss + self.classifier.loss(self.features)
        self.learn(loss)
        self.last_loss.copy_(loss.detach())
        self.index.assign(self.student.vectors, self.student.bias)
        mask = feedback.negatives.mask
        above = (feedback.negative > feedback.positive.unsqueeze(1)) & mask
        self.hardness.copy_(above.count_nonzero() / mask.count_nonzero().clamp(min=1))
        if self.target_hardness:
            # at most a hundredth per update, in logarithm
            gap = (1 - self.hardness / self.target_hardness).clamp(-1, 1)
            self.inverse_temperature *= (0.01 * gap).exp()
            self.inverse_temperature.clamp_(0.05, 20.0)

    def _distillation_loss(self, feedback: Feedback) -> Float[Tensor, ""]:
        """Forward KL of the student from its target, on some of the queries."""
        batch = len(feedback.queries)
        rows = self.schedule.rows(self.steps, batch)
        queries, pending = feedback.queries[rows], self.pending
        self.pending = None
        drawn, some = feedback.negatives, slice(self.num_draws)
        pick = lambda part: (part if len(part) == 1 else ungroup(part, batch)[rows])[:, some]
        ids = pick(drawn.ids)
        score, mask = feedback.negative[rows, some].float(), drawn.mask[rows, some]
        p_false_negative = drawn.p_false_negative[rows, some]
        if pending is None or pending.batch != batch:
            log_q = self.log_density(self.distribution(queries), ids)
        else:
            distribution, uniform = pending.distribution, pending.uniform.ids
            wrong = not_answer(queries.answer, uniform) & ~self.known.contains(queries, uniform)
            p_uniform = self._p_false_negative(queries, distribution, uniform)
            same = drawn.blocks[0] is pending.drawn.ids
            placed = pending.drawn.map(pick) if same else distribution.place(ids)
            pairs = zip(placed, pending.uniform)
            placed = Placed(*(torch.cat([a, b.expand(len(ids), -1)], 1) for a, b in pairs))
            ids = placed.ids
            score = torch.cat([score, pending.score], 1)
            mask = torch.cat([mask, wrong], 1)
            p_false_negative = torch.cat([p_false_negative, p_uniform], 1)
            # of draws and uniform entities together (balance heuristic: Veach & Guibas, 1995)
            log_q = self._log_density(distribution, placed, uniform.shape[1] / ids.shape[1])
        # known answers are candidates to which the target gives nothing
        logit = (score / self.temperature - log_q).masked_fill(~mask, -torch.inf)
        if self.false_negatives.penalize_target:
            logit += (1 - p_false_negative).log()
        target = logit.softmax(1).nan_to_num(0.0)
        return self.student.distillation_loss(queries, ids, log_q, target, self.answer_loss_weight)

    def p_false_negative(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return self._p_false_negative(queries, self.distribution(queries), ids)

    @torch.no_grad()
    def _p_false_negative(
        self, queries: Queries, distribution: CellDistribution, ids: Int[Tensor, "G K"]
    ) -> Float[Tensor, "B K"]:
        if self.classifier is None:
            return super().p_false_negative(queries, ids)
        log_q = self.log_density(distribution, ids)
        answer_log_q = self.log_density(distribution, queries.answer.unsqueeze(1)).squeeze(1)
        return self.classifier(self.classifier.featurize(queries, ids, log_q, answer_log_q))

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.steps = state["steps"]


@cache
def num_groups(batch: int, size: int) -> int:
    """How many equal groups of about this size a batch has: the divisor of it that fits best."""
    divisors = [number for number in range(1, batch + 1) if batch % number == 0]
    return min(divisors, key=lambda number: abs(math.log(number * size / batch)), default=1)
