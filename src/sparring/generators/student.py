"""A small model of what the main model finds plausible.

What a small model learns from candidates and their target, with its gradient in one pass."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable
from sparring.kernels.runtime import compiled
from sparring.models.scorers import DotScorer


@compiled
def turn(entity, relation, here, there, query):
    """Set `query` to the vector of entity `here`, multiplied and shifted by relation `there`."""
    half, dim = len(query) // 2, len(query)
    for j in range(half):
        real, imaginary = entity[here, j], entity[here, j + half]
        cosine, sine = relation[there, j], relation[there, j + half]
        query[j] = real * cosine - imaginary * sine + relation[there, j + dim]
        query[j + half] = real * sine + imaginary * cosine + relation[there, j + half + dim]


@compiled
def turn_all(entity, relation, anchor, kind, made):
    """The same for all queries; gives how many of them ask about nothing in these tables."""
    wrong = 0
    for row in range(len(made)):
        here, there = anchor[row], kind[row]
        if here < 0 or here >= len(entity) or there < 0 or there >= len(relation):
            wrong += 1
        else:
            turn(entity, relation, here, there, made[row])
    return wrong


class Proposal(nn.Module):
    """Logits u_c . v_e + b_e, where the query multiplies and shifts its anchor's vector.

    A shift is what distance models do to the anchor, a complex factor what the others do.

    Args:
        dim: numbers per vector, even: half of them are imaginary parts.
        sparse: give sparse gradients, for so many entities that no step should touch them all.

    Raises:
        ValueError: for an odd dim.
    """

    def __init__(self, graph: TrainGraph, *, dim: int, sparse: bool):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"a proposal's vectors are complex, so dim must be even; got {dim}")
        self.dim = dim
        # vector and bias side by side, and likewise factor and shift: one look-up finds both
        self.entity = EmbeddingTable(graph.num_entities, dim + 1, sparse=sparse)
        self.relation = EmbeddingTable(2 * graph.num_relations, 2 * dim)
        # nearly indifferent: logits start at a standard deviation of about .1
        nn.init.normal_(self.entity.weight, std=dim**-0.25 / 4)
        nn.init.normal_(self.relation.weight, std=dim**-0.25 / 4)
        with torch.no_grad():
            self.entity.weight[:, dim] = 0.0
            self.relation.weight[:, : dim // 2] = 1.0
            self.relation.weight[:, dim // 2 : dim] = 0.0

    @property
    def vectors(self) -> Float[Tensor, "N d"]:
        """Of all entities, detached."""
        return self.entity.weight.detach()[:, : self.dim]

    @property
    def bias(self) -> Float[Tensor, "N"]:
        """Of all entities, detached."""
        return self.entity.weight.detach()[:, self.dim]

    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        """The vector of each query."""
        tables = (self.entity, self.relation)
        if all(one.loops() for one in tables) and not torch.is_grad_enabled():
            made = self.entity.weight.new_empty(len(queries), self.dim)
            given = (*(one.weight for one in tables), queries.anchor, queries.relation, made)
            if turn_all(*(one.detach().numpy() for one in given)) == 0:
                return made
        anchor = self.entity(queries.anchor)[:, : self.dim]
        real, imaginary = anchor.chunk(2, 1)
        cosine, sine, shift = self.relation(queries.relation).split(
            [self.dim // 2, self.dim // 2, self.dim], 1
        )
        turned = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
        return torch.cat(turned, 1) + shift

    def forward(self, queries: Queries) -> DotScorer:
        """Says how plausible candidates are, up to a constant per query."""
        return DotScorer(nn.functional.pad(self.context(queries), (0, 1), value=1.0), self.entity)


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
