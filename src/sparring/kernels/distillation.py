"""Distillation of a small model: entities against their query's transformed anchor vector.

The loop makes the loss and the gradients of both tables in one pass over the candidates."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.groups import group_rows
from sparring.kernels.runtime import compiled, enabled_for

WORD_BITS = 6
WORD = 2**WORD_BITS  # bits


def transform(
    anchor: Float[Tensor, "B d1"], relation: Float[Tensor, "B d2"]
) -> Float[Tensor, "B d"]:
    """Query vectors: each relation multiplies its anchor's complex vector and shifts it.

    Args:
        anchor: d numbers [real, imaginary], and a bias that is not used.
        relation: d numbers of the complex factor, then d of the shift.
    """
    dim = anchor.shape[1] - 1
    real, imaginary = anchor[:, :dim].chunk(2, 1)
    cosine, sine, shift = relation.split([dim // 2, dim // 2, dim], 1)
    product = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
    return torch.cat(product, 1) + shift


def distill(
    entity_table: Float[Tensor, "N d1"],
    relation_table: Float[Tensor, "R2 d2"],
    anchor: Int[Tensor, "B"],
    relation: Int[Tensor, "B"],
    answer: Int[Tensor, "B"],
    ids: Int[Tensor, "G K"],
    log_q: Float[Tensor, "B K"],
    target: Float[Tensor, "B K"],
    answer_weight: float,
    *,
    sparse: bool = False,
    all_used: bool = False,
) -> Float[Tensor, ""]:
    """Cross-entropy of the small model with the target among candidates, mean over queries.

    Its logits are u . v + b: u the transformed anchor vector, v and b a row of the entity table.

    Args:
        anchor, relation, answer, ids: rows of the tables; the loop does not check them.
        log_q: log-density of the candidates, which is subtracted from the logits.
        target: probabilities, or 0 throughout for a query that does not count.
        answer_weight: weight of minus the log-probability of the answer, against candidates of this
            density (noise-contrastive estimation with one sum for all of them).
        sparse: give PyTorch's own gradient for entities as that of the rows in use; the loop always
            does, unless all are used.
        all_used: every row of the entity table is one of the ids, as where these were looked up.
    """
    given = (anchor, relation, answer, ids, log_q, target)
    if enabled_for(entity_table):
        return Distillation.apply(entity_table, relation_table, given, answer_weight, all_used)
    entity = lambda rows: F.embedding(rows, entity_table, sparse=sparse)
    return distill_by_look_up(entity, F.embedding(relation, relation_table), *given, answer_weight)


def distill_by_look_up(
    entity: Callable[[Tensor], Tensor],
    relation_vectors: Float[Tensor, "B d2"],
    anchor: Int[Tensor, "B"],
    relation: Int[Tensor, "B"],
    answer: Int[Tensor, "B"],
    ids: Int[Tensor, "G K"],
    log_q: Float[Tensor, "B K"],
    target: Float[Tensor, "B K"],
    answer_weight: float,
) -> Float[Tensor, ""]:
    """As `distill`, where rows of entities are looked up, perhaps elsewhere.

    Args:
        entity: gives rows of the entity table.
        relation_vectors: rows of the relation table, one per query.
    """
    query = F.pad(transform(entity(anchor), relation_vectors), (0, 1), value=1.0)
    grouped = group_rows(query, len(ids))
    candidates = entity(ids)
    logits = (grouped @ candidates.mT).flatten(0, 1) - log_q
    total = logits.logsumexp(1, keepdim=True)
    loss = (target * (total - logits)).sum(1).mean()
    if not answer_weight:
        return loss
    right = entity(answer.unsqueeze(1))
    answer_logit = (query.unsqueeze(1) @ right.mT).flatten(0, 1)
    rivals = total - math.log(logits.shape[1])
    return loss + answer_weight * F.softplus(rivals - answer_logit).mean()


class Distillation(Function):
    """The loop of `distill`."""

    @staticmethod
    def forward(
        ctx: Any,
        entity_table: Tensor,
        relation_table: Tensor,
        given: tuple[Tensor, ...],
        answer_weight: float,
        all_used: bool,
    ) -> Tensor:
        entity_table, relation_table = entity_table.detach(), relation_table.detach()
        anchor, _, answer, ids, _, _ = given
        parts, used = [anchor, answer, ids.flatten()], len(entity_table)
        rows, places = anchor[:0], [part.int() for part in parts]
        if not all_used:
            rows, places = distinct_rows(parts, used)
            used = len(rows)
        entity_grad = entity_table.new_zeros(used, entity_table.shape[1])
        relation_grad = torch.zeros_like(relation_table)
        given = (
            *(entity_table, relation_table),
            *(*places[:2], places[2].view(ids.shape)),
            *(tensor.contiguous() for tensor in given),
            *(entity_grad, relation_grad),
        )
        loss = add_gradients(*(tensor.numpy() for tensor in given), answer_weight)
        ctx.save_for_backward(rows, entity_grad, relation_grad)
        ctx.shape, ctx.all_used = entity_table.shape, all_used
        return entity_table.new_tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, entity_grad, relation_grad = ctx.saved_tensors
        entity_grad = entity_grad.mul_(grad)
        if not ctx.all_used:
            entity_grad = torch.sparse_coo_tensor(
                rows.unsqueeze(0), entity_grad, ctx.shape, check_invariants=False
            )
        return entity_grad, relation_grad.mul_(grad), None, None, None


@compiled
def write_query(entity, relation, e, r, query):
    """`transform` for entity e and relation r."""
    half, dim = len(query) // 2, len(query)
    for j in range(half):
        real, imaginary = entity[e, j], entity[e, j + half]
        cosine, sine = relation[r, j], relation[r, j + half]
        query[j] = real * cosine - imaginary * sine + relation[r, j + dim]
        query[j + half] = real * sine + imaginary * cosine + relation[r, j + half + dim]


def distinct_rows(
    parts: list[Int[Tensor, "_"]], num_rows: int
) -> tuple[Int[Tensor, "U"], tuple[Int[Tensor, "_"], ...]]:
    """The rows that these parts name, ascending, and where each part's rows are among them.

    Rows in use are marked by one bit each, so that little is read for rows that are not.
    """
    ids = torch.cat(parts)
    words = num_rows // WORD + 1
    mark, before = np.zeros(words, dtype=np.uint64), np.empty(words, dtype=np.int32)
    rows, place = torch.empty_like(ids), torch.empty(len(ids), dtype=torch.int32)
    mark_rows(ids.numpy(), mark)
    found = list_rows(mark, before, rows.numpy())
    find_places(ids.numpy(), mark, before, place.numpy())
    return rows[:found], place.split([len(part) for part in parts])


@compiled
def mark_rows(ids, mark):
    """Set the bit of each id."""
    for index in range(len(ids)):
        mark[ids[index] >> WORD_BITS] |= np.uint64(1) << np.uint64(ids[index] & (WORD - 1))


@compiled
def list_rows(mark, before, rows):
    """Write the marked rows, ascending, and how many come before each word; returns their number.

    `rows` may be longer.
    """
    count, one = 0, np.uint64(1)
    for word in range(len(mark)):
        before[word] = count
        rest = mark[word]
        while rest:
            lowest = rest & (~rest + one)
            rows[count] = word * WORD + ones_of(lowest - one)
            count += 1
            rest ^= lowest
    return count


@compiled
def find_places(ids, mark, before, place):
    """Write how many marked rows come before each id."""
    one = np.uint64(1)
    for index in range(len(ids)):
        word = ids[index] >> WORD_BITS
        below = (one << np.uint64(ids[index] & (WORD - 1))) - one
        place[index] = before[word] + ones_of(mark[word] & below)


@compiled
def ones_of(word):
    """The number of bits that are set, by adding neighbors (Warren, Hacker's Delight, 5-1)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def add_gradients(
    entity,
    relation,
    anchor_row,
    answer_row,
    ids_row,
    anchor,
    kind,
    answer,
    ids,
    log_q,
    target,
    entity_grad,
    relation_grad,
    answer_weight,
):
    """Add the gradients of both tables to `entity_grad` and `relation_grad`; returns the loss.

    Args:
        anchor_row, answer_row, ids_row: rows of `entity_grad` for these entities.
    """
    batch, many = log_q.shape
    dim, share, loss = entity.shape[1] - 1, batch // len(ids), 0.0
    half, number = dim // 2, entity.dtype.type
    answer_weight = number(answer_weight)
    none, one, log_many, scale = number(0), number(1), number(np.log(many)), number(1 / batch)
    query, query_grad = np.empty(dim, dtype=entity.dtype), np.empty(dim, dtype=entity.dtype)
    logit, exp_logit = np.empty(many, dtype=entity.dtype), np.empty(many, dtype=entity.dtype)
    for row in range(batch):
        e, r, correct, group = anchor[row], kind[row], answer[row], row // share
        write_query(entity, relation, e, r, query)
        largest = number(-np.inf)
        for k in range(many):
            candidate = ids[group, k]
            logit_k = entity[candidate, dim] - log_q[row, k]
            for j in range(dim):
                logit_k += query[j] * entity[candidate, j]
            logit[k] = exp_logit[k] = logit_k
            largest = max(largest, logit_k)
        for k in range(many):
            exp_logit[k] = np.exp(exp_logit[k] - largest)  # sums are not taken while writing
        total_exp, target_sum = none, none
        for k in range(many):
            total_exp += exp_logit[k]
            target_sum += target[row, k]
        log_total = largest + np.log(total_exp)
        excess = entity[correct, dim]
        for j in range(dim):
            excess += query[j] * entity[correct, j]
        excess = log_total - log_many - excess
        answer_pull = answer_weight / (one + np.exp(-excess))
        loss += answer_weight * (max(excess, none) + np.log1p(np.exp(-abs(excess))))
        query_grad[:] = none
        for k in range(many):
            candidate = ids[group, k]
            target_row = ids_row[group, k]
            loss += target[row, k] * (log_total - logit[k])
            weight = (
                exp_logit[k] / total_exp * (target_sum + answer_pull) - target[row, k]
            ) * scale
            for j in range(dim):
                query_grad[j] += weight * entity[candidate, j]
                entity_grad[target_row, j] += weight * query[j]
            entity_grad[target_row, dim] += weight
        weight, target_row = -answer_pull * scale, answer_row[row]
        for j in range(dim):
            query_grad[j] += weight * entity[correct, j]
            entity_grad[target_row, j] += weight * query[j]
        entity_grad[target_row, dim] += weight
        target_row = anchor_row[row]
        for j in range(half):
            real, imaginary = entity[e, j], entity[e, j + half]
            cosine, sine = relation[r, j], relation[r, j + half]
            real_grad, imaginary_grad = query_grad[j], query_grad[j + half]
            entity_grad[target_row, j] += real_grad * cosine + imaginary_grad * sine
            entity_grad[target_row, j + half] += imaginary_grad * cosine - real_grad * sine
            relation_grad[r, j] += real_grad * real + imaginary_grad * imaginary
            relation_grad[r, j + half] += imaginary_grad * real - real_grad * imaginary
            relation_grad[r, j + dim] += real_grad
            relation_grad[r, j + half + dim] += imaginary_grad
    return loss / batch
