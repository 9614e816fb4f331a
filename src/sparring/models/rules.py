"""A model made of rules: the confidence of mined rules that predict a candidate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.data.index import Ragged, ragged_arange
from sparring.groups import expand_lists, group_rows, ungroup
from sparring.models.base import KGEModel
from sparring.models.rule_mining import (
    MAX_PATHS,
    NeighborIndex,
    RelationIndex,
    Rules,
    chunks_of,
    mine_rules,
)
from sparring.registry import register


@register(
    "rules",
    example={"min_support": 1},
    renamed={
        "agreement": "aggregation",
        "anchors": "anchors_per_relation",
        "support": "min_support",
        "confidence": "min_confidence",
        "pessimism": "unseen_negatives",
        "most": "rules_per_relation",
    },
)
class RuleModel(KGEModel):
    """Rules with one or two body atoms, mined from the training graph, and zero rules.

    After AnyBURL (Meilicke et al., 2019, "Anytime Bottom-Up Rule Learning for Knowledge Graph
    Completion"), without constants in bodies and without longer bodies. The rules are fixed:
    training adjusts only the temperature of the scores, which changes no rank, so zero epochs
    are enough.

    Args:
        graph: the training graph.
        aggregation: how the confidences of all rules that predict a candidate are combined: "max"
            for their maximum, "noisy-or" for 1 - product of (1 - confidence).
        anchors_per_relation, min_support, min_confidence: as for `mine_rules`.
        unseen_negatives, rules_per_relation, seed: as for `mine_rules`.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        aggregation: Literal["max", "noisy-or"] = "max",
        anchors_per_relation: int = 200,
        min_support: int = 2,
        min_confidence: float = 0.01,
        unseen_negatives: float = 5.0,
        rules_per_relation: int = 200,
        seed: int = 0,
    ):
        super().__init__()
        rules = mine_rules(
            graph,
            anchors_per_relation=anchors_per_relation,
            min_support=min_support,
            min_confidence=min_confidence,
            unseen_negatives=unseen_negatives,
            rules_per_relation=rules_per_relation,
            seed=seed,
        )
        self.predictor = RulePredictor(
            graph, rules, aggregation=aggregation, unseen_negatives=unseen_negatives
        )
        self.log_inverse_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, queries: Queries) -> Scorer:
        return RuleScorer(self.predictor, queries, self.log_inverse_temperature.exp())


@dataclass(frozen=True, eq=False)
class RuleScorer:
    """inverse_temperature * log(confidence + 1 / N), so a softmax is proportional to confidence."""

    predictor: "RulePredictor"
    queries: Queries
    inverse_temperature: Float[Tensor, ""]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Score each query against its list of candidates."""
        confidence = self.predictor(self.queries, ids)
        return self.inverse_temperature * (confidence + 1 / self.predictor.num_entities).log()

    def __getitem__(self, rows: slice) -> "RuleScorer":
        """The scorer of the selected queries."""
        return replace(self, queries=self.queries[rows])


class RulePredictor(nn.Module):
    """Applies rules of a training graph to queries.

    Next to the rules with one or two body atoms there is a zero rule, without a body, for each
    relation and each of its answers e: head(X, e) <- true. Its confidence is the fraction of the
    relation's facts that have e as answer. Zero rules rank candidates that no other rule predicts.

    Args:
        graph: the training graph.
        rules: the mined rules.
        aggregation: how the confidences of all rules that predict a candidate are combined; a key
            of `AGGREGATIONS`.
        unseen_negatives: for the zero rules; see `mine_rules`.

    Raises:
        ValueError: for an unknown aggregation.
    """

    first: Int[Tensor, "M"]
    second: Int[Tensor, "M"]
    confidence: Float[Tensor, "MZ"]
    start: Int[Tensor, "R2+1"]
    code: Int[Tensor, "M"]
    rule_of_code: Int[Tensor, "M"]

    def __init__(
        self,
        graph: TrainGraph,
        rules: Rules,
        *,
        aggregation: str = "max",
        unseen_negatives: float = 5.0,
    ):
        super().__init__()
        if aggregation not in AGGREGATIONS:
            known = ", ".join(AGGREGATIONS)
            raise ValueError(f"aggregation must be one of {known}; got {aggregation!r}")
        self.num_entities, self.aggregate = graph.num_entities, AGGREGATIONS[aggregation]
        self.index, self.relations = NeighborIndex(graph), RelationIndex(graph)
        heads = torch.arange(self.index.identity + 1, device=rules.head.device)
        code, rule_of_code = self._code(rules.head, rules.first, rules.second).sort()
        self.zero, zero_confidence = _zero_rules(graph, unseen_negatives)
        buffers = {
            "first": rules.first,
            "second": rules.second,
            "confidence": torch.cat([rules.confidence, zero_confidence]),
            "start": torch.searchsorted(rules.head, heads),
            "code": code,
            "rule_of_code": rule_of_code,
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """The confidence, in [0, 1), that each candidate is an answer; 0 if no rule predicts it.

        Known answers are predicted from other facts, because no rule implies itself. A few
        candidates cost one search per neighbor of the anchor, whatever the number of rules; for
        many, all groundings of all rules are enumerated.
        """
        searches = self.index.degree(queries.anchor).sum() * ids.shape[1]
        if searches > len(queries) * self.num_entities:
            rows = group_rows(self._predict_all(queries), len(ids))
            return rows.gather(2, expand_lists(ids, len(queries))).flatten(0, 1)
        return self._predict_listed(queries, ungroup(ids, len(queries)))

    def _predict_all(self, queries: Queries) -> Float[Tensor, "B N"]:
        """Confidences of all entities, by enumerating the groundings of all rules."""
        partial = self._ground_first_atoms(queries)
        ends = self.index.count(partial.middle, self.second[partial.rule])
        size = torch.zeros_like(queries.anchor).index_add(0, partial.row, ends)
        parts = [queries.weight.new_zeros(0, self.num_entities)]
        for rows in chunks_of(size, MAX_PATHS):
            chunk = partial.of_queries(rows)
            step, end = self.index.neighbors(chunk.middle, self.second[chunk.rule])
            chunk = chunk[step]
            identity = self.second[chunk.rule] == self.index.identity
            distinct = (end != queries.anchor[chunk.row]) & (identity | (end != chunk.middle))
            start, stop = self.zero.bounds(queries.relation[rows])
            row, zero_rule = ragged_arange(start, stop - start)
            cell = (chunk.row - rows.start) * self.num_entities + end
            zero_cell = row * self.num_entities + self.zero.values[zero_rule]
            parts.append(
                self._aggregate_cells(
                    torch.cat([cell[distinct], zero_cell]),
                    torch.cat([chunk.rule[distinct], len(self.first) + zero_rule]),
                    (rows.stop - rows.start, self.num_entities),
                )
            )
        return torch.cat(parts)

    def _predict_listed(self, queries: Queries, ids: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Confidences of a few candidates per query, by searching for paths that lead to them."""
        width, identity = ids.shape[1], self.index.identity
        zero_rule = self.zero.find(queries.relation, ids).flatten()
        found = (zero_rule >= 0).nonzero().squeeze(1)
        cells, rules = [found], [len(self.first) + zero_rule[found]]
        row, first, middle = self.index.all_neighbors(queries.anchor)
        size = max(1, MAX_PATHS // width)
        for own, step, stop in zip(row.split(size), first.split(size), middle.split(size)):
            end = ids[own].flatten()
            hit, second = self.relations.between(stop.repeat_interleave(width), end)
            path, column = hit // width, hit % width
            own, step, stop, end = own[path], step[path], stop[path], end[hit]
            distinct = (stop != queries.anchor[own]) & (end != queries.anchor[own])
            distinct &= (second == identity) | (end != stop)
            code = self._code(queries.relation[own], step, second)
            predicted, index = _match(self.code, torch.where(distinct, code, -1))
            cells.append((own * width + column)[predicted])
            rules.append(self.rule_of_code[index])
        return self._aggregate_cells(torch.cat(cells), torch.cat(rules), (len(ids), width))

    def _ground_first_atoms(self, queries: Queries) -> "PartialGroundings":
        start = self.start[queries.relation]
        row, rule = ragged_arange(start, self.start[queries.relation + 1] - start)
        step, middle = self.index.neighbors(queries.anchor[row], self.first[rule])
        found = PartialGroundings(row[step], rule[step], middle)
        return found[found.middle != queries.anchor[found.row]]

    def _code(
        self, head: Int[Tensor, "A"], first: Int[Tensor, "A"], second: Int[Tensor, "A"]
    ) -> Int[Tensor, "A"]:
        """One integer per rule."""
        slots = self.index.identity
        return (head * slots + first) * (slots + 1) + second

    def _aggregate_cells(
        self, cell: Int[Tensor, "V"], rule: Int[Tensor, "V"], shape: tuple[int, int]
    ) -> Float[Tensor, "B K"]:
        return self.aggregate(cell, rule, self.confidence, shape[0] * shape[1]).view(shape)


@dataclass(frozen=True, eq=False)
class PartialGroundings:
    """Groundings of the first body atom of every rule for each query, in order of the queries.

    Attributes:
        row: index of the query.
        rule: index of the rule.
        middle: the entity Z that the first atom leads to.
    """

    row: Int[Tensor, "L"]
    rule: Int[Tensor, "L"]
    middle: Int[Tensor, "L"]

    def __getitem__(self, rows: slice | Tensor) -> "PartialGroundings":
        """The selected ones."""
        return PartialGroundings(self.row[rows], self.rule[rows], self.middle[rows])

    def of_queries(self, rows: slice) -> "PartialGroundings":
        """Those of consecutive queries."""
        ends = self.row.new_tensor([rows.start, rows.stop])
        return self[slice(*torch.searchsorted(self.row, ends).tolist())]


def max_confidence(
    cell: Int[Tensor, "V"], rule: Int[Tensor, "V"], confidence: Float[Tensor, "M"], size: int
) -> Float[Tensor, "S"]:
    """The maximum confidence of the rules that predict each cell."""
    return confidence.new_zeros(size).scatter_reduce(0, cell, confidence[rule], "amax")


def noisy_or(
    cell: Int[Tensor, "V"], rule: Int[Tensor, "V"], confidence: Float[Tensor, "M"], size: int
) -> Float[Tensor, "S"]:
    """1 - product of (1 - confidence) over the distinct rules that predict each cell."""
    distinct = (cell * len(confidence) + rule).unique()
    cell, rule = distinct // len(confidence), distinct % len(confidence)
    log_miss = (-confidence[rule]).log1p()
    return -confidence.new_zeros(size).index_add(0, cell, log_miss).expm1()


Aggregation = Callable[[Tensor, Tensor, Tensor, int], Tensor]
AGGREGATIONS: dict[str, Aggregation] = {"max": max_confidence, "noisy-or": noisy_or}


def _match(
    known: Int[Tensor, "M"], wanted: Int[Tensor, "A"]
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """(index in `wanted`, index in `known`) of all values in both, where `known` is sorted."""
    if not len(known):
        return wanted[:0], wanted[:0]
    index = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
    row = (known[index] == wanted).nonzero().squeeze(1)
    return row, index[row]


def _zero_rules(graph: TrainGraph, unseen_negatives: float) -> tuple[Ragged, Float[Tensor, "Z"]]:
    """The answers of each relation, and the confidences of their rules."""
    # the facts that have e as answer are the known answers of the inverse query from e
    queries = graph.known.queries()
    relation, order = queries.inverse(graph.num_relations).relation.sort(stable=True)
    support, slots = graph.known.sizes()[order], 2 * graph.num_relations
    total = support.new_zeros(slots).index_add(0, relation, support)[relation]
    zero = Ragged(queries.anchor[order], torch.bincount(relation, minlength=slots))
    return zero, (support.double() / (total + unseen_negatives)).float()
