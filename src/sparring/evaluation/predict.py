"""What a generator has learnt helps the main model predict.

What does a trained model answer? The best entities for questions asked by name."""

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
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.data.vocabulary import UnknownNameError, Vocabulary
from sparring.evaluation.ranking import eval_mode, fitting, refuse_nan
from sparring.models.base import KGEModel


@runtime_checkable
class Guide(Protocol):
    """A sampler with an opinion of its own about every entity."""

    def opinion(self, queries: Queries) -> Scorer:
        """Log-probability of any candidates, known answers included."""
        ...

    def topk(self, queries: Queries, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order."""
        ...


class Ensemble(KGEModel):
    """Scores of a main model plus weight times the log-probabilities of its generator.

    An ensemble of two models that have learnt from each other, for evaluating and predicting.

    Args:
        weight: to be chosen on validation triples; 0 leaves the main model alone.
    """

    def __init__(self, model: KGEModel, guide: Guide, *, weight: float):
        super().__init__()
        self.model, self.guide, self.weight = model, guide, weight

    def forward(self, queries):
        score, opinion = self.model(queries), self.guide.opinion(queries)
        return lambda ids: score(ids) + self.weight * opinion(ids)


def as_guide(sampler: object) -> Guide:
    """The sampler, if it has an opinion.

    Raises:
        ValueError: if it has none.
    """
    if not isinstance(sampler, Guide):
        raise ValueError(
            f"{type(sampler).__name__} has no opinion about entities that it does not draw; "
            'train with sampler = { name = "sparring" } to be guided'
        )
    return sampler


WANTED = "?"  # stands for the entity asked for, in files and tables


@dataclass(frozen=True)
class PredictionQuery:
    """Which entity completes the triple? The end that is None is asked for.

    Entities and relations are given by name, or by a label that only one of them has.

    Attributes:
        place: where the question stands, for messages; such as "questions.tsv, line 3".

    Raises:
        ValueError: unless exactly one of head and tail is None.
    """

    head: str | None
    relation: str
    tail: str | None
    place: str = "question"

    def __post_init__(self):
        if (self.head is None) == (self.tail is None):
            count = "both ends" if self.head is None else "neither end"
            raise ValueError(
                f"{self.place} asks for {count} of its triple; ask for one of head and tail"
            )

    @property
    def anchor(self) -> str:
        """The end that is given."""
        return cast(str, self.tail if self.head is None else self.head)


@dataclass(frozen=True)
class Answer:
    """One entity, as an answer to one question.

    Attributes:
        question: its position among those asked, from 0.
        head, relation, tail: the question, by name; "?" at the end that is asked for.
        rank: 1 is best; among the entities that were not removed.
        score: the model's, in its own units; higher is more plausible.
        known: is this a fact of the graph, in any split?
    """

    question: int
    head: str
    relation: str
    tail: str
    rank: int
    entity: str
    label: str
    score: float
    known: bool


@dataclass(frozen=True)
class Prediction:
    """Answers in order of the questions, best first."""

    answers: tuple[Answer, ...]

    def table(self) -> pl.DataFrame:
        """One row per answer, one column per field of `Answer`."""
        return pl.DataFrame([asdict(answer) for answer in self.answers], schema=_FIELDS)

    def rich(self) -> Table:
        """The answers for a terminal; names are shown as they are, whatever brackets they hold."""
        table = Table("question", "rank", "entity", "label", "score", "known")
        for answer in self.answers:
            asked = f"{answer.head}  {answer.relation}  {answer.tail}"
            cells = (asked, str(answer.rank), answer.entity, answer.label, f"{answer.score:.4g}")
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
    questions: Sequence[PredictionQuery],
    *,
    k: int = 10,
    remove: Sequence[str] = SPLITS,
    batch: int = 1024,
    max_scores: int = 2**25,
    guide: Guide | None = None,
    retrieve: int = 0,
) -> Prediction:
    """The k entities that score highest, for each question.

    Scores are compared in float32, and ties go to the smaller id, so that neither `batch` nor
    `max_scores` decides.

    Args:
        k: answers per question; fewer where fewer entities are left.
        remove: splits whose facts are no answers; none of them for everything the model says.
        batch: questions encoded together, at most.
        max_scores: scores held at once, at most.
        guide: whom to ask for candidates.
        retrieve: score only so many entities per question, which the guide finds most probable;
            0 for all entities.

    Raises:
        UnknownNameError: for a name that the graph does not have; says which names are near.
        ValueError: if `k`, `batch` or `max_scores` is below 1, a split is unknown, or there is
            no guide to retrieve fewer than all entities.
        FloatingPointError: if a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    if unknown := [split for split in remove if split not in SPLITS]:
        raise ValueError(f"unknown split {unknown[0]!r}; remove any of {', '.join(SPLITS)}")
    if retrieve < 0 or (retrieve and guide is None):
        raise ValueError(f"a guide is needed to score only some entities; got retrieve={retrieve}")
    rows, chunk = fitting(batch, max_scores, len(graph.entities))
    device = next((parameter.device for parameter in model.parameters()), graph.train.device)
    queries = _queries(questions, graph, device)
    removed, known = _facts(graph, remove, device), _facts(graph, SPLITS, device)
    answers: list[Answer] = []
    with eval_mode(model):
        for start in range(0, len(queries), rows):
            some = queries[start : start + rows]
            if guide and retrieve:
                key = _best_of(some, model(some), removed, guide.topk(some, retrieve), k=k)
            else:
                key = _best(some, model(some), removed, k=k, chunk=chunk)
            answers += _answers(graph, some, key, known, start)
    return Prediction(tuple(answers))


def read_questions(path: Path) -> list[PredictionQuery]:
    """The questions of a file, one per line: head, relation and tail, separated by tabs.

    The end that is asked for is written as "?". Names are kept as they are; empty lines are
    passed over.

    Raises:
        ValueError: for a line of another form, or if there are no questions; names the line.
    """
    questions = []
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # a byte order mark
    for number, line in enumerate(text.split(b"\n"), start=1):
        place = f"{path}, line {number}"
        try:
            fields = line.removesuffix(b"\r").decode().split("\t")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{place} is not UTF-8: {error.reason}; save the file as UTF-8"
            ) from None
        if fields == [""]:
            continue
        if len(fields) != 3:
            raise ValueError(
                f"{place} has {len(fields)} fields: {fields}; give head, relation and tail, "
                f"separated by tabs, with {WANTED} for the end that is asked for"
            )
        head, tail = (None if end == WANTED else end for end in (fields[0], fields[2]))
        questions.append(PredictionQuery(head, fields[1], tail, place))
    if not questions:
        raise ValueError(f"{path} holds no questions; give lines such as France\tcapital\t{WANTED}")
    return questions


def _answers(
    graph: KnowledgeGraph, queries: Queries, key: Int[Tensor, "B k"], known: TripleIndex, first: int
) -> list[Answer]:
    """What the keys say, by name; the queries are those from question `first` on."""
    ids, score = _from_key(key)
    fact = known.contains(queries, ids.clamp(0, known.num_entities - 1))
    row, rank = (key > NEVER).nonzero(as_tuple=True)
    entity = ids[row, rank]
    asked = queries[row]
    head = (asked.relation >= len(graph.relations)).tolist()
    anchors = _strings(graph.entities.names, asked.anchor)
    relations = _strings(graph.relations.names, asked.relation % len(graph.relations))
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
    questions: Sequence[PredictionQuery], graph: KnowledgeGraph, device: torch.device
) -> Queries:
    """The questions as ids. What stands for their answers is of no importance."""
    places = [question.place for question in questions]
    anchor = _ids(graph.entities, [question.anchor for question in questions], places)
    relation = _ids(graph.relations, [question.relation for question in questions], places)
    head = torch.tensor([question.head is None for question in questions], dtype=torch.long)
    relation = relation + head * len(graph.relations)
    anchor, relation = anchor.to(device), relation.to(device)
    return Queries(anchor, relation, anchor, torch.ones(len(anchor), device=device))


def _ids(vocabulary: Vocabulary, names: list[str], places: list[str]) -> Int[Tensor, "B"]:
    try:
        return vocabulary.ids(names)
    except UnknownNameError as error:
        usual = set(vocabulary)
        asked = next(row for row, name in enumerate(names) if not _given(vocabulary, usual, name))
        raise UnknownNameError(f"{places[asked]}: {error}") from None


def _given(vocabulary: Vocabulary, usual: set[str], name: str) -> bool:
    """Is this a name, or the label of one?"""
    return name in usual or (vocabulary.labels == name).sum() == 1


def _facts(graph: KnowledgeGraph, splits: Sequence[str], device: torch.device) -> TripleIndex:
    triples = torch.cat([graph.train[:0], *(getattr(graph, split) for split in splits)])
    return TripleIndex(triples.to(device), len(graph.entities), len(graph.relations))


def _best(
    queries: Queries, score: Scorer, removed: TripleIndex, *, k: int, chunk: int
) -> Int[Tensor, "B k"]:
    """Keys of the k best entities of each query, best first; `NEVER` where there are fewer."""
    row, entity = removed.answers(queries)
    everyone = torch.arange(removed.num_entities, device=queries.anchor.device).unsqueeze(0)
    best = everyone.new_empty(len(queries), 0)
    for start in range(0, removed.num_entities, chunk):
        ids = everyone[:, start : start + chunk]
        scores = score(ids)
        refuse_nan(queries, scores)
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
    refuse_nan(queries, scores)
    key = _key(ids, scores).masked_fill(removed.contains(queries, ids), NEVER)
    return key.topk(min(k, key.shape[1]), dim=1).values


def _key(ids: Int[Tensor, "G n"], scores: Float[Tensor, "B n"]) -> Int[Tensor, "B n"]:
    """Integers in the order of the scores and, where these tie, in reverse order of the ids.

    The bits of a float, read as an integer, are in order, but for negative ones, which run
    backwards. No key is `NEVER`, whose upper half would be a NaN.
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0 makes one zero of two
    return (_ordered(bits).long() << 32) | (LOW - ids)


def _from_key(key: Int[Tensor, "B n"]) -> tuple[Int[Tensor, "B n"], Float[Tensor, "B n"]]:
    """Ids and scores."""
    return LOW - (key & LOW), _ordered((key >> 32).int()).view(torch.float32)


def _ordered(bits: Int[Tensor, "B n"]) -> Int[Tensor, "B n"]:
    """Turns the order of negative floats' bits around; doing it twice undoes it."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


LOW = 2**32 - 1  # the lower half of a key
NEVER = -(2**63)
_FIELDS: dict[str, Any] = {field.name: field.type for field in fields(Answer)}
