"""What a small model learns from candidates and their target, with its gradient in one pass."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.compiled import compiled
from sparring.generators.proposal import Proposal, turn


def distil(
    proposal: Proposal,
    queries: Queries,
    ids: Int[Tensor, "G K"],
    log_q: Float[Tensor, "B K"],
    target: Float[Tensor, "B K"],
    likelihood: float,
) -> Float[Tensor, ""]:
    """Forward KL of the small model from the target among candidates, but for a constant.

    Args:
        ids: entities, as those of the queries must be; the loop does not look twice.
        log_q: density of the candidates, for which the model's logits are corrected.
        target: probabilities, or 0 throughout for a query that is not to count.
        likelihood: weight of minus the log-probability of the answer, against candidates of this
            density (noise-contrastive estimation with one sum for all of them).
    """
    entity, relation = proposal.entity, proposal.relation
    if entity.loops() and relation.loops():
        return Distil.apply(entity.weight, relation.weight, queries, ids, log_q, target, likelihood)
    student = proposal(queries)
    logits = student(ids) - log_q
    everyone = logits.logsumexp(1, keepdim=True)
    apart = (target * (everyone - logits)).sum(1).mean()
    if not likelihood:
        return apart
    rivals = everyone - math.log(logits.shape[1])
    return apart + likelihood * F.softplus(rivals - student(queries.answer.unsqueeze(1))).mean()


class Distil(Function):
    """The same on the processor; the gradient for entities is that of the rows in use."""

    @staticmethod
    def forward(ctx, entity, relation, queries, ids, log_q, target, likelihood):
        entity, relation = entity.detach(), relation.detach()
        asked = (queries.anchor, queries.answer, ids)
        place = torch.zeros(len(entity), dtype=torch.int32)
        rows = torch.empty(len(entity), dtype=torch.long)
        rows = rows[: list_rows(place.numpy(), rows.numpy(), *(one.numpy() for one in asked))]
        grads = entity.new_zeros(len(rows), entity.shape[1]), torch.zeros_like(relation)
        asked = (queries.anchor, queries.relation, queries.answer, ids, log_q, target)
        given = (entity, relation, place, *(one.contiguous() for one in asked), *grads)
        loss = pull(*(one.numpy() for one in given), likelihood)
        ctx.save_for_backward(rows, *grads)
        ctx.shape = entity.shape
        return entity.new_tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rows, to_entity, to_relation = ctx.saved_tensors
        to_entity = torch.sparse_coo_tensor(
            rows.unsqueeze(0), to_entity.mul_(grad), ctx.shape, check_invariants=False
        )
        return to_entity, to_relation.mul_(grad), None, None, None, None, None


@compiled
def list_rows(place, rows, anchor, answer, ids):
    """Set `rows` to the entities that are in use, ascending, and `place` to where each is there.

    Gives how many they are. `place` must be 0 throughout.
    """
    for row in range(len(anchor)):
        place[anchor[row]] = place[answer[row]] = 1
    for group in range(len(ids)):
        for k in range(ids.shape[1]):
            place[ids[group, k]] = 1
    count = 0
    for entity in range(len(place)):
        if place[entity]:
            rows[count], place[entity] = entity, count
            count += 1
    return count


@compiled
def pull(
    entity,
    relation,
    place,
    anchor,
    kind,
    answer,
    ids,
    log_q,
    target,
    to_entity,
    to_relation,
    likelihood,
):
    """Add the gradient for both tables to `to_entity` and `to_relation`; gives the loss.

    Args:
        place: of an entity's gradient in `to_entity`.
    """
    batch, many = log_q.shape
    dim, share, loss = entity.shape[1] - 1, batch // len(ids), 0.0
    half, number = dim // 2, entity.dtype.type
    likelihood = number(likelihood)
    none, one, few, scale = number(0), number(1), number(np.log(many)), number(1 / batch)
    query, back = np.empty(dim, dtype=entity.dtype), np.empty(dim, dtype=entity.dtype)
    logit, part = np.empty(many, dtype=entity.dtype), np.empty(many, dtype=entity.dtype)
    for row in range(batch):
        here, there, right, group = anchor[row], kind[row], answer[row], row // share
        turn(entity, relation, here, there, query)
        most = number(-np.inf)
        for k in range(many):
            some = ids[group, k]
            total = entity[some, dim] - log_q[row, k]
            for j in range(dim):
                total += query[j] * entity[some, j]
            logit[k] = total
            most = max(most, total)
        every, wanted = none, none
        for k in range(many):
            part[k] = np.exp(logit[k] - most)
            every += part[k]
            wanted += target[row, k]
        everyone = most + np.log(every)
        against = entity[right, dim]
        for j in range(dim):
            against += query[j] * entity[right, j]
        against = everyone - few - against
        doubt = likelihood / (one + np.exp(-against))
        loss += likelihood * (max(against, none) + np.log1p(np.exp(-abs(against))))
        back[:] = none
        for k in range(many):
            some = ids[group, k]
            slot = place[some]
            loss += target[row, k] * (everyone - logit[k])
            weight = (part[k] / every * (wanted + doubt) - target[row, k]) * scale
            for j in range(dim):
                back[j] += weight * entity[some, j]
                to_entity[slot, j] += weight * query[j]
            to_entity[slot, dim] += weight
        weight, slot = -doubt * scale, place[right]
        for j in range(dim):
            back[j] += weight * entity[right, j]
            to_entity[slot, j] += weight * query[j]
        to_entity[slot, dim] += weight
        slot = place[here]
        for j in range(half):
            real, imaginary = entity[here, j], entity[here, j + half]
            cosine, sine = relation[there, j], relation[there, j + half]
            left, up = back[j], back[j + half]
            to_entity[slot, j] += left * cosine + up * sine
            to_entity[slot, j + half] += up * cosine - left * sine
            to_relation[there, j] += left * real + up * imaginary
            to_relation[there, j + half] += up * real - left * imaginary
            to_relation[there, j + dim] += left
            to_relation[there, j + half + dim] += up
    return loss / batch
