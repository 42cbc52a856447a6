"""What the service refuses: RFC 9457 problem details, without internals."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:problem-type:fervit:"
CLOSE = {"connection": "close"}  # where the rest of the body stays unread

# kind -> (status, title)
KINDS = {
    "bad-request": (400, "The request is malformed"),
    "unauthorized": (401, "A bearer token is needed"),
    "forbidden-origin": (403, "This web page may not call the service"),
    "not-found": (404, "Nothing is here"),
    "method-not-allowed": (405, "This path takes another method"),
    "slow-request": (408, "The request came too slowly"),
    "body-too-large": (413, "The request is too large"),
    "too-many-images": (413, "The batch holds too many images"),
    "unsupported-format": (415, "This kind of image or body is not accepted"),
    "misdirected": (421, "This service does not respond to that host name"),
    "bad-parameter": (422, "A parameter has a wrong value"),
    "empty-picture": (422, "The image is empty"),
    "unreadable-picture": (422, "The image cannot be decoded"),
    "too-many-pixels": (422, "The image is too large"),
    "rate-limited": (429, "Too many requests"),
    "internal": (500, "The service failed"),
    "busy": (503, "The service is busy"),
    "timeout": (503, "The response took too long"),
}


class ProblemDetails(TypedDict):
    """A problem as JSON (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


@dataclass
class Problem(Exception):
    """One refusal; `kind` is a key of `KINDS`, `detail` a sentence for the caller."""

    kind: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]

    def to_dict(self) -> ProblemDetails:
        """Return the JSON object `type, title, status, detail`."""
        status, title = KINDS[self.kind]
        return {"type": PREFIX + self.kind, "title": title, "status": status, "detail": self.detail}

    def response(self) -> Response:
        """Return it as an HTTP response."""
        return problem_response(self.status, self.to_dict(), self.headers)


def problem_response(status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> Response:
    """Return a problem as an HTTP response that is never cached."""
    return Response(json.dumps(body), status, {"cache-control": "no-store", **headers}, media_type=MEDIA_TYPE)


def busy(detail: str, retry_s: int) -> Problem:
    """Return a 503 with the time after which to try again."""
    return Problem("busy", detail, {"retry-after": str(retry_s)})


def install(app: FastAPI, observe: Callable[[str], None]) -> None:
    """Make every error of an app a problem; tracebacks reach the log only.

    Args:
        app: the app.
        observe: called with the kind of every problem.
    """

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        observe(error.kind)
        return error.response()

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code)
        if kind is None:
            body = {"type": "about:blank", "title": "The request failed", "status": error.status_code}
            return problem_response(error.status_code, body, error.headers or {})
        found = Problem(kind, "see /docs for what the service offers", dict(error.headers or {}))
        return found.response()

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem("bad-parameter", f"{where}: {first['msg']}").response()

    async def internal(_: Request, error: Exception) -> Response:
        observe("internal")
        return Problem("internal", "the failure is in the service's log").response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, internal)
