"""`Guard`: what checks every request: host, origin, rate, token; and the headers of every response."""

import hashlib
import hmac
import ipaddress
import math
import re
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fervit.serve.metrics import Metrics
from fervit.serve.problems import CLOSE, Problem
from fervit.serve.settings import Settings, is_loopback

OPEN_PATHS = frozenset(
    {"/healthz", "/readyz", "/", "/docs", "/openapi.json"}
)  # and the page's files: none of them reveals anything about the model or runs it
CLIENTS = 4096  # rate buckets kept; the longest unused goes first
SUBPROTOCOL = "fervit"
TOKEN_PROTOCOL = "fervit.bearer."  # + base64url of the token: browsers cannot send headers with a WebSocket
HOST = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]{0,5}))?")

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class RateLimit:
    """Token buckets: `rate` requests a second on average, `burst` at once, for each client."""

    def __init__(self, rate: float, burst: int):
        self.rate, self.burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (left, time)

    def wait_s(self, client: str) -> float:
        """Take one token and return 0, or the seconds until there is one."""
        if not self.rate:
            return 0.0
        now = time.monotonic()
        left, then = self._buckets.pop(client, (float(self.burst), now))
        left = min(self.burst, left + (now - then) * self.rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.rate


class Guard:
    """An ASGI app around the service.

    Args:
        app: the service.
        settings: hosts, origins, token and rate.
        metrics: counts every response.
        page_paths: paths of the page's own files.
        paths: paths that are counted by name; all others are one.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, page_paths: frozenset[str], paths: frozenset[str]
    ):
        self.app, self.settings, self.metrics = app, settings, metrics
        self.open_paths, self.paths = OPEN_PATHS | page_paths, paths
        self.rate = RateLimit(settings.rate, settings.burst)
        self._token = hashlib.sha256(settings.token.encode()).digest() if settings.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        response = _Response(send)
        started = time.perf_counter()
        try:
            try:
                self._check(scope)
            except Problem as problem:
                self.metrics.refused(problem.kind)
                await _refuse(problem, scope, receive, response)
            else:
                await self.app(scope, receive, response)
        finally:
            self._count(scope, response.status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers.get("host", ""))
        self._check_origin(headers)
        if scope["path"] in self.open_paths:
            return
        wait_s = self.rate.wait_s(client_key(scope))
        if wait_s:
            retry_s = max(1, math.ceil(wait_s))
            detail = f"at most {self.settings.rate:g} a second; try again in {retry_s} s"
            raise Problem("rate-limited", detail, {"retry-after": str(retry_s), **CLOSE})
        if self._token is not None and not self._authorized(scope, headers):
            detail = "send the header Authorization: Bearer TOKEN"
            raise Problem("unauthorized", detail, {"www-authenticate": 'Bearer realm="fervit"', **CLOSE})

    def _check_host(self, host: str) -> None:
        """Refuse a malformed name; and foreign ones on a loopback service: a web page could rebind its name to us."""
        name = host_name(host)
        if name is None:
            raise Problem("bad-request", "expected a header Host: NAME or NAME:PORT", dict(CLOSE))
        if not self.settings.loopback:
            return
        if not (is_loopback(name) or name in self.settings.allow_hosts):
            raise Problem("misdirected", "call it as localhost, or start it with --allow-host NAME", dict(CLOSE))

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self.settings.allow_origins:
            return
        if origin.partition("://")[2] != headers.get("host"):
            raise Problem("forbidden-origin", "start the service with --allow-origin ORIGIN", dict(CLOSE))

    def _authorized(self, scope: Scope, headers: Headers) -> bool:
        assert self._token is not None and self.settings.token is not None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(hashlib.sha256(token.strip().encode()).digest(), self._token)
        if scope["type"] != "websocket":
            return False
        wanted = hashlib.sha256(token_protocol(self.settings.token).encode()).digest()
        offered = [hashlib.sha256(name.encode(errors="replace")).digest() for name in scope.get("subprotocols", [])]
        return any([hmac.compare_digest(name, wanted) for name in offered])

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        if scope["type"] == "http":
            self.metrics.request_s.labels(path).observe(seconds)


class _Response:
    """`send` with the security headers; remembers the status."""

    def __init__(self, send: Send):
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            message = {**message, "headers": headers.raw}
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
    await problem.response()(scope, receive, send)


def token_protocol(token: str) -> str:
    """Return the WebSocket subprotocol that transmits a token."""
    return TOKEN_PROTOCOL + urlsafe_b64encode(token.encode()).decode().rstrip("=")


def client_key(scope: Scope) -> str:
    """Return whose bucket a request takes from: the address, or the /64 network of IPv6."""
    address = (scope.get("client") or ("unknown", 0))[0]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)


def host_name(host: str) -> str | None:
    """Return the name in a Host header (RFC 9110, section 7.2), in lower case; None if it is malformed.

    >>> [host_name(host) for host in ("Localhost:8000", "[::1]:9", "", "[::1", "[fe80::]x", "a:b", "a:99999")]
    ['localhost', '::1', '', None, None, None, None]
    """
    found = HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > 65535:
        return None
    if found["v6"] is None:
        return found["name"].lower()
    try:
        return str(ipaddress.IPv6Address(found["v6"]))
    except ValueError:
        return None
