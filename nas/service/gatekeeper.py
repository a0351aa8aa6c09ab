"""What every request must pass before a route sees it: host, origin, token, rate, size; and headers of every answer."""

from __future__ import annotations

import hmac
import json
import time
from collections import OrderedDict
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nas.service.refusal import Refusal
from nas.service.settings import ServiceSettings

COOKIE = "netwright_token"
WINDOW_S = 10.0
MOST_CLIENTS = 10_000
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
_ALWAYS = tuple(
    (name.encode(), value.encode())
    for name, value in (
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    )
)


class Gatekeeper:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        """Stand before an application."""
        self._app, self._settings = app, settings
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "HEAD" and not scope["path"].endswith("/stream"):
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        try:
            self._check_host(headers)
            self._check_rate(scope)
            if (answer := self._entrance(scope)) is not None:
                await _redirect(send, answer)
                return
            self._check_token(scope, headers)
            self._check_origin(scope, headers)
            self._check_size(headers)
        except Refusal as refusal:
            await _refuse(send, refusal)
            return
        await self._app(scope, receive, _with_headers(send))

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        name = _parsed(f"//{host}").hostname or "" if not any(c in host for c in "/@\\") else ""
        if self._settings.hosts and name not in self._settings.hosts:
            raise Refusal(421, f"expected one of {', '.join(self._settings.hosts)}", "Host", host)

    def _check_rate(self, scope: Scope) -> None:
        most = self._settings.requests_per_second * WINDOW_S
        if not most:
            return
        client = (scope.get("client") or ("",))[0]
        now = time.monotonic()
        since, count = self._seen.pop(client, (now, 0))
        if now - since > WINDOW_S:
            since, count = now, 0
        self._seen[client] = (since, count + 1)
        while len(self._seen) > MOST_CLIENTS:
            self._seen.popitem(last=False)
        if count >= most:
            raise Refusal(429, f"more than {most:.0f} requests in {WINDOW_S:.0f} s; ask more slowly")

    def _entrance(self, scope: Scope) -> str | None:
        """The cookie for somebody who came with the token in the address of the page."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if self._settings.token is None or scope["path"] != "/" or not given:
            return None
        if not _equal(given[-1], self._settings.token):
            raise Refusal(401, "not the token that the server printed when it started", "token")
        return f"{COOKIE}={self._settings.token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        token = self._settings.token
        if token is None or scope["path"] == "/api/v1/health":
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if not (kind.lower() == "bearer" and _equal(given.strip(), token)) and not _equal(cookie, token):
            raise Refusal(
                401, "expected the server's token as `Authorization: Bearer …`, or open /?token=…", "Authorization"
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if scope["method"] in ("GET", "HEAD") or origin is None:
            return
        if _parsed(origin).netloc != headers.get("host", ""):
            raise Refusal(403, "expected a request of this server's own page", "Origin", origin)

    def _check_size(self, headers: Headers) -> None:
        """The length counts: the server itself sees to it that a body is as long as it says."""
        most, length = self._settings.body_bytes, headers.get("content-length")
        if length is None and "transfer-encoding" in headers:
            raise Refusal(411, "expected a body that says how long it is", "Content-Length")
        if length is not None and (not length.isdigit() or int(length) > most):
            raise Refusal(413, f"expected at most {most} bytes", "Content-Length", length)


def _parsed(address: str) -> SplitResult:
    """Its parts; none where it is no address."""
    try:
        parts = urlsplit(address)
        parts.hostname  # noqa: B018 - raises for some
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _equal(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in _ALWAYS if each[0] not in given)]
        await send(message)

    return sending


def _without_body(send: Send) -> Send:
    """What GET would answer, but for the body."""

    async def sending(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sending


async def _refuse(send: Send, refusal: Refusal) -> None:
    body = json.dumps(refusal.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start = {"type": "http.response.start", "status": refusal.status, "headers": headers}
    await _with_headers(send)(start)
    await send({"type": "http.response.body", "body": body})


async def _redirect(send: Send, cookie: str) -> None:
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
    await _with_headers(send)({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
