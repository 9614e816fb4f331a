"""Predict the best entities for queries given by name, with a model alone or with its generator."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import polars as pl
import torch
from jaxtyping import Float, Int
from rich.table import Table
from rich.text import Text
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.data.vocabulary import UnknownNameError, Vocabulary
from sparring.evaluation.display import Result
from sparring.evaluation.ranking import check_no_nan, chunk_sizes, eval_mode
from sparring.models.base import KGEModel


@runtime_checkable
class ProposalDistribution(Protocol):
    """A sampler that knows the log-probability of every entity."""

    def log_prob_scorer(self, queries: Queries) -> Scorer:
        """Log-probabilities of any candidates, known answers included."""
        ...

    def topk(self, queries: Queries, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order."""
        ...


class Ensemble(KGEModel):
    """Scores of a model plus weight times the log-probabilities of its generator.

    An ensemble of two models that learned from each other, to evaluate and to predict with.

    Args:
        model: the main model.
        proposal: the generator it was trained with.
        weight: of the log-probabilities, chosen on validation triples; 0 uses the model alone.
    """

    def __init__(self, model: KGEModel, proposal: ProposalDistribution, *, weight: float) -> None:
        super().__init__()
        self.model, self.proposal, self.weight = model, proposal, weight

    def forward(self, queries: Queries) -> Scorer:
        """Weighted sums of scores and log-probabilities."""
        score, log_prob = self.model(queries), self.proposal.log_prob_scorer(queries)
        return lambda ids: score(ids) + self.weight * log_prob(ids)


def as_proposal(sampler: object) -> ProposalDistribution:
    """The sampler, if it knows the log-probability of every entity.

    Raises:
        ValueError: if it does not.
    """
    if not isinstance(sampler, ProposalDistribution):
        raise ValueError(
            f"{type(sampler).__name__} knows no probabilities of entities; train with "
            'sampler = { name = "generator" }'
        )
    return sampler


WANTED = "?"  # stands for the entity to predict, in files and tables


@dataclass(frozen=True)
class PredictionQuery:
    """A triple to complete: the end that is None is predicted.

    Entities and relations are given by name, or by a label that only one of them has.

    Attributes:
        head, relation, tail: names or labels; None for the end to predict.
        source: where the query comes from, for messages; such as "queries.tsv, line 3".

    Raises:
        ValueError: unless exactly one of head and tail is None.
    """

    head: str | None
    relation: str
    tail: str | None
    source: str = "query"

    def __post_init__(self) -> None:
        if (self.head is None) == (self.tail is None):
            count = "both ends" if self.head is None else "neither end"
            raise ValueError(
                f"{self.source} asks for {count} of its triple; ask for one of head and tail"
            )

    @property
    def anchor(self) -> str:
        """The end that is given."""
        return cast(str, self.tail if self.head is None else self.head)


@dataclass(frozen=True)
class Answer:
    """One entity that answers one query.

    Attributes:
        query: position of the query, from 0.
        head, relation, tail: the query, by name; "?" at the end to predict.
        rank: 1 is best; among the entities that were not removed.
        entity, label: the answer, by name and by label.
        score: of the model, in its own units; higher is more plausible.
        known: whether this is a fact of the graph, in any split.
    """

    query: int
    head: str
    relation: str
    tail: str
    rank: int
    entity: str
    label: str
    score: float
    known: bool


@dataclass(frozen=True, repr=False)
class Prediction(Result):
    """Answers in the order of the queries, best first."""

    answers: tuple[Answer, ...]

    def to_polars(self) -> pl.DataFrame:
        """One row per answer, one column per field of `Answer`."""
        return pl.DataFrame([asdict(answer) for answer in self.answers], schema=_FIELDS)

    def rich(self) -> Table:
        """The answers as a table for a terminal; brackets in names are shown as they are."""
        table = Table("query", "rank", "entity", "label", "score", "known")
        for answer in self.answers:
            query = f"{answer.head}  {answer.relation}  {answer.tail}"
            cells = (query, str(answer.rank), answer.entity, answer.label, f"{answer.score:.4g}")
            table.add_row(*map(Text, cells), "yes" if answer.known else "")
        return table

    def csv(self) -> str:
        """Comma-separated values with a header; strings are quoted (RFC 4180)."""
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(_FIELDS)
        writer.writerows(asdict(answer).values() for answer in self.answers)
        return text.getvalue()

    def json(self) -> str:
        """A list of objects, one per answer; an infinite score is null."""
        rows = [asdict(answer) for answer in self.answers]
        for row in rows:
            row["score"] = row["score"] if math.isfinite(row["score"]) else None
        return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def predict(
    model: KGEModel,
    graph: KnowledgeGraph,
    queries: Sequence[PredictionQuery],
    *,
    k: int = 10,
    remove: Sequence[str] = SPLITS,
    batch_size: int = 1024,
    max_scores: int = 2**25,
    proposal: ProposalDistribution | None = None,
    retrieve: int = 0,
) -> Prediction:
    """The k entities with the highest scores, for each query.

    Scores are compared in float32, and ties go to the smaller id, so that the answers do not
    depend on `batch_size` or `max_scores`.

    Args:
        model: a trained model.
        graph: names of entities and relations, and known facts.
        queries: what to predict.
        k: answers per query; fewer if fewer entities are left.
        remove: splits whose facts are removed from the answers.
        batch_size: queries encoded together, at most.
        max_scores: scores held at once, at most.
        proposal: the generator that proposes candidates.
        retrieve: number of entities to score per query, those most probable to the generator; 0
            scores all entities.

    Raises:
        UnknownNameError: for a name that the graph does not have; suggests similar names.
        ValueError: if `k`, `batch_size` or `max_scores` is below 1, a split is unknown, or there
            is no `proposal` to retrieve entities from.
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
    encoded = _queries(queries, graph, device)
    removed, known = _facts(graph, remove, device), _facts(graph, SPLITS, device)
    answers: list[Answer] = []
    with eval_mode(model):
        for start in range(0, len(encoded), rows):
            batch = encoded[start : start + rows]
            if proposal and retrieve:
                ids = proposal.topk(batch, retrieve)
                key = _best_of(batch, model(batch), removed, ids, k=k)
            else:
                key = _best(batch, model(batch), removed, k=k, chunk=chunk)
            answers += _answers(graph, batch, key, known, start)
    return Prediction(tuple(answers))


def score_triples(
    model: KGEModel, graph: KnowledgeGraph, triples: Int[Tensor, "T 3"], *, batch_size: int = 1024
) -> Float[Tensor, "T"]:
    """Scores of triples: the mean of that of the tail and that of the head, as answers.

    Args:
        batch_size: triples scored together.
    """
    device = next((parameter.device for parameter in model.parameters()), triples.device)
    scores = [torch.zeros(0)]
    with eval_mode(model):
        for batch in triples.to(device).split(batch_size):
            queries = tail_and_head_queries(batch, len(graph.relations))
            both = model(queries)(queries.answer.unsqueeze(1)).float()
            scores.append(both.view(2, -1).mean(0).cpu())
    return torch.cat(scores)


def read_queries(path: Path) -> list[PredictionQuery]:
    """Read queries from a file, one per line: head, relation and tail, separated by tabs.

    The end to predict is written as "?". Names are kept as they are; empty lines are skipped.

    Raises:
        ValueError: for a line of another form, or if there are no queries; names the line.
    """
    queries = []
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # a byte order mark
    for number, line in enumerate(text.split(b"\n"), start=1):
        source = f"{path}, line {number}"
        try:
            fields = line.removesuffix(b"\r").decode().split("\t")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{source} is not UTF-8: {error.reason}; save the file as UTF-8"
            ) from None
        if fields == [""]:
            continue
        if len(fields) != 3:
            raise ValueError(
                f"{source} has {len(fields)} fields: {fields}; give head, relation and tail, "
                f"separated by tabs, with {WANTED} for the end to predict"
            )
        head, tail = (None if end == WANTED else end for end in (fields[0], fields[2]))
        queries.append(PredictionQuery(head, fields[1], tail, source))
    if not queries:
        raise ValueError(f"{path} holds no queries; give lines such as France\tcapital\t{WANTED}")
    return queries


def _answers(
    graph: KnowledgeGraph, queries: Queries, key: Int[Tensor, "B k"], known: TripleIndex, first: int
) -> list[Answer]:
    """The answers that the keys stand for, by name; `first` is the number of the first query."""
    ids, score = _from_key(key)
    fact = known.contains(queries, ids.clamp(0, known.num_entities - 1))
    row, rank = (key > NEVER).nonzero(as_tuple=True)
    entity = ids[row, rank]
    query = queries[row]
    head = (query.relation >= len(graph.relations)).tolist()
    anchors = _strings(graph.entities.names, query.anchor)
    relations = _strings(graph.relations.names, query.relation % len(graph.relations))
    columns = (
        (first + row).tolist(),
        [WANTED if wanted else anchor for wanted, anchor in zip(head, anchors)],
        relations,
        [anchor if wanted else WANTED for wanted, anchor in zip(head, anchors)],
        (rank + 1).tolist(),
        _strings(graph.entities.names, entity),
        _strings(graph.entities.labels, entity),
        score[row, rank].tolist(),
        fact[row, rank].tolist(),
    )
    return [Answer(*fields) for fields in zip(*columns)]


def _strings(column: pl.Series, ids: Int[Tensor, "A"]) -> list[str]:
    return column.gather(ids.cpu().numpy()).to_list()


def _queries(
    queries: Sequence[PredictionQuery], graph: KnowledgeGraph, device: torch.device
) -> Queries:
    """The queries as ids; their answers are unknown, and the anchors stand in for them."""
    sources = [query.source for query in queries]
    anchor = _ids(graph.entities, [query.anchor for query in queries], sources)
    relation = _ids(graph.relations, [query.relation for query in queries], sources)
    head = torch.tensor([query.head is None for query in queries], dtype=torch.long)
    relation = relation + head * len(graph.relations)
    anchor, relation = anchor.to(device), relation.to(device)
    return Queries(anchor, relation, anchor, torch.ones(len(anchor), device=device))


def _ids(vocabulary: Vocabulary, names: list[str], sources: list[str]) -> Int[Tensor, "B"]:
    try:
        return vocabulary.ids(names)
    except UnknownNameError as error:
        known = set(vocabulary)
        row = next(row for row, name in enumerate(names) if not _is_known(vocabulary, known, name))
        raise UnknownNameError(f"{sources[row]}: {error}") from None


def _is_known(vocabulary: Vocabulary, names: set[str], name: str) -> bool:
    """Whether this is a name, or a label that only one has."""
    return name in names or (vocabulary.labels == name).sum() == 1


def _facts(graph: KnowledgeGraph, splits: Sequence[str], device: torch.device) -> TripleIndex:
    triples = torch.cat([graph.train[:0], *(getattr(graph, split) for split in splits)])
    return TripleIndex(triples.to(device), len(graph.entities), len(graph.relations))


def _best(
    queries: Queries, score: Scorer, removed: TripleIndex, *, k: int, chunk: int
) -> Int[Tensor, "B k"]:
    """Keys of the k best entities of each query, best first; `NEVER` if there are fewer."""
    row, entity = removed.answers(queries)
    everything = torch.arange(removed.num_entities, device=queries.anchor.device).unsqueeze(0)
    best = everything.new_empty(len(queries), 0)
    for start in range(0, removed.num_entities, chunk):
        ids = everything[:, start : start + chunk]
        scores = score(ids)
        check_no_nan(queries, scores)
        key = _key(ids, scores)
        inside = (entity >= start) & (entity < start + chunk)
        key[row[inside], entity[inside] - start] = NEVER
        best = torch.cat([best, key], dim=1)
        best = best.topk(min(k, best.shape[1]), dim=1).values
    return best


def _best_of(
    queries: Queries, score: Scorer, removed: TripleIndex, ids: Int[Tensor, "B n"], *, k: int
) -> Int[Tensor, "B k"]:
    """The same among the candidates of each query."""
    scores = score(ids)
    check_no_nan(queries, scores)
    key = _key(ids, scores).masked_fill(removed.contains(queries, ids), NEVER)
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
_FIELDS: dict[str, Any] = {field.name: field.type for field in fields(Answer)}
