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
from sparring.generators.proposal import Proposal


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
    if entity.loops() and relation.loops() and not entity.sparse:
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
    """The same on the processor, for tables that want dense gradients."""

    @staticmethod
    def forward(ctx, entity, relation, queries, ids, log_q, target, likelihood):
        grads = torch.zeros_like(entity), torch.zeros_like(relation)
        asked = (queries.anchor, queries.relation, queries.answer, ids, log_q, target)
        given = (entity.detach(), relation.detach(), *(one.contiguous() for one in asked), *grads)
        loss = pull(*(one.numpy() for one in given), likelihood)
        ctx.save_for_backward(*grads)
        return entity.new_tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return *(one.mul_(grad) for one in ctx.saved_tensors), None, None, None, None, None


@compiled
def pull(
    entity, relation, anchor, kind, answer, ids, log_q, target, to_entity, to_relation, likelihood
):
    """Add the gradient for both tables to `to_entity` and `to_relation`; gives the loss."""
    batch, many = log_q.shape
    dim, share, loss = entity.shape[1] - 1, batch // len(ids), 0.0
    half, number = dim // 2, entity.dtype.type
    likelihood = number(likelihood)
    none, one, few, scale = number(0), number(1), number(np.log(many)), number(1 / batch)
    query, back = np.empty(dim, dtype=entity.dtype), np.empty(dim, dtype=entity.dtype)
    logit = np.empty(many, dtype=entity.dtype)
    for row in range(batch):
        here, there, right, group = anchor[row], kind[row], answer[row], row // share
        for j in range(half):
            real, imaginary = entity[here, j], entity[here, j + half]
            cosine, sine = relation[there, j], relation[there, j + half]
            query[j] = real * cosine - imaginary * sine + relation[there, j + dim]
            query[j + half] = real * sine + imaginary * cosine + relation[there, j + half + dim]
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
            every += np.exp(logit[k] - most)
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
            loss += target[row, k] * (everyone - logit[k])
            weight = np.exp(logit[k] - everyone) * (wanted + doubt) - target[row, k]
            weight *= scale
            for j in range(dim):
                back[j] += weight * entity[some, j]
                to_entity[some, j] += weight * query[j]
            to_entity[some, dim] += weight
        weight = -doubt * scale
        for j in range(dim):
            back[j] += weight * entity[right, j]
            to_entity[right, j] += weight * query[j]
        to_entity[right, dim] += weight
        for j in range(half):
            real, imaginary = entity[here, j], entity[here, j + half]
            cosine, sine = relation[there, j], relation[there, j + half]
            left, up = back[j], back[j + half]
            to_entity[here, j] += left * cosine + up * sine
            to_entity[here, j + half] += up * cosine - left * sine
            to_relation[there, j] += left * real + up * imaginary
            to_relation[there, j + half] += up * real - left * imaginary
            to_relation[there, j + dim] += left
            to_relation[there, j + half + dim] += up
    return loss / batch
