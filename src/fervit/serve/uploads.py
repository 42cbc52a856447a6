"""Request bodies: counted while they are read, kept in memory only, never on disk."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fervit.serve.problems import CLOSE, Problem, busy
from fervit.serve.settings import Settings

LINGER_S = 2.0  # a refused body is read on for so long, or the response would be lost in a connection reset
LINGER_FACTOR = 8  # and up to so many times the limit
RAW_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


@dataclass
class Buffered:
    """Bytes of all bodies in memory; every byte of a body passes `take` when it arrives."""

    limit: int
    used: int = 0

    def take(self, chunk: bytes) -> None:
        """Count one more chunk.

        Raises:
            Problem: 503, too many bytes are held already.
        """
        if self.used + len(chunk) > self.limit:
            error = busy("too many uploads at once; try again", 1)
            error.headers.update(CLOSE)
            raise error
        self.used += len(chunk)

    def give_back(self, chunks: list[bytes]) -> None:
        """Forget chunks."""
        self.used -= sum(map(len, chunks))


@asynccontextmanager
async def read_body(request: Request, buffered: Buffered, settings: Settings, limit: int) -> AsyncIterator[bytes]:
    """Yield a request's body, and free its place in `buffered` afterwards.

    Raises:
        Problem: it is too large, too slow, encoded, cut off, or does not fit into memory now.
    """
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(settings.read_timeout_s):
            await _read(request, buffered, limit, chunks)
    except TimeoutError:
        buffered.give_back(chunks)
        detail = f"the body took longer than {settings.read_timeout_s:g} s"
        raise Problem("slow-request", detail, dict(CLOSE)) from None
    except ClientDisconnect:
        buffered.give_back(chunks)
        raise Problem("bad-request", "the body broke off", dict(CLOSE)) from None
    except BaseException:
        buffered.give_back(chunks)
        raise
    data = b"".join(chunks)
    chunks = [data]  # frees the parts
    try:
        yield data
    finally:
        buffered.give_back(chunks)


async def _read(request: Request, buffered: Buffered, limit: int, chunks: list[bytes]) -> None:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem("unsupported-format", "send the body without Content-Encoding", dict(CLOSE))
    too_large = Problem("body-too-large", f"expected at most {limit / 1e6:g} MB", dict(CLOSE))
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isascii() and length.isdigit() else 0
    if announced > limit and "expect" in request.headers:
        raise too_large  # the client waits for a go-ahead before it sends
    stream = request.stream()
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if max(announced, size) > limit:
            await _linger(stream, limit)
            raise too_large
        buffered.take(chunk)
        chunks.append(chunk)


async def _linger(stream: AsyncIterator[bytes], limit: int) -> None:
    """Read a refused body on and drop it, for a bounded time and size."""
    deadline, seen = time.monotonic() + LINGER_S, 0
    try:
        async with asyncio.timeout(LINGER_S):
            async for chunk in stream:
                seen += len(chunk)
                if seen > LINGER_FACTOR * limit or time.monotonic() > deadline:
                    return
    except TimeoutError:
        return


def uploaded_images(request: Request, data: bytes, *, name: str, most: int) -> list[bytes]:
    """Return the images of a body: itself, or the parts called `name` of a form.

    File names and declared types of parts are not read.

    Args:
        request: for its Content-Type.
        data: the body.
        name: the form field.
        most: number of images allowed.

    Raises:
        Problem: the body is malformed, of another type, or holds none or too many.
    """
    kind, options = parse_options_header(request.headers.get("content-type", "application/octet-stream"))
    if kind != b"multipart/form-data":
        if kind.decode("latin-1") not in RAW_TYPES:
            raise Problem(
                "unsupported-format",
                f"expected a body of multipart/form-data, {', '.join(RAW_TYPES)}, or leave Content-Type out",
            )
        return [data]
    parts = _Form(name, most).parse(options.get(b"boundary", b""), data)
    if not parts:
        raise Problem("bad-request", f"the form has no file field called {name!r}")
    return parts


class _Form:
    """The wanted parts of one multipart body."""

    def __init__(self, name: str, most: int):
        self.name, self.most = name, most
        self.parts: list[bytes] = []
        self._span: list[memoryview] = []
        self._field, self._value, self._disposition = b"", b"", b""
        self._complete = False

    def parse(self, boundary: bytes, data: bytes) -> list[bytes]:
        try:
            parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._all,
                },
            )
            parser.write(data)
            parser.finalize()
        except FormParserError:
            raise Problem("bad-request", "the multipart form is malformed") from None
        if not self._complete:
            raise Problem("bad-request", "the multipart form is truncated")
        return self.parts

    def _begin(self) -> None:
        self._span, self._disposition = [], b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._span.append(memoryview(data)[start:end])

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != self.name.encode():
            found = options.get(b"name", b"").decode("ascii", "replace")[:40]
            raise Problem("bad-request", f"expected only file fields called {self.name!r}, got {found!r}")
        if len(self.parts) == self.most:
            plural = "image" if self.most == 1 else "images"
            raise Problem("too-many-images", f"expected at most {self.most} {plural} in a request")
        self.parts.append(b"".join(self._span))

    def _all(self) -> None:
        self._complete = True
