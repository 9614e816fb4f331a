"""How likely is a wrong answer a fact that the graph lacks?"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, not_answer, ungroup
from sparring.data.graph import TrainGraph
from sparring.data.index import Ragged, TripleIndex

TINY = 1e-12


@dataclass(frozen=True, eq=False)
class CandidateFeatures:
    """What is seen of candidates.

    Attributes:
        held: which are held-out facts.
        open: which are neither known facts nor answers, so that there is something to ask.
    """

    features: Float[Tensor, "B K F"]
    held: Bool[Tensor, "B K"]
    open: Bool[Tensor, "B K"]


class FalseNegativeClassifier(nn.Module):
    """Probability that a candidate is a missing fact, calibrated on facts held out.

    Held-out facts are true, and neither trained on nor known: what the graph lacks looks like
    them, so of all true facts among the candidates that look alike, the same share is held out.
    A small network learns which candidates are true from seeing which are held out, while they
    are drawn (Elkan & Noto, 2008, "Learning Classifiers from Only Positive and Unlabeled Data").

    It sees how plausible the generator finds the candidate, by itself and beside the answer; how
    often the relation has it on that side; its degree; whether any fact links it to the anchor;
    the query's number of known answers; and how many queries of the relation have, in the mean.

    Args:
        missing: share of all true facts that the graph lacks, above 0, below 1.
        width: of the hidden layer.

    Raises:
        ValueError: for a share that is none, or a graph without facts held out.
    """

    degree: Float[Tensor, "N"]
    answers: Float[Tensor, "S"]

    def __init__(self, graph: TrainGraph, *, missing: float, width: int = 16):
        super().__init__()
        if not 0 < missing < 1:
            raise ValueError(
                f"the share of missing facts is above 0 and below 1; got missing={missing}"
            )
        held = graph.held_out
        if held is None or not len(held):
            raise ValueError(
                "estimates of missing facts are calibrated on training facts held out, and none "
                "are; set graph.hold_out, such as 0.02"
            )
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        sizes = graph.num_entities, graph.num_relations
        self.known, self.held = graph.known, TripleIndex(held, *sizes)
        every = len(graph.triples) + len(held)
        # of the facts that are held out or missing, how many are held out
        self.share = len(held) / (len(held) + missing / (1 - missing) * every)
        head, _, tail = graph.triples.unbind(1)
        self.links = Ragged.from_pairs(
            torch.cat([head, tail]), torch.cat([tail, head]), graph.num_entities
        )
        self.register_buffer("degree", graph.degree.log1p(), persistent=False)
        query, size = self.known.queries().relation, self.known.sizes().float()
        total = size.new_zeros(2 * graph.num_relations).index_add(0, query, size)
        count = torch.bincount(query, minlength=2 * graph.num_relations)
        self.register_buffer("answers", (total / count.clamp(min=1)).log1p(), persistent=False)
        self.layers = layers(8, width)

    @torch.no_grad()
    def look(
        self,
        queries: Queries,
        ids: Int[Tensor, "G K"],
        log_q: Float[Tensor, "B K"],
        answer_log_q: Float[Tensor, "B"],
    ) -> CandidateFeatures:
        """What is to be seen of candidates that are drawn with the density q."""
        own = ungroup(ids, len(queries))
        inverse = queries.inverse(self.num_relations).relation
        reverse = Queries(
            own.flatten(),
            inverse.repeat_interleave(own.shape[1]),
            own.flatten(),
            queries.weight.new_ones(()).expand(own.numel()),
        )
        lifted = log_q.clamp(min=-50.0) + math.log(self.num_entities)
        known = self.known.count(queries).float().log1p().unsqueeze(1)
        features = [
            lifted / 4,
            (lifted - answer_log_q.unsqueeze(1) - math.log(self.num_entities)) / 4,
            self.known.count(reverse).view_as(own).float().log1p() / 2,
            self.degree[own] / 4,
            self.links.contains(queries.anchor, own).float(),
            (own == queries.anchor.unsqueeze(1)).float(),
            known.expand(own.shape) / 4,
            self.answers[queries.relation].unsqueeze(1).expand(own.shape) / 4,
        ]
        wrong = not_answer(queries.answer, ids)
        return CandidateFeatures(
            torch.stack(features, 2),
            self.held.contains(queries, own),
            wrong & ~self.known.contains(queries, own),
        )

    def forward(self, evidence: CandidateFeatures) -> Float[Tensor, "B K"]:
        """Probability that each candidate is true, of those that are not known."""
        return self.layers(evidence.features).squeeze(2).sigmoid()

    def loss(self, evidence: CandidateFeatures) -> Float[Tensor, ""]:
        """Cross-entropy of being held out, over candidates that may be."""
        each = surprise(self(evidence), evidence.held, self.share) * evidence.open
        return each.sum() / evidence.open.sum().clamp(min=1)


def layers(features: int, width: int) -> nn.Sequential:
    """A network that says nearly no to whatever it sees, until it has learned."""
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -4.0)  # few candidates are true
    return nn.Sequential(nn.Linear(features, width), nn.Tanh(), last)


def surprise(
    estimate: Float[Tensor, "..."], held: Bool[Tensor, "..."], share: float
) -> Float[Tensor, "..."]:
    """Cross-entropy, in nats, of what is held out: of true facts, this share is."""
    held_out = share * estimate
    chance = torch.where(held, held_out, 1 - held_out)
    return -chance.clamp(min=TINY).log()
