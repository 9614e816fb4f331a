"""Predict the best entities or relations for queries given by name."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.data.vocabulary import Vocabulary
from sparring.evaluation.candidates import Exclusion, facts_of
from sparring.evaluation.ensemble import ProposalDistribution
from sparring.evaluation.prediction import Answer, Prediction
from sparring.evaluation.probability import ProbabilityCalibration
from sparring.evaluation.queries import WANTED, PredictionQuery, entity_pairs, entity_queries
from sparring.evaluation.ranking import check_no_nan, chunk_sizes, eval_mode
from sparring.evaluation.triples import rate_triples
from sparring.models.base import KGEModel


def predict(
    model: KGEModel,
    graph: KnowledgeGraph,
    queries: Sequence[PredictionQuery],
    *,
    k: int = 10,
    remove: Sequence[str] = SPLITS,
    exclude_anchor: bool = True,
    types: Sequence[str] = (),
    calibration: ProbabilityCalibration | None = None,
    batch_size: int = 1024,
    max_scores: int = 2**25,
    proposal: ProposalDistribution | None = None,
    retrieve: int = 0,
) -> Prediction:
    """The k entities, or relations, with the highest scores, for each query.

    A relation between two entities is scored from both ends, and the mean counts; see
    `rate_triples`. Scores are compared in float32, and ties go to the smaller id, so that the
    answers do not depend on `batch_size` or `max_scores`.

    Args:
        model: a trained model.
        graph: names of entities and relations, and known facts.
        queries: what to predict.
        k: answers per query; fewer if fewer are left.
        remove: splits whose facts are removed from the answers.
        exclude_anchor: whether to remove the query's own entity, except for relations that lead
            from some entity to itself in the training facts.
        types: names of entity types; only entities of one of them are answers. All, if empty.
        calibration: turns scores into probabilities.
        batch_size: queries encoded together, at most.
        max_scores: scores held at once, at most.
        proposal: the generator that proposes candidates.
        retrieve: number of entities to score per query, those most probable to the generator; 0
            scores all entities.

    Raises:
        UnknownNameError: for a name that the graph does not have; suggests similar names.
        ValueError: if `k`, `batch_size` or `max_scores` is below 1, a split is unknown, there is
            no `proposal` to retrieve entities from, or the graph has no types to choose from.
        FloatingPointError: if a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    if unknown := [split for split in remove if split not in SPLITS]:
        raise ValueError(f"unknown split {unknown[0]!r}; remove any of {', '.join(SPLITS)}")
    if retrieve < 0 or (retrieve and proposal is None):
        raise ValueError(
            f"a proposal is needed to score only some entities; got retrieve={retrieve}"
        )
    rows, chunk = chunk_sizes(batch_size, max_scores, len(graph.entities))
    device = next((parameter.device for parameter in model.parameters()), graph.train.device)
    excluded = Exclusion.of(graph, remove, exclude_anchor, types, device)
    known = facts_of(graph, SPLITS, device)
    training = facts_of(graph, ("train",), device) if calibration else None
    for_entity = [place for place, query in enumerate(queries) if query.relation is not None]
    for_relation = [place for place, query in enumerate(queries) if query.relation is None]
    encoded = entity_queries([queries[place] for place in for_entity], graph, device)
    pairs = entity_pairs([queries[place] for place in for_relation], graph, device)
    answers: list[Answer] = []
    with eval_mode(model):
        for start in range(0, len(for_entity), rows):
            batch = encoded[start : start + rows]
            score = model(batch)
            if proposal and retrieve:
                key = _best_of(batch, score, excluded, proposal.topk(batch, retrieve), k=k)
            else:
                key = _best(batch, score, excluded, k=k, chunk=chunk)
            ids, scores = _from_key(key)
            ids = ids.clamp(0, known.num_entities - 1)  # where there is no answer
            probability = None
            if calibration and training:
                norm = calibration.log_norm(score, device)
                probability = calibration(scores, norm, training.count(batch))
            best = _Best(ids, scores, key > NEVER, known.contains(batch, ids), probability)
            places = for_entity[start : start + rows]
            answers += best.answers(places, _entity_query_names(graph, batch), graph.entities)
        for start, place in enumerate(for_relation):
            pair = pairs[start]
            best = _best_relations(model, graph, pair, excluded.facts, known, k, calibration, rows)
            head, tail = (graph.entities[entity] for entity in pair.tolist())
            answers += best.answers([place], [(head, WANTED, tail)], graph.relations)
    answers.sort(key=lambda answer: (answer.query, answer.rank))
    return Prediction(tuple(answers), excluded.notes)


@dataclass(frozen=True, eq=False)
class _Best:
    """The best candidates of some queries, best first.

    Attributes:
        exists: False where a query has fewer candidates.
    """

    ids: Int[Tensor, "B k"]
    score: Float[Tensor, "B k"]
    exists: Bool[Tensor, "B k"]
    known: Bool[Tensor, "B k"]
    probability: Float[Tensor, "B k"] | None

    def answers(
        self, places: Sequence[int], asked: Sequence[tuple[str, str, str]], names: Vocabulary
    ) -> list[Answer]:
        """The answers by name.

        Args:
            places: number of each query.
            asked: head, relation and tail of each query.
            names: of the candidates.
        """
        row, rank = self.exists.nonzero(as_tuple=True)
        ids = self.ids[row, rank]
        column = lambda values: values[row, rank].tolist()
        found = zip(
            (places[number] for number in row.tolist()),
            *zip(*(asked[number] for number in row.tolist())),
            (rank + 1).tolist(),
            _strings(names.names, ids),
            _strings(names.labels, ids),
            column(self.score),
            column(self.known),
            [None] * len(row) if self.probability is None else column(self.probability),
        )
        return [Answer(*fields) for fields in found]


def _entity_query_names(graph: KnowledgeGraph, queries: Queries) -> list[tuple[str, str, str]]:
    """Head, relation and tail of each query; "?" for the entity to predict."""
    num_relations = len(graph.relations)
    anchors = _strings(graph.entities.names, queries.anchor)
    relations = _strings(graph.relations.names, queries.relation % num_relations)
    for_head = (queries.relation >= num_relations).tolist()
    return [
        (WANTED, relation, anchor) if head else (anchor, relation, WANTED)
        for head, anchor, relation in zip(for_head, anchors, relations)
    ]


def _strings(column: pl.Series, ids: Int[Tensor, "A"]) -> list[str]:
    return column.gather(ids.cpu().numpy()).to_list()


def _best_relations(
    model: KGEModel,
    graph: KnowledgeGraph,
    pair: Int[Tensor, "2"],
    removed: TripleIndex,
    known: TripleIndex,
    k: int,
    calibration: ProbabilityCalibration | None,
    batch_size: int,
) -> _Best:
    """The best relations from one entity to another."""
    relation = torch.arange(len(graph.relations), device=pair.device)
    head, tail = (end.expand(len(relation)) for end in pair)
    triples = torch.stack([head, relation, tail], 1)
    found = rate_triples(model, graph, triples, calibration=calibration, batch_size=batch_size)
    queries = Queries(head, relation, tail, torch.ones(len(relation), device=pair.device))
    removed_here, known_here = (
        facts.contains(queries, tail.unsqueeze(1)).view(1, -1) for facts in (removed, known)
    )
    key = _key(relation.unsqueeze(0), found.score.unsqueeze(0)).masked_fill(removed_here, NEVER)
    key = key.topk(min(k, len(relation)), dim=1).values
    ids, scores = _from_key(key)
    ids = ids.clamp(0, len(relation) - 1)
    probability = None if found.probability is None else found.probability[ids]
    return _Best(ids, scores, key > NEVER, known_here.gather(1, ids), probability)


def _best(
    queries: Queries, score: Scorer, excluded: Exclusion, *, k: int, chunk: int
) -> Int[Tensor, "B k"]:
    """Keys of the k best entities of each query, best first; `NEVER` if there are fewer."""
    row, entity = excluded.pairs(queries)
    everything = torch.arange(len(excluded.entity), device=queries.anchor.device).unsqueeze(0)
    best = everything.new_empty(len(queries), 0)
    for start in range(0, len(excluded.entity), chunk):
        ids = everything[:, start : start + chunk]
        scores = score(ids)
        check_no_nan(queries, scores)
        key = _key(ids, scores).masked_fill(excluded.entity[ids], NEVER)
        inside = (entity >= start) & (entity < start + chunk)
        key[row[inside], entity[inside] - start] = NEVER
        best = torch.cat([best, key], dim=1)
        best = best.topk(min(k, best.shape[1]), dim=1).values
    return best


def _best_of(
    queries: Queries, score: Scorer, excluded: Exclusion, ids: Int[Tensor, "B n"], *, k: int
) -> Int[Tensor, "B k"]:
    """The same among the candidates of each query."""
    scores = score(ids)
    check_no_nan(queries, scores)
    key = _key(ids, scores).masked_fill(excluded.contains(queries, ids), NEVER)
    return key.topk(min(k, key.shape[1]), dim=1).values


def _key(ids: Int[Tensor, "G n"], scores: Float[Tensor, "B n"]) -> Int[Tensor, "B n"]:
    """Integers in the order of the scores and, where these tie, in reverse order of the ids.

    Read as integers, the bits of floats are in order, except that negative floats run backwards.
    No key is `NEVER`, whose upper half would be a NaN.
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0
    return (_ordered(bits).long() << 32) | (LOW - ids)


def _from_key(key: Int[Tensor, "B n"]) -> tuple[Int[Tensor, "B n"], Float[Tensor, "B n"]]:
    """Ids and scores."""
    return LOW - (key & LOW), _ordered((key >> 32).int()).view(torch.float32)


def _ordered(bits: Int[Tensor, "B n"]) -> Int[Tensor, "B n"]:
    """Reverse the order of the bits of negative floats; twice gives back the bits."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


LOW = 2**32 - 1  # the lower half of a key
NEVER = -(2**63)
