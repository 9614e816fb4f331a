"""What the API takes and gives."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sparring.serve.reviews import Decision, Triple, Verdict

NAME = Annotated[str, Field(min_length=1, max_length=4096)]


class Strict(BaseModel):
    """An object without other fields."""

    model_config = ConfigDict(extra="forbid")


class QueryIn(Strict):
    """A triple without the part to predict."""

    head: NAME | None = None
    relation: NAME | None = None
    tail: NAME | None = None


class TripleIn(Strict):
    """Head, relation and tail by name, or by a label that only one has."""

    head: NAME
    relation: NAME
    tail: NAME

    def triple(self) -> Triple:
        """As a tuple."""
        return Triple(self.head, self.relation, self.tail)


class DecisionIn(TripleIn):
    """What a reviewer thinks of a triple."""

    decision: Decision


class AnswerOut(BaseModel):
    """One answer to a query; see `sparring.evaluation.prediction.Answer`."""

    rank: int
    name: str
    label: str
    score: float | None
    probability: float | None
    known: bool


class PredictionOut(BaseModel):
    """A query with its answers, best first."""

    head: str | None
    relation: str | None
    tail: str | None
    answers: list[AnswerOut]


class ScoreOut(BaseModel):
    """How plausible a triple is."""

    head: str
    relation: str
    tail: str
    score: float
    probability: float | None
    known: bool


class NegativesOut(BaseModel):
    """What samplers draw for a triple."""

    head: str
    relation: str
    tail: str
    side: str
    samplers: list[dict[str, Any]]


class RecordedOut(BaseModel):
    """A decision that is kept."""

    id: int
    head: str
    relation: str
    tail: str
    decision: Decision


class UndoneOut(BaseModel):
    """A decision that was taken back; null if there was none."""

    undone: DecisionIn | None


class ReviewedOut(BaseModel):
    """A triple with the verdict of its reviewers."""

    head: str
    relation: str
    tail: str
    verdict: Verdict
    accepts: int
    rejects: int
    unsure: int
    probability: float | None
    decided_at: str


class CandidateOut(BaseModel):
    """A triple of the queue."""

    head: str
    relation: str
    tail: str
    probability: float


class LabelOut(BaseModel):
    """A name, the label it is shown by, and what to type for it."""

    name: str
    label: str
    text: str


class ProgressOut(BaseModel):
    """How far the review has come."""

    verdicts: dict[str, int]
    reviewers: dict[str, dict[str, int]]
    waiting: int
    precision: list[tuple[float, float, int, float]]


class ErrorDetail(BaseModel):
    """What went wrong: for programs, and for people."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str


class ErrorOut(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail
