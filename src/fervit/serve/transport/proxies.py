"""Behind a reverse proxy: which headers are believed, and the path prefix under which the service is seen."""

from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from fervit.serve.problems import CLOSE, Problem
from fervit.serve.settings import clean_prefix

PREFIX = "fervit.prefix"  # key of a request's scope: "" or "/faces"


class Proxied:
    """An ASGI app around the service: tells it the client's address and the path prefix, by `scope[PREFIX]`.

    `X-Forwarded-For`, `-Proto` and `-Prefix` are believed where the connection comes from a named proxy, and are
    ignored elsewhere. The prefix is taken off the path where the proxy has left it on.

    Args:
        app: the service.
        proxies: addresses and networks of the proxies.
        root_path: the prefix where no header says one, `""` or as `clean_prefix` returns it.
        paths: the service's own paths.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str], root_path: str, paths: Collection[str]):
        self._app, self._root_path, self._paths = app, root_path, frozenset(paths)
        self._forwarded = ProxyHeadersMiddleware(app, list(proxies))  # type: ignore[arg-type]  # two ASGI typings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            prefix = self._prefix(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        path = scope["path"]
        if prefix and path == prefix and path not in self._paths:
            await RedirectResponse(f"{prefix}/", 308)(scope, receive, send)
            return
        if prefix and path.startswith(f"{prefix}/") and path not in self._paths:
            path = path.removeprefix(prefix)
        scope = {**scope, "path": path, PREFIX: prefix}
        await self._forwarded(scope, receive, send)  # type: ignore[arg-type]

    def _prefix(self, scope: Scope) -> str:
        client = (scope.get("client") or ("", 0))[0]
        said = Headers(scope=scope).get("x-forwarded-prefix")
        if said is None or client not in self._forwarded.trusted_hosts:
            return self._root_path
        prefix = clean_prefix(said)
        if prefix is None:
            detail = "expected a header X-Forwarded-Prefix such as /faces from the proxy"
            raise Problem("bad-request", detail, dict(CLOSE))
        return prefix
