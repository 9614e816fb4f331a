"""The pages: ask, look, negatives, review, model. They work without JavaScript."""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sparring.data.vocabulary import UnknownNameError, Vocabulary
from sparring.evaluation.breakdown import Row
from sparring.evaluation.queries import PredictionQuery
from sparring.serve.api import record_decisions
from sparring.serve.labels import Kind
from sparring.serve.look import draw_neighborhood, facts_of_entity, nearest_entities, types_of
from sparring.serve.queue import ORDERS
from sparring.serve.rendering import Pages
from sparring.serve.reviews import DECISIONS, VERDICTS, Triple
from sparring.serve.safety import LOGIN, Access
from sparring.serve.workspace import Workspace

SESSION, REVIEWER = "sparring-session", "sparring-reviewer"
COOKIE: dict[str, Any] = {"httponly": True, "samesite": "strict", "path": "/"}
YEAR = 365 * 24 * 3600
SIDES = ("tail", "head")
SHOWN = 20  # answers
MOST_TYPES = 300  # in a menu

GROUPS = {
    "side": "for the {}",
    "cardinality": "{} relations",
    "degree": "answers with {} facts",
    "reverse triple": "reverse triple {}",
}  # of queries


class FormError(ValueError):
    """A form that was not sent by one of these pages."""


def page_router(workspace: Workspace, access: Access, pages: Pages) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False)
    served, reviews, graph = workspace.served, workspace.reviews, workspace.served.graph

    def show(request: Request, page: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, with what all pages show."""
        session = request.cookies.get(SESSION) or secrets.token_hex(16)
        html = pages.render(
            page,
            served=served,
            task=workspace.task,
            csrf=access.sign("form", session),
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            reviewer=reviewer_of(request),
            **values,
        )
        response = HTMLResponse(html, status)
        response.set_cookie(SESSION, session, **COOKIE)
        return response

    async def form(request: Request) -> dict[str, str]:
        """The fields of a form of ours."""
        fields = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        session = request.cookies.get(SESSION, "")
        if not session or not access.is_signed(fields.get("csrf", ""), "form", session):
            raise FormError(
                "This form is out of date. Go back, reload the page, and send it again."
            )
        return fields

    def entity_names(name: str) -> dict[str, str]:
        """Name and label of an entity, and what to type for it."""
        return names_of(graph.entities, "entity", name)

    def relation_names(name: str) -> dict[str, str]:
        return names_of(graph.relations, "relation", name)

    def names_of(vocabulary: Vocabulary, kind: Kind, name: str) -> dict[str, str]:
        found = id_of(vocabulary, name)
        own, label = vocabulary[found], vocabulary.label(found)
        return {"name": own, "label": label, "text": workspace.labels.text(own, label, kind)}

    def triple_names(triple: Triple) -> dict[str, dict[str, str]]:
        return {
            "head": entity_names(triple.head),
            "relation": relation_names(triple.relation),
            "tail": entity_names(triple.tail),
        }

    @router.get("/")
    async def ask(request: Request) -> Response:
        given = request.query_params
        wanted = {
            "entity": given.get("entity", ""),
            "relation": given.get("relation", ""),
            "side": given.get("side", "tail"),
            "type": given.get("type", ""),
            "hide": given.get("hide", ""),
            "k": SHOWN,
        }
        values: dict[str, Any] = {"wanted": wanted, "types": graph.types[:MOST_TYPES]}
        if not (wanted["entity"].strip() and wanted["relation"].strip()):
            return show(request, "ask", problem=missing_field(wanted), **values)
        try:
            anchor = await workspace.store(entity_names, wanted["entity"])
            relation = await workspace.store(relation_names, wanted["relation"])
            named = {**wanted, "entity": anchor["name"], "relation": relation["name"]}
            wanted |= {"entity": anchor["text"], "relation": relation["text"]}
            answers = await workspace.ask(answers_to, named)
        except (UnknownNameError, ValueError) as error:
            return show(request, "ask", 404, problem=str(error), **values)
        triples = [answer["triple"] for answer in answers]
        decided = await workspace.store(reviews.decisions_on, triples)
        return show(
            request,
            "ask",
            anchor=anchor,
            asked=relation,
            answers=answers,
            decided=decided,
            **values,
        )

    def answers_to(wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of the answers."""
        forward = wanted["side"] != "head"
        ends = (wanted["entity"], None) if forward else (None, wanted["entity"])
        query = PredictionQuery(ends[0], wanted["relation"], ends[1])
        types = [wanted["type"]] if wanted["type"] else []
        found = served.predict([query], k=wanted["k"], types=types, known=not wanted["hide"])
        return [
            {
                "answer": answer,
                "triple": Triple(answer.head, answer.relation, answer.name)
                if forward
                else Triple(answer.name, answer.relation, answer.tail),
            }
            for answer in found.answers
        ]

    @router.get("/why")
    async def why(request: Request) -> Response:
        given = request.query_params
        triple = Triple(*(given.get(part, "") for part in Triple._fields))
        try:
            names = await workspace.store(triple_names, triple)
            triple = Triple(*(names[part]["name"] for part in Triple._fields))
            found = await workspace.ask(served.explain, triple)
            rated = await workspace.ask(served.rate, [triple])
            (known,) = await workspace.store(served.known, [triple])
        except UnknownNameError as error:
            return show(request, "error", 404, title="Unknown name", message=str(error))
        decided = await workspace.store(reviews.decisions_on, [triple])
        return show(
            request,
            "why",
            triple=triple,
            names=names,
            explanation=found,
            score=float(rated.score[0]),
            probability=served.probabilities(rated)[0],
            known=known,
            decided=decided.get(triple),
            mined=served.rules is not None,
        )

    @router.get("/look")
    async def look(request: Request) -> Response:
        name = request.query_params.get("entity", "")
        if not name.strip():
            return show(request, "look", entity=None, problem="")
        try:
            found = await workspace.store(id_of, graph.entities, name)
        except UnknownNameError as error:
            return show(request, "look", 404, entity=None, problem=str(error))
        nearest = await workspace.ask(nearest_entities, graph, served.model, found)
        return show(
            request,
            "look",
            entity=entity_names(graph.entities[found]),
            types=types_of(graph, found),
            groups=await workspace.store(facts_of_entity, graph, found),
            drawing=await workspace.store(draw_neighborhood, graph, found),
            nearest=nearest,
            problem="",
        )

    @router.get("/negatives")
    async def negatives(request: Request) -> Response:
        given = request.query_params
        triple = Triple(*(given.get(part, "") for part in Triple._fields))
        side = "head" if given.get("side") == "head" else "tail"
        if not any(triple):
            example = await workspace.store(example_fact)
            return show(request, "negatives", triple=example, side=side, draws=None)
        try:
            names = await workspace.store(triple_names, triple)
            triple = Triple(*(names[part]["name"] for part in Triple._fields))
            draws = await workspace.ask(workspace.comparison.draw, triple, side)
        except (UnknownNameError, ValueError) as error:
            values = {"triple": triple, "side": side, "draws": None, "problem": str(error)}
            return show(request, "negatives", 404, **values)
        typed = Triple(*(names[part]["text"] for part in Triple._fields))
        return show(request, "negatives", triple=typed, names=names, side=side, draws=draws)

    def example_fact() -> Triple:
        """A validation fact to begin with."""
        facts = graph.valid if len(graph.valid) else graph.train
        names = triple_names(Triple(*served.names(facts[:1])[0]))
        return Triple(*(names[part]["text"] for part in Triple._fields))

    @router.get("/review")
    async def review(request: Request) -> Response:
        reviewer = reviewer_of(request)
        order = request.query_params.get("order", ORDERS[0])
        relation = request.query_params.get("relation", "")
        values: dict[str, Any] = {
            "order": order if order in ORDERS else ORDERS[0],
            "orders": ORDERS,
            "relation": relation,
            "verdicts": VERDICTS,
            "progress": await workspace.store(reviews.progress, served.identity),
            "searched": workspace.progress,
        }
        if not reviewer:
            return show(request, "name", **values)
        relations = [
            (each, label_of(graph.relations, each), number)
            for each, number in await workspace.store(workspace.queue.relations)
        ]
        found = await workspace.store(
            workspace.queue.next, reviewer, order=values["order"], relation=relation or None
        )
        last = await workspace.store(last_of, reviewer)
        if not found:
            return show(request, "review", candidate=None, relations=relations, last=last, **values)
        candidate = found[0]
        explanation = await workspace.ask(served.explain, candidate.triple, max_reasons=3)
        return show(
            request,
            "review",
            candidate=candidate,
            names=await workspace.store(triple_names, candidate.triple),
            explanation=explanation,
            relations=relations,
            last=last,
            **values,
        )

    def last_of(reviewer: str) -> dict[str, str] | None:
        """The last decision of a reviewer, with labels."""
        found = reviews.last(reviewer)
        if found is None:
            return None
        columns = (graph.entities, graph.relations, graph.entities)
        labels = map(label_of, columns, found[0])
        return {**dict(zip(Triple._fields, labels)), "decision": found[1]}

    @router.post("/review/name")
    async def name(request: Request) -> Response:
        fields = await form(request)
        response = RedirectResponse("/review", 303)
        chosen = " ".join(fields.get("reviewer", "").split())[:80] or "somebody"
        response.set_cookie(REVIEWER, quote(chosen), max_age=YEAR, **COOKIE)
        return response

    @router.post("/review")
    async def decide(request: Request) -> Response:
        fields = await form(request)
        triple = Triple(*(fields.get(part, "") for part in Triple._fields))
        reviewer = reviewer_of(request) or "somebody"
        if fields.get("decision") not in DECISIONS:
            raise FormError(f"A decision is one of {', '.join(DECISIONS)}.")
        await record_decisions(workspace, reviewer, [(triple, fields["decision"])])
        return RedirectResponse(own_place(fields.get("next", "")), 303)

    @router.post("/review/undo")
    async def undo(request: Request) -> Response:
        fields = await form(request)
        reviewer = reviewer_of(request) or "somebody"
        await workspace.store(reviews.undo, reviewer)
        return RedirectResponse(own_place(fields.get("next", "")), 303)

    @router.get("/model")
    async def model(request: Request) -> Response:
        return show(
            request,
            "model",
            audit=workspace.audit,
            can_audit=served.run_audit is not None,
            coarse=[(GROUPS[row.group].format(row.name), row) for row in rows_in(*GROUPS)],
            relations=[
                (label_of(graph.relations, row.name), row)
                for row in sorted(rows_in("relation"), key=lambda row: -row.queries)
            ],
        )

    def rows_in(*groups: str) -> list[Row]:
        """Metrics of these groups of queries."""
        return [row for row in served.rows if row.group in groups]

    @router.post("/model/audit")
    async def audit(request: Request) -> Response:
        await form(request)
        if served.run_audit is not None and workspace.audit is None:
            workspace.audit = await workspace.ask(served.run_audit)
        return RedirectResponse("/model#audit", 303)

    @router.get("/login")
    async def login(request: Request) -> Response:
        place = own_place(request.query_params.get("next", "/"))
        return show(request, "login", place=place, problem="")

    @router.post("/login")
    async def logging_in(request: Request) -> Response:
        fields = await form(request)
        place = own_place(fields.get("next", "/"))
        if not access.is_token(fields.get("token", "")):
            return show(request, "login", 403, place=place, problem="This is not the token.")
        response = RedirectResponse(place, 303)
        response.set_cookie(LOGIN, access.sign("login"), **COOKIE)
        return response

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        content = pages.assets.get(name)
        if content is None:
            return Response(status_code=404)
        return Response(content.body, media_type=content.media_type)

    return router


def missing_field(wanted: Mapping[str, Any]) -> str:
    """What a half-filled form lacks; empty for an empty form."""
    lacking = [part for part in ("entity", "relation") if not wanted[part].strip()]
    return f"Give a name for: {lacking[0]}." if len(lacking) == 1 else ""


def own_place(place: str) -> str:
    """A path of this server to go to; the review page for anything else."""
    safe = place.startswith("/") and not place.startswith(("//", "/\\"))
    return place if safe and "\n" not in place and "\r" not in place else "/review"


def reviewer_of(request: Request) -> str:
    """Who reviews in this browser; empty if nobody has said so."""
    return unquote(request.cookies.get(REVIEWER, ""))


def id_of(names: Vocabulary, name: str) -> int:
    """The id of a name, which may have blanks around it.

    Raises:
        UnknownNameError: for an unknown name; suggests similar ones.
    """
    try:
        return names.id(name)
    except UnknownNameError:
        return names.id(name.strip())


def label_of(names: Vocabulary, name: str) -> str:
    """The label of a name; the name itself if the graph lacks it."""
    found = names.find([name])[0]
    return name if found is None else names.label(found)
