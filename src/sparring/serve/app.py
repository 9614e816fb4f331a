"""The application: API and pages of one workspace, behind the checks of `safety`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from sparring.data.vocabulary import UnknownNameError
from sparring.printing import printable
from sparring.serve.api import LinesAsArray, api_router
from sparring.serve.pages import FormError, page_router
from sparring.serve.rendering import Pages
from sparring.serve.safety import API, Access, Refusal, Safety, error_body
from sparring.serve.workspace import Workspace

TITLES = {
    400: "Bad request",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible",
    413: "Too large",
    422: "Not understood",
    429: "Too many requests",
    500: "Something failed",
}

NO_PAGE = "There is nothing at this address."


def create_app(workspace: Workspace, access: Access | None = None) -> FastAPI:
    """The ASGI application.

    Args:
        workspace: model and databases; closed when the application stops.
        access: who may use it; programs and browsers on this machine by default.
    """
    access = Access() if access is None else access
    pages = Pages()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        workspace.close()

    app = FastAPI(
        title="sparring",
        version=version("sparring"),
        summary="What a knowledge graph completion model believes, and what people say to it.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    def error_page(refusal: Refusal) -> str:
        title = TITLES.get(refusal.status, "Not possible")
        return pages.render("refusal", title=title, message=refusal.message)

    def answer(request: Request, refusal: Refusal) -> Response:
        """An error as JSON to programs, and as a page to people."""
        if request.url.path.startswith(API):
            body = error_body(refusal.code, refusal.message)
            return JSONResponse(body, refusal.status, dict(refusal.headers))
        return HTMLResponse(error_page(refusal), refusal.status, dict(refusal.headers))

    @app.exception_handler(UnknownNameError)
    async def unknown_name(request: Request, error: Exception) -> Response:
        return answer(request, Refusal(404, "unknown-name", sentence(error)))

    @app.exception_handler(FormError)
    async def form(request: Request, error: Exception) -> Response:
        return answer(request, Refusal(403, "form", sentence(error)))

    @app.exception_handler(ValueError)
    async def value(request: Request, error: Exception) -> Response:
        return answer(request, Refusal(422, "invalid", sentence(error)))

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return answer(request, Refusal(422, "invalid", printable(f"{place}: {first['msg']}")))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        message = NO_PAGE if error.status_code == 404 else str(error.detail)
        headers = tuple((error.headers or {}).items())
        return answer(request, Refusal(error.status_code, "http", message, headers))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        message = "The server failed on this request; its log says why."
        return answer(request, Refusal(500, "failed", message))

    app.include_router(api_router(workspace))
    app.include_router(page_router(workspace, access, pages))
    app.add_middleware(LinesAsArray, most=access.max_body)
    app.add_middleware(Safety, access=access, error_page=error_page)
    return app


def sentence(error: Exception) -> str:
    """The message of an error; that of a `KeyError` without its quotes."""
    return printable(str(error.args[0]) if error.args else type(error).__name__)
