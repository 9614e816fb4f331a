"""Distillation of a small model: entities against their query's transformed anchor vector.

The loop makes the loss and the gradients of both tables in one pass over the candidates."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.batch import group_rows
from sparring.kernels.runtime import compiled, enabled_for


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


def transform_rows(
    entity_table: Float[Tensor, "N d1"],
    relation_table: Float[Tensor, "R2 d2"],
    anchor: Int[Tensor, "B"],
    relation: Int[Tensor, "B"],
) -> Float[Tensor, "B d"]:
    """`transform` of rows of two tables, without gradients.

    Raises:
        IndexError: for ids that are no rows.
    """
    entity_table, relation_table = entity_table.detach(), relation_table.detach()
    if enabled_for(entity_table):
        query = entity_table.new_empty(len(anchor), entity_table.shape[1] - 1)
        given = (entity_table, relation_table, anchor, relation, query)
        if write_queries(*(tensor.numpy() for tensor in given)) == 0:
            return query
    return transform(F.embedding(anchor, entity_table), F.embedding(relation, relation_table))


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
    sparse: bool,
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
            does.
    """
    given = (anchor, relation, answer, ids, log_q, target)
    if enabled_for(entity_table):
        return Distillation.apply(entity_table, relation_table, given, answer_weight)
    query = transform(
        F.embedding(anchor, entity_table, sparse=sparse), F.embedding(relation, relation_table)
    )
    query = F.pad(query, (0, 1), value=1.0)
    grouped = group_rows(query, len(ids))
    candidates = F.embedding(ids, entity_table, sparse=sparse)
    logits = (grouped @ candidates.mT).flatten(0, 1) - log_q
    total = logits.logsumexp(1, keepdim=True)
    loss = (target * (total - logits)).sum(1).mean()
    if not answer_weight:
        return loss
    right = F.embedding(answer.unsqueeze(1), entity_table, sparse=sparse)
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
    ) -> Tensor:
        entity_table, relation_table = entity_table.detach(), relation_table.detach()
        anchor, _, answer, ids, _, _ = given
        index = torch.zeros(len(entity_table), dtype=torch.int32)
        rows = torch.empty(len(entity_table), dtype=torch.long)
        used = (index, rows, anchor, answer, ids)
        rows = rows[: list_rows(*(tensor.numpy() for tensor in used))]
        entity_grad = entity_table.new_zeros(len(rows), entity_table.shape[1])
        relation_grad = torch.zeros_like(relation_table)
        given = (
            *(entity_table, relation_table, index),
            *(tensor.contiguous() for tensor in given),
            *(entity_grad, relation_grad),
        )
        loss = add_gradients(*(tensor.numpy() for tensor in given), answer_weight)
        ctx.save_for_backward(rows, entity_grad, relation_grad)
        ctx.shape = entity_table.shape
        return entity_table.new_tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, entity_grad, relation_grad = ctx.saved_tensors
        entity_grad = torch.sparse_coo_tensor(
            rows.unsqueeze(0), entity_grad.mul_(grad), ctx.shape, check_invariants=False
        )
        return entity_grad, relation_grad.mul_(grad), None, None


@compiled
def write_queries(entity, relation, anchor, kind, query):
    """`transform` for all queries; returns how many of them name no row of these tables."""
    wrong = 0
    for row in range(len(query)):
        e, r = anchor[row], kind[row]
        if e < 0 or e >= len(entity) or r < 0 or r >= len(relation):
            wrong += 1
        else:
            write_query(entity, relation, e, r, query[row])
    return wrong


@compiled
def write_query(entity, relation, e, r, query):
    """`transform` for entity e and relation r."""
    half, dim = len(query) // 2, len(query)
    for j in range(half):
        real, imaginary = entity[e, j], entity[e, j + half]
        cosine, sine = relation[r, j], relation[r, j + half]
        query[j] = real * cosine - imaginary * sine + relation[r, j + dim]
        query[j + half] = real * sine + imaginary * cosine + relation[r, j + half + dim]


@compiled
def list_rows(index, rows, anchor, answer, ids):
    """Write the entities in use, ascending, into `rows`, and where each is there into `index`.

    Returns their number. `index` must be 0 throughout.
    """
    for row in range(len(anchor)):
        index[anchor[row]] = index[answer[row]] = 1
    for group in range(len(ids)):
        for k in range(ids.shape[1]):
            index[ids[group, k]] = 1
    count = 0
    for entity in range(len(index)):
        if index[entity]:
            rows[count], index[entity] = entity, count
            count += 1
    return count


@compiled
def add_gradients(
    entity,
    relation,
    index,
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
        index: row of `entity_grad` for each entity in use.
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
            target_row = index[candidate]
            loss += target[row, k] * (log_total - logit[k])
            weight = (
                exp_logit[k] / total_exp * (target_sum + answer_pull) - target[row, k]
            ) * scale
            for j in range(dim):
                query_grad[j] += weight * entity[candidate, j]
                entity_grad[target_row, j] += weight * query[j]
            entity_grad[target_row, dim] += weight
        weight, target_row = -answer_pull * scale, index[correct]
        for j in range(dim):
            query_grad[j] += weight * entity[correct, j]
            entity_grad[target_row, j] += weight * query[j]
        entity_grad[target_row, dim] += weight
        target_row = index[e]
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
