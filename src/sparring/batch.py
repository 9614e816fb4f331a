"""The tensors of one update step: queries, negatives, scorers and feedback.

Names of dimensions, used everywhere: B queries, K candidates per query, G candidate lists in a
batch (G divides B), N entities, R relations, T triples, d embedding width.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from sparring.groups import join_columns, ungroup
from sparring.kernels.lookup import not_answer


@dataclass(frozen=True, eq=False)
class Queries:
    """B queries (anchor, relation, ?), each with the answer that completes it.

    Relation ids run over [0, 2R): id r asks for the tail of r, id r + R asks for its head. No other
    flag says which end of a triple is missing.

    Attributes:
        anchor: the given entity.
        relation: the relation id in [0, 2R).
        answer: the entity that completes the query to a triple.
        weight: weight of the query in the loss.
        negative_weight: weight of its negatives, where it differs from that of its answer; else
            None.
    """

    anchor: Int[Tensor, "B"]
    relation: Int[Tensor, "B"]
    answer: Int[Tensor, "B"]
    weight: Float[Tensor, "B"]
    negative_weight: Float[Tensor, "B"] | None = None

    def __len__(self) -> int:
        return self.anchor.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> "Queries":
        """The selected queries, in this order."""
        other = None if self.negative_weight is None else self.negative_weight[rows]
        return Queries(
            self.anchor[rows], self.relation[rows], self.answer[rows], self.weight[rows], other
        )

    def inverse(self, num_relations: int) -> "Queries":
        """The same triples asked from the other end: answer and anchor change places."""
        relation = (self.relation + num_relations) % (2 * num_relations)
        return replace(self, anchor=self.answer, relation=relation, answer=self.anchor)


@dataclass(frozen=True, eq=False)
class Negatives:
    """K candidates for each of B queries, of which most are wrong answers.

    Candidates stand in one or more blocks of columns, each with lists of its own: some columns may
    come from a list per query, others from a list that the whole batch shares. All other fields
    have one row per query and one column per candidate, of all blocks in order.

    Attributes:
        blocks: the candidates, [G, K] ids per block. Queries g*B/G .. (g+1)*B/G - 1 share list g.
        mask: True where the candidate counts; never at the query's own answer.
        weight: weight of the candidate in the loss, at least 0.
        p_false_negative: estimated probability that the candidate is a false negative. Where it is
            1 and the mask False, the candidate is a known fact, listed to be compared with; sums
            over these by their weights stand for all known answers of the query.
        log_policy: log-probability of the draw under the sampler that made it, with gradients to
            the parameters of that sampler; 0 where nothing learns. No other field has gradients.
        log_q: makes importance sums unbiased: for any f, the mean over draws of
            sum_k mask_k f(ids_k) / (K exp(log_q_k)) is the sum of f over all entities that the
            sampler may draw. For independent draws it is the log-probability of the id. None if it
            is not known.
        answer_log_q: the same density at the query's answer; None if it is not known.
        negative_query_weight: `negative_weight` of the queries.
    """

    blocks: tuple[Any, ...]  # of Int[Tensor, "G K"], each with G and K of its own
    mask: Bool[Tensor, "B K"]
    weight: Float[Tensor, "B K"]
    p_false_negative: Float[Tensor, "B K"]
    log_policy: Float[Tensor, "B K"]
    log_q: Float[Tensor, "B K"] | None = None
    answer_log_q: Float[Tensor, "B"] | None = None
    negative_query_weight: Float[Tensor, "B"] | None = None

    @classmethod
    def from_ids(
        cls,
        queries: Queries,
        ids: Int[Tensor, "G K"],
        log_q: Float[Tensor, "B K"] | None = None,
        answer_log_q: Float[Tensor, "B"] | None = None,
        log_policy: Float[Tensor, "B K"] | None = None,
    ) -> "Negatives":
        """These candidates with weight 1; each query's own answer is masked.

        Args:
            log_q, answer_log_q: None if the density is not known.
            log_policy: 0 by default.
        """
        mask = not_answer(queries.answer, ids)
        zero = queries.weight.new_zeros(()).expand(mask.shape)
        one = queries.weight.new_ones(()).expand(mask.shape)
        log_policy = zero if log_policy is None else log_policy
        given = (log_policy, log_q, answer_log_q, queries.negative_weight)
        return cls((ids,), mask, one, zero, *given)

    @property
    def ids(self) -> Int[Tensor, "G K"]:
        """The candidates as one block; several blocks become own lists, which takes memory."""
        if len(self.blocks) == 1:
            return self.blocks[0]
        return torch.cat([ungroup(block, len(self.mask)) for block in self.blocks], 1)

    def per_candidate(
        self, function: Callable[[Int[Tensor, "G K"]], Shaped[Tensor, "B K"]]
    ) -> Shaped[Tensor, "B K"]:
        """A function of candidates, such as a scorer, called once for each block."""
        return join_columns(function(block) for block in self.blocks)

    @classmethod
    def join(cls, parts: list["Negatives"]) -> "Negatives":
        """The blocks of all parts, for the same queries; their joint density is left None."""
        blocks = tuple(block for part in parts for block in part.blocks)
        fields = {
            name: join_columns(getattr(part, name) for part in parts) for name in PER_CANDIDATE
        }
        return cls(blocks, **fields, negative_query_weight=parts[0].negative_query_weight)

    @classmethod
    def cat(cls, parts: list["Negatives"], batch: int) -> "Negatives":
        """The candidates of all parts in own lists; their joint density is left None.

        Args:
            batch: number of queries.
        """
        ids = torch.cat([ungroup(block, batch) for part in parts for block in part.blocks], 1)
        return replace(cls.join(parts), blocks=(ids,))

    def __getitem__(self, rows: slice) -> "Negatives":
        """The negatives of the selected queries, in own lists."""
        ids = ungroup(self.ids, len(self.mask))[rows]
        return Negatives((ids,), **self._fields(lambda value: value[rows]))

    def to(self, device: torch.device) -> "Negatives":
        """The same negatives on a device."""
        blocks = tuple(block.to(device) for block in self.blocks)
        return Negatives(blocks, **self._fields(lambda value: value.to(device)))

    def _fields(self, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """A function of all fields but the blocks; None stays None."""
        values = {name: value for name, value in vars(self).items() if name != "blocks"}
        return {name: None if one is None else function(one) for name, one in values.items()}

    def gather(self, pick: Int[Tensor, "B J"]) -> "Negatives":
        """The chosen columns of each row; the density of a choice is not known."""
        ids = ungroup(self.ids, len(pick)).gather(1, pick)
        fields = {name: getattr(self, name).gather(1, pick) for name in PER_CANDIDATE}
        return Negatives((ids,), **fields, negative_query_weight=self.negative_query_weight)

    def columns(self, start: int, stop: int) -> "Negatives":
        """Candidates start .. stop - 1, in their blocks; their density is left None."""
        blocks, first = [], 0
        for block in self.blocks:
            low, high = max(start - first, 0), min(stop - first, block.shape[1])
            if low < high:
                blocks.append(block[:, low:high].contiguous())
            first += block.shape[1]
        fields = {name: getattr(self, name)[:, start:stop] for name in PER_CANDIDATE}
        return Negatives(tuple(blocks), **fields, negative_query_weight=self.negative_query_weight)


PER_CANDIDATE = ("mask", "weight", "p_false_negative", "log_policy")


@dataclass(frozen=True, eq=False)
class Feedback:
    """How the model scored the negatives: what a sampler learns from.

    Attributes:
        queries: the queries of the step.
        negatives: as the sampler made them, `log_policy` still with gradients.
        positive: scores of the answers, detached.
        negative: scores of the candidates, detached.
        gradient: d loss / d negative score.
    """

    queries: Queries
    negatives: Negatives
    positive: Float[Tensor, "B"]
    negative: Float[Tensor, "B K"]
    gradient: Float[Tensor, "B K"]

    @property
    def push(self) -> Float[Tensor, "B K"]:
        """The gradient times the number of queries, so that it does not depend on the batch."""
        return self.gradient * len(self.queries)

    def columns(self, start: int, stop: int) -> "Feedback":
        """The feedback on candidates start .. stop - 1."""
        return replace(
            self,
            negatives=self.negatives.columns(start, stop),
            negative=self.negative[:, start:stop],
            gradient=self.gradient[:, start:stop],
        )


@runtime_checkable
class Scorer(Protocol):
    """Scores any candidates for a fixed batch of queries; higher is more plausible."""

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]: ...


@runtime_checkable
class IndexableScorer(Scorer, Protocol):
    """A scorer that can be restricted to some of its queries."""

    def __getitem__(self, rows: slice) -> Scorer:
        """The scorer of the selected queries."""
        ...


@runtime_checkable
class EmbeddingScorer(IndexableScorer, Protocol):
    """A scorer that compares with vectors, which need not be those of entities."""

    def embeddings(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates."""
        ...

    def score_embeddings(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors, which need not be those of entities."""
        ...


@torch.no_grad()
def score_rows(score: Scorer, rows: slice, ids: Int[Tensor, "1 K"]) -> Float[Tensor, "M K"]:
    """Scores of shared candidates for the selected queries; of these alone, where possible."""
    scorer = inspect.unwrap(score)  # `torch.no_grad()(score)` wraps the scorer
    return scorer[rows](ids) if isinstance(scorer, IndexableScorer) else score(ids)[rows]
