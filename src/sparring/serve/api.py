"""The HTTP API, version 1: JSON and JSON lines.

Batches are JSON arrays, or JSON lines (`application/x-ndjson`), in requests and, where the `Accept`
header asks for them, in answers.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sparring.data.frames import triple_ids
from sparring.evaluation.prediction import Answer
from sparring.evaluation.queries import PredictionQuery
from sparring.printing import to_json_line
from sparring.serve.export import MEDIA_TYPES, Format, export
from sparring.serve.labels import Kind
from sparring.serve.look import facts_of_entity, nearest_entities, types_of
from sparring.serve.queue import Order
from sparring.serve.reviews import Triple, Verdict
from sparring.serve.safety import read_body, replayed
from sparring.serve.schemas import (
    AnswerOut,
    CandidateOut,
    DecisionIn,
    ErrorOut,
    LabelOut,
    NegativesOut,
    PredictionOut,
    ProgressOut,
    QueryIn,
    RecordedOut,
    ReviewedOut,
    ScoreOut,
    TripleIn,
    UndoneOut,
)
from sparring.serve.workspace import Workspace

LINES = "application/x-ndjson"
MOST_QUERIES, MOST_TRIPLES, MOST_EXPLAINED = 256, 1024, 32
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorOut} for status in (400, 401, 403, 404, 413, 415, 422, 429)
}

Reviewer = Annotated[str, Query(min_length=1, max_length=80, description="Who decides.")]
Name = Annotated[str, Query(min_length=1, max_length=4096)]
Answers = Annotated[int, Query(ge=1, le=1000, description="Answers per query, at most.")]
Count = Annotated[int, Query(ge=1, le=100)]


class LinesAsArray:
    """ASGI middleware that turns a body of JSON lines into a JSON array.

    Args:
        app: the application.
        most: bytes of a body.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        kind = dict(scope.get("headers", ())).get(b"content-type", b"")
        if scope["type"] != "http" or not kind.startswith(LINES.encode()):
            await self.app(scope, receive, send)
            return
        replaced = (b"content-type", b"content-length")
        headers = [pair for pair in scope["headers"] if pair[0] not in replaced]
        scope = {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
        body = await read_body(receive, self.most) or b""
        lines = (line for line in body.splitlines() if line.strip())
        await self.app(scope, replayed(b"[" + b",".join(lines) + b"]", receive), send)


def api_router(workspace: Workspace) -> APIRouter:
    """The routes of `/api/v1`."""
    router = APIRouter(prefix="/api/v1", responses=ERRORS)
    served, reviews = workspace.served, workspace.reviews

    @router.get("/model", tags=["model"])
    async def model() -> dict[str, Any]:
        """What is served: sizes, parts and metrics."""
        return served.to_dict()

    @router.get("/labels", tags=["graph"], response_model=list[LabelOut])
    async def labels(
        q: Annotated[str, Query(max_length=200)] = "", kind: Kind = "entity", count: Count = 10
    ) -> Any:
        """Names that match what somebody types."""
        found = await workspace.store(workspace.labels.search, q, kind, count)
        return [asdict(label) for label in found]

    @router.get("/entity", tags=["graph"])
    async def entity(name: Name, facts: Count = 12, nearest: Count = 8) -> dict[str, Any]:
        """The facts of an entity, its types, and the entities nearest to it."""
        graph = served.graph
        found = await workspace.store(graph.entities.id, name)
        groups = await workspace.ask(facts_of_entity, graph, found, shown=facts)
        near = await workspace.ask(nearest_entities, graph, served.model, found, nearest)
        return {
            "name": graph.entities[found],
            "label": graph.entities.label(found),
            "types": types_of(graph, found),
            "facts": [asdict(group) for group in groups],
            "nearest": [{**asdict(other), "similarity": value} for other, value in near],
        }

    @router.post("/predict", tags=["model"], response_model=list[PredictionOut])
    async def predict(
        request: Request,
        queries: list[QueryIn],
        k: Answers = 10,
        types: Annotated[list[str], Query(max_length=20)] = [],  # noqa: B006 (read only)
        known: bool = False,
    ) -> Any:
        """Complete triples: leave out the part to predict.

        Known facts are left out of the answers, unless `known` is true.
        """
        check_size(queries, MOST_QUERIES)
        asked = [
            PredictionQuery(query.head, query.relation, query.tail, source=f"query {place}")
            for place, query in enumerate(queries)
        ]
        found = await workspace.ask(served.predict, asked, k=k, types=types, known=known)
        answers: list[list[AnswerOut]] = [[] for _ in queries]
        for answer in found.answers:
            answers[answer.query].append(answer_out(answer))
        return respond(
            request,
            (
                PredictionOut(**query.model_dump(), answers=own)
                for query, own in zip(queries, answers)
            ),
        )

    @router.post("/score", tags=["model"], response_model=list[ScoreOut])
    async def score(request: Request, triples: list[TripleIn]) -> Any:
        """Scores of triples, and probabilities where the model is calibrated."""
        check_size(triples, MOST_TRIPLES)
        names = [each.triple() for each in triples]
        rated = await workspace.ask(served.rate, names)
        known = await workspace.ask(served.known, names)
        rows = zip(names, rated.score.tolist(), served.probabilities(rated), known)
        return respond(
            request,
            (
                ScoreOut(**triple._asdict(), score=value, probability=probability, known=fact)
                for triple, value, probability, fact in rows
            ),
        )

    @router.post("/explain", tags=["model"])
    async def explain(
        triples: list[TripleIn], reasons: Annotated[int, Query(ge=1, le=50)] = 5
    ) -> list[dict[str, Any]]:
        """The mined rules that predict triples, with their facts, or the nearest facts."""
        check_size(triples, MOST_EXPLAINED)
        return [
            (await workspace.ask(served.explain, each.triple(), max_reasons=reasons)).to_dict()
            for each in triples
        ]

    @router.post("/negatives", tags=["model"], response_model=list[NegativesOut])
    async def negatives(
        triples: list[TripleIn],
        side: Literal["tail", "head"] = "tail",
        samplers: Annotated[list[str] | None, Query(max_length=20)] = None,
        shown: Count = 8,
    ) -> Any:
        """What samplers would draw in place of the tail or head, how hard, how probably true."""
        check_size(triples, MOST_EXPLAINED)
        found = []
        for each in triples:
            draws = await workspace.ask(
                workspace.comparison.draw, each.triple(), side, samplers=samplers, shown=shown
            )
            own = [asdict(draw) for draw in draws]
            found.append({**each.model_dump(), "side": side, "samplers": own})
        return found

    @router.get("/queue", tags=["reviews"], response_model=list[CandidateOut])
    async def queue(
        reviewer: Reviewer,
        order: Order = "probability",
        relation: Annotated[str | None, Query(max_length=4096)] = None,
        count: Count = 10,
        reserve: bool = False,
    ) -> Any:
        """Probably missing facts that a reviewer should decide on next."""
        options = {"order": order, "relation": relation, "count": count, "reserve": reserve}
        found = await workspace.store(workspace.queue.next, reviewer, **options)
        return [asdict(candidate) for candidate in found]

    @router.get("/reviews", tags=["reviews"], response_model=list[ReviewedOut])
    async def reviewed(
        request: Request,
        verdict: Verdict | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Any:
        """Triples that somebody has decided on."""
        found = await workspace.store(reviews.reviewed, verdict, limit=limit, offset=offset)
        return respond(request, (ReviewedOut(**each.to_dict()) for each in found))

    @router.post("/reviews", tags=["reviews"], response_model=list[RecordedOut])
    async def record(reviewer: Reviewer, decisions: list[DecisionIn]) -> Any:
        """Keep decisions. They are on disk when the answer comes: all of them, or none."""
        check_size(decisions, MOST_TRIPLES)
        rows = [(each.triple(), each.decision) for each in decisions]
        kept = await record_decisions(workspace, reviewer, rows)
        return [
            {"id": number, **triple._asdict(), "decision": each.decision}
            for (number, triple), each in zip(kept, decisions)
        ]

    @router.post("/reviews/undo", tags=["reviews"], response_model=UndoneOut)
    async def undo(reviewer: Reviewer) -> Any:
        """Take back the reviewer's last decision."""
        undone = await workspace.store(reviews.undo, reviewer)
        return {"undone": undone and {**undone[0]._asdict(), "decision": undone[1]}}

    @router.get("/reviews/export", tags=["reviews"])
    async def exported(form: Annotated[Format, Query(alias="format")] = "tsv",
                       verdict: Verdict | None = None) -> Response:  # fmt: skip
        """Reviewed triples as a file."""
        return StreamingResponse(
            export(reviews.each_reviewed(verdict), form),
            media_type=MEDIA_TYPES[form],
            headers={"content-disposition": f'attachment; filename="reviews.{form}"'},
        )

    @router.get("/progress", tags=["reviews"], response_model=ProgressOut)
    async def progress() -> Any:
        """How far the review has come."""
        return asdict(await workspace.store(reviews.progress, served.identity))

    return router


async def record_decisions(
    workspace: Workspace, reviewer: str, decisions: Sequence[tuple[Triple, Any]]
) -> list[tuple[int, Triple]]:
    """Keep decisions with the probabilities that the model gives them.

    Returns:
        the number of each decision, and its triple by name, where labels were given.

    Raises:
        UnknownNameError: for a name that the graph does not have.
    """
    served = workspace.served
    ids = await workspace.store(triple_ids, served.graph, [triple for triple, _ in decisions])
    rated = await workspace.ask(served.rate, ids)
    triples = [Triple(*names) for names in served.names(ids)]
    numbers = await workspace.store(
        workspace.reviews.record,
        [(triple, decision) for triple, (_, decision) in zip(triples, decisions)],
        reviewer,
        probabilities=served.probabilities(rated),
        model=served.identity,
    )
    return list(zip(numbers, triples))


def check_size(items: Sequence[Any], most: int) -> None:
    """Refuse an empty batch, and one that is too large.

    Raises:
        ValueError: says how many items a batch may have.
    """
    if not 1 <= len(items) <= most:
        raise ValueError(f"a batch has 1 to {most:,} items; got {len(items):,}")


def respond(request: Request, items: Iterable[Any]) -> Any:
    """Items as JSON lines, if the client asks for them; else as a list."""
    if LINES not in request.headers.get("accept", ""):
        return list(items)
    lines: Iterator[str] = (to_json_line(item.model_dump()) for item in items)
    return StreamingResponse(lines, media_type=LINES)


def answer_out(answer: Answer) -> AnswerOut:
    """An answer; a score that is not finite becomes null."""
    score = answer.score if math.isfinite(answer.score) else None
    return AnswerOut(
        rank=answer.rank,
        name=answer.name,
        label=answer.label,
        score=score,
        probability=answer.probability,
        known=answer.known,
    )
