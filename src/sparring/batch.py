"""What travels through one training step.

Dimension names used everywhere: B queries, K candidates per query, G candidate lists in a
batch (G divides B), N entities, R relations, T triples, d embedding width."""

import inspect
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from sparring.kernels.runtime import can_loop, compiled, in_parts


@dataclass(frozen=True, eq=False)
class Queries:
    """B questions "which entity completes (anchor, relation, ?)".

    Relation ids run over [0, 2R): id r asks for the tail of r, id r + R asks for its head.
    There is no side flag anywhere else in the library.

    Attributes:
        weight: factor on the query's share of the loss.
        negative_weight: the same for its negatives, where they weigh otherwise than its answer;
            None where they do not.
    """

    anchor: Int[Tensor, "B"]
    relation: Int[Tensor, "B"]
    answer: Int[Tensor, "B"]
    weight: Float[Tensor, "B"]
    negative_weight: Float[Tensor, "B"] | None = None

    def __len__(self) -> int:
        return self.anchor.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> "Queries":
        """The chosen queries, in the order asked for."""
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
    """K wrong answers offered to each of B queries.

    Attributes:
        ids: candidate entities. Queries g*B/G .. (g+1)*B/G - 1 share list g.
        mask: True where the candidate counts; never at the query's own answer.
        weight: non-negative factor on the candidate's share of the loss.
        p_false_negative: estimated probability that the candidate is in truth a fact. Where it is
            1 and mask False, the candidate is a known fact, there to be compared with; the
            weights of these make sums over them stand for all known answers of the query.
        log_policy: log-probability of the draw under the sampler that made it, with gradients to
            its parameters; zero where nothing learns. The only field with gradients.
        log_q: makes importance sums unbiased: for any f, the mean over draws of
            sum_k mask_k f(ids_k) / (K exp(log_q_k)) is the sum of f over all candidates the
            sampler may offer. For independent draws it is the log-probability of the id.
            None if the sampler cannot state it.
        answer_log_q: the same density at the query's answer; None if it cannot be stated.
        negative_query_weight: `negative_weight` of the queries.
    """

    ids: Int[Tensor, "G K"]
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
        """Offer `ids` to `queries`, hiding each query's own answer."""
        mask = not_answer(queries.answer, ids)
        zero = queries.weight.new_zeros(()).expand(mask.shape)
        one = queries.weight.new_ones(()).expand(mask.shape)
        log_policy = zero if log_policy is None else log_policy
        return cls(ids, mask, one, zero, log_policy, log_q, answer_log_q, queries.negative_weight)

    @classmethod
    def cat(cls, parts: list["Negatives"], batch: int) -> "Negatives":
        """Lists side by side. The density of the joint list is for the caller to state."""
        ids = torch.cat([ungroup(part.ids, batch) for part in parts], 1)
        fields = {
            name: torch.cat([getattr(part, name) for part in parts], 1) for name in PER_CANDIDATE
        }
        return cls(ids, **fields, negative_query_weight=parts[0].negative_query_weight)

    def gather(self, pick: Int[Tensor, "B J"]) -> "Negatives":
        """The picked columns of each row. A choice among candidates has no known density."""
        ids = ungroup(self.ids, len(pick)).gather(1, pick)
        fields = {name: getattr(self, name).gather(1, pick) for name in PER_CANDIDATE}
        return Negatives(ids, **fields, negative_query_weight=self.negative_query_weight)


PER_CANDIDATE = ("mask", "weight", "p_false_negative", "log_policy")


@dataclass(frozen=True, eq=False)
class Feedback:
    """What the main model made of the negatives it was offered.

    Attributes:
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
        """How hard each negative pushed the model, whatever the batch size."""
        return self.gradient * len(self.queries)

    def columns(self, start: int, stop: int) -> "Feedback":
        """The part that concerns candidates start .. stop - 1."""
        pick = torch.arange(start, stop, device=self.negative.device).expand(len(self.queries), -1)
        return replace(
            self,
            negatives=self.negatives.gather(pick),
            negative=self.negative[:, start:stop],
            gradient=self.gradient[:, start:stop],
        )


@runtime_checkable
class Scorer(Protocol):
    """Scores any candidates for a fixed batch of queries; higher is more plausible."""

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]: ...


@runtime_checkable
class IndexableScorer(Scorer, Protocol):
    """A scorer that can be asked for some of its queries alone."""

    def __getitem__(self, rows: slice) -> Scorer:
        """The scorer of the chosen queries."""
        ...


@runtime_checkable
class EmbeddingScorer(IndexableScorer, Protocol):
    """A scorer to which a candidate is its vector, and so any other vector is one too."""

    def embeddings(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates."""
        ...

    def score_embeddings(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors, which need not be those of entities."""
        ...


@torch.no_grad()
def score_rows(score: Scorer, rows: slice, ids: Int[Tensor, "1 K"]) -> Float[Tensor, "M K"]:
    """Scores of shared candidates for the chosen queries; no others, where the scorer can."""
    scorer = inspect.unwrap(score)  # the model's own, from under what keeps gradients out
    return scorer[rows](ids) if isinstance(scorer, IndexableScorer) else score(ids)[rows]


def group_rows(rows: Shaped[Tensor, "B ..."], groups: int) -> Shaped[Tensor, "G b ..."]:
    """View of B rows as [G, B/G, ...]: the queries that share each candidate list."""
    return rows.unflatten(0, (groups, group_size(groups, len(rows))))


def expand_lists(lists: Shaped[Tensor, "G K"], batch: int) -> Shaped[Tensor, "G b K"]:
    """View of candidate lists as seen by each query of their group."""
    return lists.unsqueeze(1).expand(-1, group_size(len(lists), batch), -1)


def ungroup(lists: Shaped[Tensor, "G K"], batch: int) -> Shaped[Tensor, "B K"]:
    """Candidate lists, or values of their candidates, with one row per query."""
    return expand_lists(lists, batch).reshape(batch, lists.shape[1])


def group_size(groups: int, batch: int) -> int:
    """How many queries share each of the candidate lists; 1 in an empty batch without lists.

    Raises:
        ValueError: if the number of lists does not divide the batch.
    """
    size = max(batch, 1) // max(groups, 1)
    if groups * size != batch:
        raise ValueError(f"{groups} candidate lists cannot be shared evenly by {batch} queries")
    return size


def not_answer(answer: Int[Tensor, "B"], ids: Int[Tensor, "G K"]) -> Bool[Tensor, "B K"]:
    """True where a candidate is not the query's answer."""
    spread = expand_lists(ids, len(answer))
    if not can_loop(ids):
        return (spread != group_rows(answer, len(ids)).unsqueeze(2)).flatten(0, 1)
    out = torch.empty(len(answer), ids.shape[1], dtype=torch.bool)
    in_parts(tell_apart, len(answer), out.numel(), answer, ids.contiguous(), out)
    return out


@compiled
def tell_apart(start, stop, answer, ids, out):
    """Write whether candidates differ from the answer."""
    for row in range(start, stop):
        here, group = answer[row], row * len(ids) // len(answer)
        for k in range(ids.shape[1]):
            out[row, k] = ids[group, k] != here
    return 0
