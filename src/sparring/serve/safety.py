"""What may reach the application: hosts, origins, tokens, rates and sizes; and headers of answers.

A page of another site can make a browser send requests to a local server. It cannot forge the
`Host` and `Origin` headers, which are checked here; forms carry a token on top.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/api/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
JSON_TYPES = ("application/json", "application/x-ndjson")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none, forms would have no origin
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Access:
    """Who may use the application, and how much.

    Attributes:
        hosts: names by which it may be addressed, without port.
        token: what clients have to know; empty for no token.
        rate: requests per second and client, on average; 0 for no limit.
        burst: requests at once.
        max_body: bytes of a request.
        secret: signs forms and logins; new for each process.
    """

    hosts: Sequence[str] = ("127.0.0.1", "localhost", "::1")
    token: str = ""
    rate: float = 50.0
    burst: int = 200
    max_body: int = 2**20
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def sign(self, purpose: str, text: str = "") -> str:
        """A signature that only this process can make."""
        return hmac.new(self.secret, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether a client knows the token."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def is_signed(self, signature: str, purpose: str, text: str = "") -> bool:
        """Whether a signature is ours."""
        return hmac.compare_digest(signature.encode(), self.sign(purpose, text).encode())


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a server at this address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RateLimit:
    """A token bucket for each client.

    Args:
        rate: requests per second; 0 for no limit.
        burst: requests at once.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Seconds until the client may ask again; 0 if it may now, which counts."""
        if not self.rate:
            return 0.0
        left, then = self._left.pop(client, (float(self.burst), now))
        left = min(self.burst, left + (now - then) * self.rate)
        self._left[client] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.rate


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: of HTTP.
        code: for programs.
        message: for people.
        headers: of the answer.
    """

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


class Safety:
    """ASGI middleware that refuses what may not pass, and adds headers to all answers.

    Args:
        app: the application.
        access: who may use it.
        error_page: HTML of a refusal.
    """

    def __init__(self, app: ASGIApp, access: Access, error_page: Callable[[Refusal], str]) -> None:
        self.app, self.access, self.error_page = app, access, error_page
        self._limit = RateLimit(access.rate, access.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        guarded = with_headers(send, scope["path"])
        if refusal := self._refusal(scope, headers):
            await self._refuse(refusal, scope, guarded)
            return
        body = await read_body(receive, self.access.max_body)
        if body is None:
            await self._refuse(too_large(self.access.max_body), scope, guarded)
            return
        await self.app(scope, replayed(body, receive), guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        checks = (self._host, self._rate, self._size, self._origin, self._kind, self._authorized)
        return next((found for check in checks if (found := check(scope, headers))), None)

    def _host(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        host = host_name(headers.get("host", ""))
        if host in self.access.hosts:
            return None
        return Refusal(
            400,
            "unknown-host",
            f"This server does not answer to the name {host!r}. Start it with "
            f"--allow-host {host} if it should.",
        )

    def _rate(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        client = (scope.get("client") or ("",))[0]
        if wait := self._limit.wait(client, time.monotonic()):
            after = str(max(1, round(wait)))
            message = f"Too many requests; try again in {after} s."
            return Refusal(429, "too-many-requests", message, (("retry-after", after),))
        return None

    def _size(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) <= self.access.max_body:
            return None
        return too_large(self.access.max_body)

    def _origin(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        if scope["method"] in SAFE_METHODS:
            return None
        origin, own = headers.get("origin"), f"{scope['scheme']}://{headers.get('host', '')}"
        site = headers.get("sec-fetch-site", "same-origin")
        if (origin is None or origin == own) and site in ("same-origin", "none"):
            return None
        return Refusal(403, "other-origin", "This request comes from a page of another site.")

    def _kind(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        if scope["method"] in SAFE_METHODS or not scope["path"].startswith(API):
            return None
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in JSON_TYPES or headers.get("content-length", "0") == "0":
            return None
        message = f"Send {' or '.join(JSON_TYPES)}; got {kind or 'no content type'}."
        return Refusal(415, "unsupported-media-type", message)

    def _authorized(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        path = scope["path"]
        if not self.access.token or path == "/login" or path.startswith("/static/"):
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.access.is_token(given.strip()):
            return None
        if self.access.is_signed(cookies_of(headers.get("cookie", "")).get(LOGIN, ""), "login"):
            return None
        if path.startswith(API):
            message = "Send the header `Authorization: Bearer TOKEN`."
            return Refusal(401, "no-token", message, (("www-authenticate", "Bearer"),))
        query = scope["query_string"].decode("latin-1")
        place = quote(path + (f"?{query}" if query else ""))
        return Refusal(303, "no-token", "Log in first.", (("location", f"/login?next={place}"),))

    async def _refuse(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        if scope["path"].startswith(API):
            kind, body = "application/json", json.dumps(error_body(refusal.code, refusal.message))
        else:
            kind, body = "text/html; charset=utf-8", self.error_page(refusal)
        content = body.encode()
        headers = [
            ("content-type", kind), ("content-length", str(len(content))), *refusal.headers
        ]  # fmt: skip
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        start = {"type": "http.response.start", "status": refusal.status, "headers": encoded}
        await send(start)
        await send({"type": "http.response.body", "body": content})


LOGIN = "sparring-login"


def too_large(most: int) -> Refusal:
    """The refusal of a body."""
    return Refusal(413, "too-large", f"A request may hold {most:,} bytes.")


def error_body(code: str, message: str, **more: Any) -> dict[str, Any]:
    """What the API answers to a request that fails."""
    return {"error": {"code": code, "message": message, **more}}


def host_name(header: str) -> str:
    """The host of a `Host` header, without its port."""
    host = header.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def cookies_of(header: str) -> dict[str, str]:
    """The cookies of a request; none if they cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


async def read_body(receive: Receive, most: int) -> bytes | None:
    """The body of a request, whatever its headers say; None for one of more bytes than `most`."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            return None
    return body


def replayed(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already."""
    waiting = [body]

    async def receiving() -> Message:
        if not waiting:
            return await receive()
        return {"type": "http.request", "body": waiting.pop(), "more_body": False}

    return receiving


def with_headers(send: Send, path: str) -> Callable[[Message], Awaitable[None]]:
    """Send answers with the headers that all of them have."""
    cache = "max-age=3600" if path.startswith("/static/") else "no-store"

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message["headers"]}
            more = {**HEADERS, "cache-control": cache}
            added = [(name.encode(), value.encode()) for name, value in more.items()]
            headers = [*message["headers"], *(pair for pair in added if pair[0] not in own)]
            message = {**message, "headers": headers}
        await send(message)

    return sending
