"""What mined rules say about a candidate: how sure may one be that it is an answer?

A main model that is a book of rules."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, expand_lists, group_rows, ungroup
from sparring.data.graph import TrainGraph
from sparring.data.index import ragged_arange
from sparring.models.base import KGEModel
from sparring.models.rule_mining import AT_ONCE, Pairs, Rules, Walks, mined, portions
from sparring.registry import register


@dataclass(frozen=True, eq=False)
class Walkers:
    """Every first step of every rule about each query, in order of the queries.

    Attributes:
        row: the query.
        middle: where the step leads.
    """

    row: Int[Tensor, "L"]
    rule: Int[Tensor, "L"]
    middle: Int[Tensor, "L"]

    def __getitem__(self, some: slice | Tensor) -> "Walkers":
        """The chosen ones."""
        return Walkers(self.row[some], self.rule[some], self.middle[some])

    def about(self, rows: slice) -> "Walkers":
        """Those of a few queries."""
        ends = self.row.new_tensor([rows.start, rows.stop])
        return self[slice(*torch.searchsorted(self.row, ends).tolist())]


class RuleBook(nn.Module):
    """Rules of a training graph, asked about candidates.

    Beside the rules of one and two steps there is one without a body for each relation and each
    entity that answers it: head(X, e) <- true, of which the confidence is the share of the
    relation's facts that e answers. They tell apart what no other rule speaks of.

    Args:
        agreement: how the confidences of all rules that speak for a candidate become one, of
            AGREEMENTS: that of the surest, or 1 - product of (1 - confidence).
        pessimism: of the rules without a body; see `mined`.

    Raises:
        ValueError: for an agreement of another name.
    """

    first: Int[Tensor, "M"]
    second: Int[Tensor, "M"]
    confidence: Float[Tensor, "MP"]
    start: Int[Tensor, "R2+1"]
    usual: Int[Tensor, "P"]
    code: Int[Tensor, "M"]
    coded: Int[Tensor, "M"]

    def __init__(
        self,
        graph: TrainGraph,
        rules: Rules,
        *,
        agreement: str = "max",
        pessimism: float = 5.0,
    ):
        super().__init__()
        if agreement not in AGREEMENTS:
            known = ", ".join(AGREEMENTS)
            raise ValueError(f"rules agree by one of {known}; got agreement={agreement!r}")
        self.num_entities, self.agree = graph.num_entities, AGREEMENTS[agreement]
        self.walks, self.pairs = Walks(graph), Pairs(graph)
        slots = self.walks.stay
        code, coded = ((rules.head * slots + rules.first) * (slots + 1) + rules.second).sort()
        relations = torch.arange(self.walks.stay + 1, device=rules.head.device)
        usual, share = _usual(graph, pessimism)
        parts = {
            "first": rules.first,
            "second": rules.second,
            "confidence": torch.cat([rules.confidence, share]),
            "start": torch.searchsorted(rules.head, relations),
            "usual": usual,
            "code": code,
            "coded": coded,
        }
        for name, part in parts.items():
            self.register_buffer(name, part, persistent=False)

    def believed(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """The confidence, in [0, 1), that each candidate answers its query; 0 without a rule.

        Known answers are believed by what else is known, for no rule implies itself. A few
        candidates cost a search for each neighbour of the anchor, however many rules there are;
        of many, all walks of the rules are followed to their ends.
        """
        steps = self.walks.degree(queries.anchor).sum() * ids.shape[1]
        if steps > len(queries) * self.num_entities:
            table = self._everyone(queries)
            return (
                group_rows(table, len(ids)).gather(2, expand_lists(ids, len(queries))).flatten(0, 1)
            )
        return self._candidates(queries, ungroup(ids, len(queries)))

    def _walkers(self, queries: Queries) -> Walkers:
        start = self.start[queries.relation]
        row, rule = ragged_arange(start, self.start[queries.relation + 1] - start)
        some, middle = self.walks.along(queries.anchor[row], self.first[rule])
        found = Walkers(row[some], rule[some], middle)
        return found[found.middle != queries.anchor[found.row]]

    def _everyone(self, queries: Queries) -> Float[Tensor, "B N"]:
        """Belief in all entities, by following all walks that rules speak of."""
        walkers = self._walkers(queries)
        ends = self.walks.count(walkers.middle, self.second[walkers.rule])
        size = torch.zeros_like(queries.anchor).index_add(0, walkers.row, ends)
        parts = [queries.weight.new_zeros(0, self.num_entities)]
        for rows in portions(size, AT_ONCE):
            some = walkers.about(rows)
            step, end = self.walks.along(some.middle, self.second[some.rule])
            some = some[step]
            stays = self.second[some.rule] == self.walks.stay
            told = (end != queries.anchor[some.row]) & (stays | (end != some.middle))
            relation = queries.relation[rows] * self.num_entities
            low = torch.searchsorted(self.usual, relation)
            high = torch.searchsorted(self.usual, relation + self.num_entities)
            row, spot = ragged_arange(low, high - low)
            place = (some.row - rows.start) * self.num_entities + end
            usual = row * self.num_entities + self.usual[spot] % self.num_entities
            parts.append(
                self._agreed(
                    torch.cat([place[told], usual]),
                    torch.cat([some.rule[told], len(self.first) + spot]),
                    (rows.stop - rows.start, self.num_entities),
                )
            )
        return torch.cat(parts)

    def _candidates(self, queries: Queries, ids: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Belief in a few candidates of each query, by the walks that lead to them."""
        width = ids.shape[1]
        wanted = queries.relation.unsqueeze(1) * self.num_entities + ids
        found, spot = _looked_up(self.usual, wanted.flatten())
        places, rules = [found], [len(self.first) + spot]
        row, first, middle = self.walks.anywhere(queries.anchor)
        slots = self.walks.stay
        for start in range(0, len(row), most := max(1, AT_ONCE // width)):
            mine, step, stop = (each[start : start + most] for each in (row, first, middle))
            end = ids[mine].flatten()
            hit, second = self.pairs.between(stop.repeat_interleave(width), end)
            walk, column = hit // width, hit % width
            mine, step, stop, end = mine[walk], step[walk], stop[walk], end[hit]
            code = (queries.relation[mine] * slots + step) * (slots + 1) + second
            three = (stop != queries.anchor[mine]) & (end != queries.anchor[mine])
            three &= (second == slots) | (end != stop)
            told, spot = _looked_up(self.code, torch.where(three, code, -1))
            places.append((mine * width + column)[told])
            rules.append(self.coded[spot])
        return self._agreed(torch.cat(places), torch.cat(rules), (len(ids), width))

    def _agreed(
        self, place: Int[Tensor, "V"], rule: Int[Tensor, "V"], shape: tuple[int, int]
    ) -> Float[Tensor, "B K"]:
        return self.agree(place, rule, self.confidence, shape[0] * shape[1]).view(shape)


def _looked_up(
    known: Int[Tensor, "M"], wanted: Int[Tensor, "A"]
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """(row, place) of what is wanted and known, where `known` is sorted."""
    if not len(known):
        return wanted[:0], wanted[:0]
    spot = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
    row = (known[spot] == wanted).nonzero().squeeze(1)
    return row, spot[row]


def _usual(graph: TrainGraph, pessimism: float) -> tuple[Int[Tensor, "P"], Float[Tensor, "P"]]:
    """Answers of each relation as relation * N + entity, and their shares of its facts."""
    slots, facts = 2 * graph.num_relations, graph.known.facts
    relation, entity = facts // graph.num_entities % slots, facts % graph.num_entities
    usual, count = (relation * graph.num_entities + entity).unique(return_counts=True)
    whole = torch.bincount(relation, minlength=slots)[usual // graph.num_entities]
    return usual, (count.double() / (whole + pessimism)).float()


def surest(
    place: Int[Tensor, "V"], rule: Int[Tensor, "V"], confidence: Float[Tensor, "M"], size: int
) -> Float[Tensor, "S"]:
    """The confidence of the most confident rule that speaks at each place."""
    return confidence.new_zeros(size).scatter_reduce(0, place, confidence[rule], "amax")


def noisy_or(
    place: Int[Tensor, "V"], rule: Int[Tensor, "V"], confidence: Float[Tensor, "M"], size: int
) -> Float[Tensor, "S"]:
    """1 - product of (1 - confidence) over the distinct rules that speak at each place."""
    spoken = (place * len(confidence) + rule).unique()
    place, rule = spoken // len(confidence), spoken % len(confidence)
    doubt = (-confidence[rule]).log1p()
    return -confidence.new_zeros(size).index_add(0, place, doubt).expm1()


Agreement = Callable[[Tensor, Tensor, Tensor, int], Tensor]
AGREEMENTS: dict[str, Agreement] = {"max": surest, "noisy-or": noisy_or}


@dataclass(frozen=True, eq=False)
class RuleScorer:
    """sharpness * log(confidence + 1 / N): a softmax shares out belief by confidence."""

    book: RuleBook
    queries: Queries
    sharpness: Float[Tensor, ""]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        believed = self.book.believed(self.queries, ids)
        return self.sharpness * (believed + 1 / self.book.num_entities).log()

    def __getitem__(self, rows: slice) -> "RuleScorer":
        """The scorer of the chosen queries."""
        return replace(self, queries=self.queries[rows])


@register("rules", example={"support": 1})
class RuleModel(KGEModel):
    """Rules of one and two steps, mined from the training graph, and how often answers occur.

    After AnyBURL (Meilicke et al., 2019, "Anytime Bottom-Up Rule Learning for Knowledge Graph
    Completion"), but for constants within bodies and longer bodies. All is known from the start:
    training adjusts only the sharpness of the scores, which changes no rank, and may take no
    epoch at all.

    Args:
        agreement: the confidence of all rules that speak for a candidate: that of the surest
            ("max"), or 1 - product of (1 - confidence) ("noisy-or").
        anchors: entities per first relation that bodies are counted from.
        support: facts that a rule explains, at least.
        confidence: of a rule, at least.
        pessimism: added to the number of cases.
        most: rules kept per relation and direction.
        seed: of the sample that is counted.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        agreement: Literal["max", "noisy-or"] = "max",
        anchors: int = 200,
        support: int = 2,
        confidence: float = 0.01,
        pessimism: float = 5.0,
        most: int = 200,
        seed: int = 0,
    ):
        super().__init__()
        rules = mined(
            graph,
            anchors=anchors,
            support=support,
            confidence=confidence,
            pessimism=pessimism,
            most=most,
            seed=seed,
        )
        self.book = RuleBook(graph, rules, agreement=agreement, pessimism=pessimism)
        self.log_sharpness = nn.Parameter(torch.zeros(()))

    def forward(self, queries):
        return RuleScorer(self.book, queries, self.log_sharpness.exp())
