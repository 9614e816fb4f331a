"""The generator: learns what the main model finds plausible, and draws from that."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, Scorer, not_answer, score_rows
from sparring.data.graph import TrainGraph
from sparring.generators.base import NegativeGenerator
from sparring.generators.false_negatives import CandidateFeatures, FalseNegativeClassifier
from sparring.generators.multi_index import (
    BatchMeanDistribution,
    CellDistribution,
    InvertedMultiIndex,
)
from sparring.generators.student import Proposal, distil
from sparring.optim import TableAdagrad, TableAdam
from sparring.registry import register
from sparring.samplers.base import Capabilities

MANY = 50_000  # entities from which on no step goes through the vectors of all


@dataclass(frozen=True, eq=False)
class PendingUpdate:
    """What a draw leaves for the lesson about some of its queries: M of B.

    Attributes:
        batch: B.
        shares: of the M queries.
        others: uniform entities, and how the main model scored them.
    """

    batch: int
    shares: CellDistribution | BatchMeanDistribution
    others: Int[Tensor, "1 U"]
    score: Float[Tensor, "M U"]


@register("generator", example={"k": 4, "dim": 8, "visits": 4}, aliases=["sparring"])
class NSGenerator(NegativeGenerator):
    """Draws entities that a small model, distilled from the main one, finds plausible.

    The small model gives every entity a logit for every query. It learns them from the scores
    that its own draws have just been given, and from those of a few uniform entities, by forward
    KL on these candidates: the target is the softmax of score / temperature, both sides are
    corrected for the density of the candidates, and no policy gradient is needed. Draws follow
    the small model with its vectors rounded to codes (`InvertedMultiIndex`), mixed with a uniform
    floor, in O(sqrt N) per query, and `log_q` is exact for every entity, also for the answer.
    Known answers never count.

    Args:
        shared: give the batch one list, drawn from the mean of its queries' distributions, whose
            density it states. All queries score it in one product, so k may be large.
        dim: numbers per vector of the small model.
        codes: of the first half of the vectors; the second half has half as many.
        floor: share of draws that are uniform: no importance weight exceeds N / floor.
        temperature: of the target.
        sharpness: factor on the small model's logits when drawing; 1 draws what was learnt.
        difficulty: above 0, the share of counted draws that should score above their answer;
            the sharpness follows. 0 leaves the sharpness alone.
        others: uniform entities per lesson, shared by its queries, that the main model scores
            for these without gradient.
        every: steps from one lesson of the small model to the next, when codes are chosen too.
        learn_from: share of a batch's queries that a lesson is about.
        likelihood: weight of the log-probability of the answers among the candidates.
        missing: above 0, the share of all true facts that the graph is thought to lack. Then
            each draw states how likely it is one of them (`FalseNegativeClassifier`), which takes
            training facts held out of the graph.
        weigh: let draws count by the probability that they are wrong.
        tolerate: a draw that is a missing fact with a higher probability does not count.
        avoid: lower the target of candidates by it, whoever states it.
        visits: entities whose codes are chosen anew per step.
        lr: of the generator's own Adam; of its Adagrad, ten times as much, for more than 50,000
            entities.

    Raises:
        ValueError: for a single candidate to learn from, or shares and numbers that are none.
    """

    schedulable = (
        ("floor", 0.0, 0.999),
        ("temperature", 1e-6, math.inf),
    )
    sharpness: Float[Tensor, ""]
    lesson: Float[Tensor, ""]  # the loss of the last one
    hardness: Float[Tensor, ""]  # share of counted draws that scored above their answer then

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        shared: bool = False,
        dim: int = 32,
        codes: int = 128,
        floor: float = 0.1,
        temperature: float = 1.0,
        sharpness: float = 1.0,
        difficulty: float = 0.0,
        others: int = 8,
        every: int = 2,
        learn_from: float = 0.5,
        likelihood: float = 0.1,
        missing: float = 0.0,
        weigh: bool = True,
        tolerate: float = 1.0,
        avoid: bool = True,
        visits: int = 256,
        lr: float = 1e-2,
    ):
        super().__init__(k)
        if not (0 <= floor < 1 and 0 <= difficulty < 1 and 0 < learn_from <= 1):
            raise ValueError(
                "floor and difficulty are shares below 1, and learn_from one above 0; "
                f"got floor={floor}, difficulty={difficulty}, learn_from={learn_from}"
            )
        if temperature <= 0 or sharpness <= 0:
            raise ValueError(
                "temperature and sharpness must be above 0; "
                f"got temperature={temperature}, sharpness={sharpness}"
            )
        if not 0 < tolerate <= 1:
            raise ValueError(
                f"a probability to tolerate is above 0 and at most 1; got tolerate={tolerate}"
            )
        if every < 1:
            raise ValueError(f"a lesson is at least a step from the next; got every={every}")
        if others < 0 or k + others < 2:
            raise ValueError(
                "the generator compares candidates of a query, so it needs at least 2 of them; "
                f"got k={k} and others={others}"
            )
        self.num_entities, self.known = graph.num_entities, graph.known
        self.shared, self.floor, self.temperature = shared, floor, temperature
        self.difficulty = difficulty
        self.others, self.likelihood = others, likelihood
        self.every, self.stride = every, max(1, round(1 / learn_from))
        self.capabilities = Capabilities(
            needs_scores=others > 0, num_extra_scores=-(-others // (every * self.stride))
        )
        many = graph.num_entities > MANY
        self.proposal = Proposal(graph, dim=dim, sparse=many)
        some = every * visits  # each lesson makes up for the steps without
        self.codes = InvertedMultiIndex(graph.num_entities, dim=dim, codes=codes, visits=some)
        self.codes.restart(self.proposal.vectors, self.proposal.bias)
        self.register_buffer("sharpness", torch.tensor(float(sharpness)))
        for name in ("lesson", "hardness"):
            self.register_buffer(name, torch.zeros(()))
        self.missing = FalseNegativeClassifier(graph, missing=missing) if missing else None
        self.weigh, self.tolerate, self.avoid = weigh, tolerate, avoid
        parameters = list(self.parameters())
        self.optimizer = (
            TableAdagrad(parameters, lr=10 * lr) if many else TableAdam(parameters, lr=lr)
        )
        self.steps = 0
        self.glance: PendingUpdate | None = None
        self.evidence: CandidateFeatures | None = None

    @torch.no_grad()
    def shares(self, queries: Queries) -> CellDistribution | BatchMeanDistribution:
        """How the queries divide their draws among the cells."""
        shares = self._own_shares(queries)
        return BatchMeanDistribution.of(shares) if self.shared else shares

    def _own_shares(self, queries: Queries) -> CellDistribution:
        return self.codes.shares(self.proposal.context(queries) * self.sharpness)

    @torch.no_grad()
    def density(
        self,
        shares: CellDistribution | BatchMeanDistribution,
        ids: Int[Tensor, "G K"],
        others: float = 0.0,
    ) -> Float[Tensor, "B K"]:
        """Log-probability of ids in a draw, floor included, whether or not they are known.

        Args:
            others: share of candidates that are no draws, but uniform entities.
        """
        return shares.log_prob(self.codes, ids, 1 - (1 - self.floor) * (1 - others))

    @torch.no_grad()
    def sample(self, queries, score, rng):
        shares = self.shares(queries)
        ids = shares.draw(self.codes, self.k, rng, self.floor)
        if self.training and self.others and self._lesson():
            shape = (1, self.others)
            some = torch.randint(self.num_entities, shape, generator=rng, device=ids.device)
            rows = self._pupils(len(queries))
            told = score_rows(score, rows, some).float()
            self.glance = PendingUpdate(len(queries), shares[rows], some, told)
        known = self.known.contains(queries, ids)
        log_q = self.density(shares, ids).masked_fill(known, -torch.inf)
        answer = self.density(shares, queries.answer.unsqueeze(1)).squeeze(1)
        drawn = Negatives.from_ids(queries, ids, log_q, answer)
        return self._doubted(queries, replace(drawn, mask=drawn.mask & ~known))

    @torch.no_grad()
    def _doubted(self, queries: Queries, drawn: Negatives) -> Negatives:
        """Draws with the probability that they are missing facts."""
        if self.missing is None:
            return drawn
        stated: Any = (drawn.log_q, drawn.answer_log_q)
        self.evidence = self.missing.look(queries, drawn.ids, *stated)
        doubt = self.missing(self.evidence) * drawn.mask
        weight = 1 - doubt if self.weigh else drawn.weight
        mask = drawn.mask & (doubt <= self.tolerate)
        return replace(drawn, mask=mask, p_false_negative=doubt, weight=weight)

    def log_prob(self, queries, ids):
        log_q = self.density(self.shares(queries), ids)
        return log_q.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries):
        return self.density(self.shares(queries), queries.answer.unsqueeze(1)).squeeze(1)

    @torch.no_grad()
    def opinion(self, queries: Queries) -> Scorer:
        """Log-probability of any candidates for each query by itself, known answers included."""
        shares = self._own_shares(queries)
        return lambda ids: self.density(shares, ids)

    @torch.no_grad()
    def topk(self, queries: Queries, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order; all, if there are fewer."""
        return self.codes.topk(self._own_shares(queries), min(m, self.num_entities))

    def _lesson(self) -> bool:
        """Whether the small model learns in this step."""
        return self.steps % self.every == 0

    def _pupils(self, batch: int) -> slice:
        """The queries of a batch that this step's lesson is about."""
        turn = self.steps // self.every % self.stride
        return slice(turn % batch, None, self.stride)

    def observe(self, feedback):
        if self._lesson():
            self._teach(feedback)
        self.evidence = None
        self.steps += 1
        return {"generator_loss": self.lesson.clone(), "difficulty": self.hardness.clone()}

    def _teach(self, feedback: Feedback) -> None:
        loss = self._apart(feedback)
        if self.missing is not None and self.evidence:
            loss = loss + self.missing.loss(self.evidence)
        self.learn(loss)
        self.lesson.copy_(loss.detach())
        self.codes.visit(self.proposal.vectors, self.proposal.bias)
        counted = feedback.negatives.mask
        above = (feedback.negative > feedback.positive.unsqueeze(1)) & counted
        self.hardness.copy_(above.count_nonzero() / counted.count_nonzero().clamp(min=1))
        if self.difficulty:
            # a hundredth of the way in logarithm, a lesson
            self.sharpness *= (0.01 * (1 - self.hardness / self.difficulty).clamp(-1, 1)).exp()
            self.sharpness.clamp_(0.05, 20.0)

    def _apart(self, feedback: Feedback) -> Float[Tensor, ""]:
        """How far the small model is from its target on some of the queries."""
        rows = self._pupils(len(feedback.queries))
        queries, glance = feedback.queries[rows], self.glance
        self.glance = None
        ids = feedback.negatives.ids
        ids = ids[rows] if len(ids) == len(feedback.queries) else ids
        score, counted = feedback.negative[rows].float(), feedback.negatives.mask[rows]
        doubt = feedback.negatives.p_false_negative[rows]
        if glance is None or glance.batch != len(feedback.queries):
            log_q = self.density(self.shares(queries), ids)
        else:
            some, shares = glance.others, glance.shares
            wrong = not_answer(queries.answer, some) & ~self.known.contains(queries, some)
            ids = torch.cat([ids, some.expand(len(ids), -1)], 1)
            score = torch.cat([score, glance.score], 1)
            counted = torch.cat([counted, wrong], 1)
            doubt = torch.cat([doubt, self._doubt(queries, shares, some)], 1)
            # of draws and others together (the balance heuristic: Veach & Guibas, 1995)
            log_q = self.density(shares, ids, some.shape[1] / ids.shape[1])
        # known answers are candidates that the target avoids
        wanted = (score / self.temperature - log_q).masked_fill(~counted, -torch.inf)
        if self.avoid:
            wanted[:, : doubt.shape[1]] += (1 - doubt).log()
        target = wanted.softmax(1).nan_to_num(0.0)
        return distil(self.proposal, queries, ids, log_q, target, self.likelihood)

    @torch.no_grad()
    def _doubt(
        self,
        queries: Queries,
        shares: CellDistribution | BatchMeanDistribution,
        ids: Int[Tensor, "1 U"],
    ) -> Float[Tensor, "B _"]:
        """Probability that uniform entities are missing facts; no column where none is of use."""
        if self.missing is None or not self.avoid:
            return queries.weight.new_empty(len(queries), 0)
        stated = [self.density(shares, some) for some in (ids, queries.answer.unsqueeze(1))]
        return self.missing(self.missing.look(queries, ids, stated[0], stated[1].squeeze(1)))

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.steps = state["steps"]
