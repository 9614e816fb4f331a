"""Samplers made of other samplers.

Several samplers at once.

Known answers beside the negatives, for losses that compare with them.

Wrong answers that change with the progress of training."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sparring.batch import PER_CANDIDATE, Negatives, Queries, Scorer, ungroup
from sparring.data.graph import TrainGraph
from sparring.registry import register
from sparring.samplers.base import Capabilities, NegativeSampler, SamplerWrapper


@register("mask-known", example={"inner": {"name": "uniform", "k": 5}}, aliases=["hide-known"])
class MaskKnown(SamplerWrapper):
    """Do not count candidates that are facts of the training graph."""

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler):
        super().__init__(inner)
        self.known = graph.known

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        return replace(drawn, mask=drawn.mask & ~self.known.contains(queries, drawn.ids))


@register(
    "resample-known", example={"inner": {"name": "uniform", "k": 5}}, aliases=["redraw-known"]
)
class ResampleKnown(SamplerWrapper):
    """Replace candidates that are facts of the training graph by fresh draws, K staying full.

    What is still a fact after the last round does not count, so that a query whose answers
    crowd the sampler's range cannot hang. Shared lists become own lists.

    No density is stated where `inner` has none in closed form.

    Args:
        rounds: how often to redraw.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, rounds: int = 3):
        super().__init__(inner)
        closed = inner.capabilities.has_log_prob
        self.capabilities = replace(inner.capabilities, has_log_q=closed, has_answer_log_q=closed)
        self.known, self.rounds = graph.known, rounds

    def sample(self, queries, score, rng):
        kept = self._draw(queries, score, rng)
        for _ in range(self.rounds):
            fresh = self._draw(queries, score, rng)
            kept = {name: torch.where(kept["mask"], kept[name], fresh[name]) for name in kept}
        answer = None
        if self.capabilities.has_log_q:
            lift = self._lift(queries).detach()
            kept["log_q"] = kept["log_q"] + lift.unsqueeze(1)
            stated: Tensor = self.inner.answer_log_prob(queries)  # pyright: ignore
            answer = stated.detach() + lift
        return Negatives(**kept, answer_log_q=answer, negative_query_weight=queries.negative_weight)

    def _draw(
        self, queries: Queries, score: Scorer, rng: torch.Generator
    ) -> dict[str, Shaped[Tensor, "B K"]]:
        """Own lists of the inner sampler, in which known facts neither count nor are drawn."""
        drawn = self.inner.sample(queries, score, rng)
        fields = {name: getattr(drawn, name) for name in PER_CANDIDATE}
        fields["ids"] = ungroup(drawn.ids, len(queries))
        known = self.known.contains(queries, drawn.ids)
        fields["mask"] = drawn.mask & ~known
        if self.capabilities.has_log_q:  # only then does every draw state its own
            log_q: Tensor = drawn.log_q  # pyright: ignore
            fields["log_q"] = log_q.masked_fill(known, -torch.inf)
        return fields

    def log_prob(self, queries, ids):
        inner = self.inner.log_prob(queries, ids)
        if inner is None:
            return None
        lifted = inner + self._lift(queries).unsqueeze(1)
        return lifted.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries):
        inner = self.inner.answer_log_prob(queries)
        return None if inner is None else inner + self._lift(queries)

    def _lift(self, queries: Queries) -> Float[Tensor, "B"]:
        """How much more often redrawing offers an unknown entity, as a logarithm."""
        taken = self._mass_of_known(queries)
        return torch.log1p(-(taken ** (self.rounds + 1))) - torch.log1p(-taken)

    def _mass_of_known(self, queries: Queries) -> Float[Tensor, "B"]:
        """Probability that one draw of the inner sampler is a known answer."""
        row, entity = self.known.answers(queries)
        # only asked for where the inner sampler states a density
        log_mass: Tensor = self.inner.log_prob(queries[row], entity.unsqueeze(1))  # pyright: ignore
        share = log_mass.squeeze(1).exp()
        total = share.new_zeros(len(queries)).index_add(0, row, share)
        return total.clamp(max=1 - torch.finfo(share.dtype).eps)


@register(
    "mixture",
    example={"parts": [{"name": "popularity", "k": 2}, {"name": "uniform", "k": 3}]},
    aliases=["mix"],
)
class Mixture(NegativeSampler):
    """The lists of several samplers, side by side.

    Every candidate is given the density of the whole list, whichever part drew it (the balance
    heuristic: Veach & Guibas, 1995). Where a part states none in closed form, each part's
    columns keep their own, which is right if all parts reach the same candidates. Wrap the
    mixture in `MaskKnown`, not its parts, so that they do.

    Args:
        parts: the samplers; each is told what became of its own columns.

    Raises:
        ValueError: if there are no parts.
    """

    def __init__(self, graph: TrainGraph, *, parts: list[NegativeSampler]):
        if not parts:
            raise ValueError("a mixture needs at least one part; got none")
        super().__init__(sum(part.k for part in parts))
        self.parts = nn.ModuleList(parts)
        each = [part.capabilities for part in parts]
        closed = all(one.has_log_prob for one in each)
        self.capabilities = Capabilities(
            needs_scores=any(one.needs_scores for one in each),
            num_extra_scores=sum(one.num_extra_scores for one in each),
            has_log_q=all(one.has_log_q for one in each),
            has_answer_log_q=closed,
            has_log_prob=closed,
        )

    @property
    def _members(self) -> list:
        return list(self.parts)

    def sample(self, queries, score, rng):
        drawn = [part.sample(queries, score, rng) for part in self._members]
        joined = Negatives.cat(drawn, len(queries))
        if not self.capabilities.has_log_q:
            return joined
        log_q = self.log_prob(queries, joined.ids)
        if log_q is None:
            stated = [part.log_q for part in drawn if part.log_q is not None]
            log_q = torch.cat(stated, 1)
        answer = self.answer_log_prob(queries)
        return replace(
            joined,
            log_q=log_q.detach(),
            answer_log_q=None if answer is None else answer.detach(),
        )

    def log_prob(self, queries, ids):
        return self._mixed([part.log_prob(queries, ids) for part in self._members])

    def answer_log_prob(self, queries):
        stated = self.log_prob(queries, queries.answer.unsqueeze(1))
        opened = self._mixed([part.answer_log_prob(queries) for part in self._members])
        if stated is None or opened is None:
            return None
        stated = stated.squeeze(1)
        return torch.where(stated == -torch.inf, opened, stated)

    def _mixed(self, log_share: list) -> Tensor | None:
        """The mean share, by the parts' number of candidates; None if one is unknown."""
        known = [
            share + math.log(part.k / self.k)
            for share, part in zip(log_share, self._members)
            if share is not None
        ]
        return torch.stack(known).logsumexp(0) if len(known) == len(self.parts) else None

    def observe(self, feedback):
        told, start = {}, 0
        for place, part in enumerate(self._members):
            stop = start + part.k
            for name, value in part.observe(feedback.columns(start, stop)).items():
                told[f"{place}.{name}"] = value
            start = stop
        return told

    def bind_model(self, model):
        for part in self._members:
            part.bind_model(model)


@register(
    "with-positives",
    example={"inner": {"name": "uniform", "k": 4}, "answers": 2},
    aliases=["show-known"],
)
class WithPositives(SamplerWrapper):
    """Show `answers` known answers of each query beside its negatives, uniformly drawn.

    They do not count as negatives: mask is False and `p_false_negative` 1. Their weights add up
    to the number of known answers. Shared lists become own lists.
    """

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, answers: int = 1):
        if answers < 1:
            raise ValueError(f"at least one known answer must be shown; got answers={answers}")
        super().__init__(inner, k=inner.k + answers)
        self.known, self.answers = graph.known, answers

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        count = self.known.count(queries).unsqueeze(1)
        lot = torch.rand(
            len(queries), self.answers, generator=rng, device=count.device, dtype=torch.double
        )
        rank = torch.minimum((lot * count).long(), (count - 1).clamp(min=0))
        shown = Negatives.from_ids(queries, self.known.answer(queries, rank))
        shown = replace(
            shown,
            mask=torch.zeros_like(shown.mask),
            weight=shown.weight * count / self.answers,
            p_false_negative=(count > 0).to(shown.weight.dtype).expand_as(shown.weight),
        )
        joint = Negatives.cat([drawn, shown], len(queries))
        if drawn.log_q is None:
            return joint
        of_shown = self.inner.log_prob(queries, shown.ids)
        if of_shown is None:  # where nothing counts, any density will do
            of_shown = torch.zeros_like(shown.weight)
        log_q = torch.cat([drawn.log_q, of_shown.detach()], 1) + self._thinned()
        answer = drawn.answer_log_q
        return replace(
            joint, log_q=log_q, answer_log_q=None if answer is None else answer + self._thinned()
        )

    def log_prob(self, queries, ids):
        inner = self.inner.log_prob(queries, ids)
        return None if inner is None else inner + self._thinned()

    def answer_log_prob(self, queries):
        inner = self.inner.answer_log_prob(queries)
        return None if inner is None else inner + self._thinned()

    def observe(self, feedback):
        return self.inner.observe(feedback.columns(0, self.inner.k))

    def _thinned(self) -> float:
        """Log of the share of the list that is drawn."""
        return math.log(self.inner.k / self.k)


@register(
    "curriculum",
    example={
        "inner": {"name": "type-constrained", "k": 5},
        "option": "floor",
        "start": 1.0,
        "end": 0.3,
        "steps": 20,
    },
)
class Curriculum(SamplerWrapper):
    """Lead one option of a sampler from one value to another, evenly over the first steps.

    Progress is counted in training steps: batches asked for in training mode.

    Args:
        option: what changes, such as the floor of `TypeConstrained` or the rank of
            `DynamicNegatives`. Whole numbers stay whole.
        start, end: values at the first step and from step `steps` on.

    Raises:
        ValueError: if the sampler has no such option that may change while training, a value is
            out of its bounds, or there are no steps.
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
    ):
        super().__init__(inner)
        bounds = {name: (low, high) for name, low, high in inner.schedulable}
        option = self.registry.renamed_options(type(inner)).get(option, option)
        if option not in bounds:
            raise ValueError(
                f"{type(inner).__name__} has no option {option!r} that may change while training; "
                f"it has: {', '.join(bounds) or 'none'}"
            )
        low, high = bounds[option]
        for value in (start, end):
            if not low <= value <= high:
                raise ValueError(f"{option} lies between {low} and {high}; got {value}")
        if steps < 1:
            raise ValueError(f"a curriculum takes at least one step; got steps={steps}")
        self.option, self.start, self.end, self.steps = option, start, end, steps
        self.whole = isinstance(getattr(inner, option), int)
        self.set_extra_state(0)

    def value(self) -> float | int:
        """Where the option stands now."""
        value = self.start + (self.end - self.start) * min(1.0, self.calls / self.steps)
        return round(value) if self.whole else value

    def sample(self, queries, score, rng):
        setattr(self.inner, self.option, self.value())
        self.calls += self.training
        return self.inner.sample(queries, score, rng)

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state
        setattr(self.inner, self.option, self.value())
