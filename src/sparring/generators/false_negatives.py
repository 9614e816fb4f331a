"""How likely a negative is a fact that the graph lacks, and what follows from that."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Negatives, Queries
from sparring.data.graph import TrainGraph
from sparring.data.index import Ragged, TripleIndex
from sparring.groups import ungroup
from sparring.kernels.lookup import not_answer

SMALLEST = 1e-12  # probability whose logarithm is taken


@dataclass(frozen=True)
class FalseNegativePolicy:
    """Whether the generator estimates false negatives, and how it treats them.

    Attributes:
        missing_rate: share of all true facts that you think the graph lacks. Above 0, each
            negative comes with the probability that it is one of them
            (`FalseNegativeClassifier`), which takes training facts held out of the graph
            (`graph.hold_out`). 0 estimates nothing.
        weight_negatives: weight negatives in the loss by 1 - p_false_negative.
        max_p_false_negative: negatives above this probability do not count; 1 keeps all.
        penalize_target: learn to draw likely false negatives less, whoever estimated them: the
            target distribution is multiplied by 1 - p_false_negative.

    Raises:
        ValueError: for rates and probabilities out of range.
    """

    missing_rate: float = 0.0
    weight_negatives: bool = True
    max_p_false_negative: float = 1.0
    penalize_target: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.missing_rate < 1:
            raise ValueError(
                f"missing_rate is at least 0 and below 1; got missing_rate={self.missing_rate}"
            )
        if not 0 < self.max_p_false_negative <= 1:
            raise ValueError(
                "max_p_false_negative is above 0 and at most 1; "
                f"got max_p_false_negative={self.max_p_false_negative}"
            )

    def apply(self, drawn: Negatives, p_false_negative: Float[Tensor, "B K"]) -> Negatives:
        """Negatives with these probabilities, and with weight and mask that follow from them."""
        weight = 1 - p_false_negative if self.weight_negatives else drawn.weight
        mask = drawn.mask & (p_false_negative <= self.max_p_false_negative)
        return replace(drawn, mask=mask, p_false_negative=p_false_negative, weight=weight)


@dataclass(frozen=True, eq=False)
class CandidateFeatures:
    """What the classifier sees of candidates.

    Attributes:
        features: F numbers per candidate.
        held_out: which candidates are held-out facts.
        unknown: which candidates are neither known facts nor answers: the ones to classify.
        rejected: which candidates people have said are false.
    """

    features: Float[Tensor, "B K F"]
    held_out: Bool[Tensor, "B K"]
    unknown: Bool[Tensor, "B K"]
    rejected: Bool[Tensor, "B K"]


class FalseNegativeClassifier(nn.Module):
    """Probability that a candidate is a missing fact, calibrated on held-out facts.

    Held-out facts are true, and neither trained on nor known, like the facts that the graph
    lacks. Of all true facts with the same features, the same share is held out. A small network
    learns which candidates are true from which are held out, as they are drawn (Elkan & Noto,
    2008, "Learning Classifiers from Only Positive and Unlabeled Data").

    The features are: the generator's log-probability of the candidate, and its difference from
    that of the answer; how often the relation has the candidate on that side; its degree; whether
    a fact links it to the anchor; whether it is the anchor; the query's number of known answers;
    and the mean number of answers of the relation's queries.

    Args:
        missing_rate: share of all true facts that the graph lacks, above 0 and below 1.
        width: of the hidden layer.

    Raises:
        ValueError: for a rate out of range, or a graph without held-out facts.
    """

    degree: Float[Tensor, "N"]
    answers: Float[Tensor, "S"]

    def __init__(self, graph: TrainGraph, *, missing_rate: float, width: int = 16):
        super().__init__()
        if not 0 < missing_rate < 1:
            raise ValueError(
                f"missing_rate is above 0 and below 1; got missing_rate={missing_rate}"
            )
        held_out = graph.held_out
        if held_out is None or not len(held_out):
            raise ValueError(
                "probabilities of missing facts are calibrated on held-out training facts, and "
                "there are none; set graph.hold_out, such as 0.02"
            )
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        self.known, self.known_false = graph.known, graph.known_false
        self.held_out = TripleIndex(held_out, graph.num_entities, graph.num_relations)
        given = len(graph.triples) + len(held_out)
        # of the facts that are held out or missing, how many are held out
        self.label_frequency = len(held_out) / (
            len(held_out) + missing_rate / (1 - missing_rate) * given
        )
        head, _, tail = graph.triples.unbind(1)
        self.links = Ragged.from_pairs(
            torch.cat([head, tail]), torch.cat([tail, head]), graph.num_entities
        )
        self.register_buffer("degree", graph.degree.log1p(), persistent=False)
        query, size = self.known.queries().relation, self.known.sizes().float()
        total = size.new_zeros(2 * graph.num_relations).index_add(0, query, size)
        count = torch.bincount(query, minlength=2 * graph.num_relations)
        self.register_buffer("answers", (total / count.clamp(min=1)).log1p(), persistent=False)
        self.layers = classifier_network(8, width)

    @torch.no_grad()
    def featurize(
        self,
        queries: Queries,
        ids: Int[Tensor, "G K"],
        log_q: Float[Tensor, "B K"],
        answer_log_q: Float[Tensor, "B"],
    ) -> CandidateFeatures:
        """Features of candidates that are drawn with density q."""
        own = ungroup(ids, len(queries))
        inverse = queries.inverse(self.num_relations).relation
        reverse = Queries(
            own.flatten(),
            inverse.repeat_interleave(own.shape[1]),
            own.flatten(),
            queries.weight.new_ones(()).expand(own.numel()),
        )
        lift = log_q.clamp(min=-50.0) + math.log(self.num_entities)
        known = self.known.count(queries).float().log1p().unsqueeze(1)
        features = [
            lift / 4,
            (lift - answer_log_q.unsqueeze(1) - math.log(self.num_entities)) / 4,
            self.known.count(reverse).view_as(own).float().log1p() / 2,
            self.degree[own] / 4,
            self.links.contains(queries.anchor, own).float(),
            (own == queries.anchor.unsqueeze(1)).float(),
            known.expand(own.shape) / 4,
            self.answers[queries.relation].unsqueeze(1).expand(own.shape) / 4,
        ]
        return CandidateFeatures(
            torch.stack(features, 2),
            self.held_out.contains(queries, own),
            not_answer(queries.answer, ids) & ~self.known.contains(queries, own),
            self.known_false.contains(queries, own),
        )

    def forward(self, candidates: CandidateFeatures) -> Float[Tensor, "B K"]:
        """Probability that each candidate is true, given that it is not known."""
        found = self.layers(candidates.features).squeeze(2).sigmoid()
        return found.masked_fill(candidates.rejected, 0.0)

    def loss(self, candidates: CandidateFeatures) -> Float[Tensor, ""]:
        """Mean cross-entropy of which unknown candidates are held out."""
        each = pu_cross_entropy(self(candidates), candidates.held_out, self.label_frequency)
        each = each * candidates.unknown
        return each.sum() / candidates.unknown.sum().clamp(min=1)


def classifier_network(features: int, width: int) -> nn.Sequential:
    """A network with one hidden layer, whose probabilities are all small at first."""
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -4.0)  # few candidates are true
    return nn.Sequential(nn.Linear(features, width), nn.Tanh(), last)


def pu_cross_entropy(
    p_true: Float[Tensor, "..."], held_out: Bool[Tensor, "..."], label_frequency: float
) -> Float[Tensor, "..."]:
    """Cross-entropy, in nats, of being held out, if this share of true facts is."""
    p_held_out = label_frequency * p_true
    likelihood = torch.where(held_out, p_held_out, 1 - p_held_out)
    return -likelihood.clamp(min=SMALLEST).log()
