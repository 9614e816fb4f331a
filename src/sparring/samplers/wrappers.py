"""Samplers made of other samplers.

`MaskKnown` and `ResampleKnown` deal with known facts, `WithPositives` adds known answers, `Mixture`
combines several samplers, and `Curriculum` changes an option during training.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from sparring.batch import (
    PER_CANDIDATE,
    Feedback,
    Negatives,
    Queries,
    Scorer,
    join_columns,
    ungroup,
)
from sparring.data.graph import TrainGraph
from sparring.registry import register
from sparring.samplers.base import Capabilities, NegativeSampler, SamplerWrapper

MOST_ROUNDS = 1000


@register("mask-known", example={"inner": {"name": "uniform", "k": 5}}, aliases=["hide-known"])
class MaskKnown(SamplerWrapper):
    """Do not count candidates that are facts of the training graph.

    Args:
        inner: draws the candidates.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler):
        super().__init__(inner)
        self.known = graph.known

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        drawn = self.inner.sample(queries, score, rng)
        known = drawn.per_candidate(partial(self.known.contains, queries))
        return replace(drawn, mask=drawn.mask & ~known)


@register(
    "resample-known", example={"inner": {"name": "uniform", "k": 5}}, aliases=["redraw-known"]
)
class ResampleKnown(SamplerWrapper):
    """Replace candidates that are facts of the training graph by fresh draws.

    A candidate that is still a fact after the last round does not count, so that a query with
    many answers cannot block training. Shared lists become own lists. The density is unknown if
    `inner` has no `log_prob`.

    Args:
        inner: draws the candidates.
        rounds: how often to draw again, at most 1,000 times.

    Raises:
        ValueError: for another number of rounds.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, rounds: int = 3):
        super().__init__(inner)
        if not 0 <= rounds <= MOST_ROUNDS:
            raise ValueError(f"rounds is between 0 and {MOST_ROUNDS}; got rounds={rounds}")
        has_log_prob = inner.capabilities.has_log_prob
        self.capabilities = replace(
            inner.capabilities,
            num_shared=0,
            has_log_q=has_log_prob,
            has_answer_log_q=has_log_prob,
        )
        self.known, self.rounds = graph.known, rounds

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        kept = self._draw(queries, score, rng)
        for _ in range(self.rounds):
            fresh = self._draw(queries, score, rng)
            kept = {name: torch.where(kept["mask"], kept[name], fresh[name]) for name in kept}
        answer = None
        if self.capabilities.has_log_q:
            log_gain = self._log_gain(queries).detach()
            kept["log_q"] = kept["log_q"] + log_gain.unsqueeze(1)
            of_inner: Tensor = self.inner.answer_log_prob(queries)  # pyright: ignore
            answer = of_inner.detach() + log_gain
        blocks = (kept.pop("ids"),)
        return Negatives(
            blocks, **kept, answer_log_q=answer, negative_query_weight=queries.negative_weight
        )

    def _draw(
        self, queries: Queries, score: Scorer, rng: torch.Generator
    ) -> dict[str, Shaped[Tensor, "B K"]]:
        """Own lists of the inner sampler, in which known facts do not count."""
        drawn = self.inner.sample(queries, score, rng)
        fields = {name: getattr(drawn, name) for name in PER_CANDIDATE}
        fields["ids"] = ungroup(drawn.ids, len(queries))
        known = drawn.per_candidate(partial(self.known.contains, queries))
        fields["mask"] = drawn.mask & ~known
        if self.capabilities.has_log_q:
            log_q: Tensor = drawn.log_q  # pyright: ignore
            fields["log_q"] = log_q.masked_fill(known, -torch.inf)
        return fields

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        of_inner = self.inner.log_prob(queries, ids)
        if of_inner is None:
            return None
        log_prob = of_inner + self._log_gain(queries).unsqueeze(1)
        return log_prob.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        of_inner = self.inner.answer_log_prob(queries)
        return None if of_inner is None else of_inner + self._log_gain(queries)

    def _log_gain(self, queries: Queries) -> Float[Tensor, "B"]:
        """Log of how much more often an unknown entity is drawn than by the inner sampler."""
        p_known = self._p_known(queries)
        return torch.log1p(-(p_known ** (self.rounds + 1))) - torch.log1p(-p_known)

    def _p_known(self, queries: Queries) -> Float[Tensor, "B"]:
        """Probability that one draw of the inner sampler is a known answer."""
        row, entity = self.known.answers(queries)
        # called only if the inner sampler has a `log_prob`
        log_prob: Tensor = self.inner.log_prob(queries[row], entity.unsqueeze(1))  # pyright: ignore
        p = log_prob.squeeze(1).exp()
        total = p.new_zeros(len(queries)).index_add(0, row, p)
        return total.clamp(max=1 - torch.finfo(p.dtype).eps)


@register(
    "mixture",
    example={"parts": [{"name": "popularity", "k": 2}, {"name": "uniform", "k": 3}]},
    aliases=["mix"],
)
class Mixture(NegativeSampler):
    """The negatives of several samplers, one list after the other.

    Every candidate gets the density of the whole list, whichever part drew it (the balance
    heuristic: Veach & Guibas, 1995). If a part has no `log_prob`, the candidates of each part keep
    its density, which is right if all parts reach the same candidates. Wrap the mixture in
    `MaskKnown`, not its parts, so that they do.

    Args:
        parts: the samplers; each gets the feedback on its own candidates.

    Raises:
        ValueError: if there are no parts.
    """

    def __init__(self, graph: TrainGraph, *, parts: list[NegativeSampler]):
        if not parts:
            raise ValueError("a mixture needs at least one part; got none")
        super().__init__(sum(part.k for part in parts))
        self.parts = nn.ModuleList(parts)
        each = [part.capabilities for part in parts]
        has_log_prob = all(one.has_log_prob for one in each)
        self.capabilities = Capabilities(
            needs_scores=any(one.needs_scores for one in each),
            num_extra_scores=sum(one.num_extra_scores for one in each),
            has_log_q=all(one.has_log_q for one in each),
            has_answer_log_q=has_log_prob,
            has_log_prob=has_log_prob,
        )

    @property
    def _parts(self) -> list:
        return list(self.parts)

    def arrange(self, queries: Queries) -> Queries:
        for part in self._parts:
            queries = part.arrange(queries)
        return queries

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        drawn = [part.sample(queries, score, rng) for part in self._parts]
        joint = self._join(drawn, len(queries))
        if not self.capabilities.has_log_q:
            return joint
        if self.capabilities.has_log_prob:
            log_q = joint.per_candidate(partial(self._log_density, queries))
        else:
            log_q = join_columns(part.log_q for part in drawn if part.log_q is not None)
        answer = self.answer_log_prob(queries)
        return replace(
            joint,
            log_q=log_q.detach(),
            answer_log_q=None if answer is None else answer.detach(),
        )

    def _join(self, drawn: list, batch: int) -> Negatives:
        """The negatives of all parts; each query has them in one list."""
        return Negatives.cat(drawn, batch)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        return self._log_density(queries, ids)

    def _log_density(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Any:
        """Log of the mean density of the parts; None if that of a part is unknown."""
        return self._mean([part.log_prob(queries, ids) for part in self._parts])

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        log_prob = self.log_prob(queries, queries.answer.unsqueeze(1))
        if_never_drawn = self._mean([part.answer_log_prob(queries) for part in self._parts])
        if log_prob is None or if_never_drawn is None:
            return None
        log_prob = log_prob.squeeze(1)
        return torch.where(log_prob == -torch.inf, if_never_drawn, log_prob)

    def _mean(self, log_probs: list) -> Tensor | None:
        """Log of the mean probability, by the parts' numbers of candidates."""
        weighted = [
            log_prob + math.log(part.k / self.k)
            for log_prob, part in zip(log_probs, self._parts)
            if log_prob is not None
        ]
        return torch.stack(weighted).logsumexp(0) if len(weighted) == len(self.parts) else None

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        metrics, start = {}, 0
        for index, part in enumerate(self._parts):
            stop = start + part.k
            for name, value in part.observe(feedback.columns(start, stop)).items():
                metrics[f"{index}.{name}"] = value
            start = stop
        return metrics

    def bind_model(self, model: nn.Module) -> None:
        for part in self._parts:
            part.bind_model(model)


@register(
    "with-positives",
    example={"inner": {"name": "uniform", "k": 4}, "answers": 2},
    aliases=["show-known"],
)
class WithPositives(SamplerWrapper):
    """Add known answers of each query to its negatives, for losses that compare with them.

    They do not count as negatives: mask is False and `p_false_negative` 1. Their weights add up
    to the number of known answers. Shared lists become own lists.

    Args:
        inner: draws the negatives.
        answers: known answers to add per query, uniform and with repetition.

    Raises:
        ValueError: if there are none to add.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, answers: int = 1):
        if answers < 1:
            raise ValueError(f"there must be at least one known answer; got answers={answers}")
        super().__init__(inner, k=inner.k + answers)
        self.capabilities = replace(inner.capabilities, num_shared=0)
        self.known, self.answers = graph.known, answers

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        drawn = self.inner.sample(queries, score, rng)
        positives = self._positives(queries, rng)
        joint = Negatives.cat([drawn, positives], len(queries))
        if drawn.log_q is None:
            return joint
        of_positives = self.inner.log_prob(queries, positives.ids)
        if of_positives is None:  # any density will do, because they do not count
            of_positives = torch.zeros_like(positives.weight)
        log_q = torch.cat([drawn.log_q, of_positives.detach()], 1) + self._log_fraction()
        answer = drawn.answer_log_q
        return replace(
            joint,
            log_q=log_q,
            answer_log_q=None if answer is None else answer + self._log_fraction(),
        )

    def _positives(self, queries: Queries, rng: torch.Generator) -> Negatives:
        count = self.known.count(queries).unsqueeze(1)
        shape = (len(queries), self.answers)
        u = torch.rand(shape, generator=rng, device=count.device, dtype=torch.double)
        rank = torch.minimum((u * count).long(), (count - 1).clamp(min=0))
        positives = Negatives.from_ids(queries, self.known.answer(queries, rank))
        weight = positives.weight
        return replace(
            positives,
            mask=torch.zeros_like(positives.mask),
            weight=weight * count / self.answers,
            p_false_negative=(count > 0).to(weight.dtype).expand_as(weight),
        )

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        of_inner = self.inner.log_prob(queries, ids)
        return None if of_inner is None else of_inner + self._log_fraction()

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"] | None:
        of_inner = self.inner.answer_log_prob(queries)
        return None if of_inner is None else of_inner + self._log_fraction()

    def observe(self, feedback: Feedback) -> dict[str, Tensor]:
        return self.inner.observe(feedback.columns(0, self.inner.k))

    def _log_fraction(self) -> float:
        """Log of the fraction of candidates that `inner` drew."""
        return math.log(self.inner.k / self.k)


@register(
    "curriculum",
    example={
        "inner": {"name": "type-constrained", "k": 5},
        "option": "uniform_mix",
        "start": 1.0,
        "end": 0.3,
        "steps": 20,
    },
)
class Curriculum(SamplerWrapper):
    """Change one option of a sampler from one value to another, linearly over the first steps.

    It counts training steps: batches drawn in training mode. With `cooldown_at` the option later
    returns to its first value, as long as it took to leave it: hard negatives, say, that come
    after a warm-up and go before the end.

    Args:
        inner: the sampler that has the option.
        option: what changes, such as `uniform_mix` of `TypeConstrained` or `rank` of
            `DynamicNegatives`. Integers stay integers.
        start, end: values at the first step and from step `steps` on.
        steps: how long the change takes.
        cooldown_at: the step at which the way back to `start` begins; None for no way back.

    Raises:
        ValueError: if the sampler has no such option that may change during training, a value is
            out of its bounds, there are no steps, or the way back begins before the way there ends.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        option: str,
        start: float,
        end: float,
        steps: int,
        cooldown_at: int | None = None,
    ):
        super().__init__(inner)
        bounds = {name: (low, high) for name, low, high in inner.schedulable}
        option = self.registry.renamed_options(type(inner)).get(option, option)
        if option not in bounds:
            raise ValueError(
                f"{type(inner).__name__} has no option {option!r} that may change during training; "
                f"it has: {', '.join(bounds) or 'none'}"
            )
        low, high = bounds[option]
        for value in (start, end):
            if not low <= value <= high:
                raise ValueError(f"{option} must be between {low} and {high}; got {value}")
        if steps < 1:
            raise ValueError(f"a curriculum takes at least one step; got steps={steps}")
        if cooldown_at is not None and cooldown_at < steps:
            raise ValueError(
                f"a way back begins after the way there, of steps={steps}; got "
                f"cooldown_at={cooldown_at}"
            )
        self.option, self.start, self.end, self.steps = option, start, end, steps
        self.cooldown_at = cooldown_at
        self.is_integer = isinstance(getattr(inner, option), int)
        self.set_extra_state(0)

    def value(self) -> float | int:
        """The present value of the option."""
        done = min(1.0, self.calls / self.steps)
        if self.cooldown_at is not None and self.calls > self.cooldown_at:
            done = max(0.0, 1 - (self.calls - self.cooldown_at) / self.steps)
        value = self.start + (self.end - self.start) * done
        return round(value) if self.is_integer else value

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        setattr(self.inner, self.option, self.value())
        self.calls += self.training
        return self.inner.sample(queries, score, rng)

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state
        setattr(self.inner, self.option, self.value())
