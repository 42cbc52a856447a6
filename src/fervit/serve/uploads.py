"""Request bodies: counted while they are read, kept in memory only, never on disk."""

import asyncio
import binascii
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fervit.serve.finder import sniff
from fervit.serve.problems import CLOSE, Problem, busy
from fervit.serve.settings import FORMATS, Settings

LINGER_S = 2.0  # a refused body is read on for so long, or the response would be lost in a connection reset
LINGER_FACTOR = 8  # and up to so many times the limit
RAW_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
BASE64 = 4 / 3  # characters of a byte
JSON_EXTRA = 65_536  # bytes of a JSON body besides the image: keys, line breaks, fields that are not read
URL_SAFE = str.maketrans("-_", "+/", " \t\r\n")  # RFC 4648, section 5; `base64` breaks lines


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

    Args:
        request: the request.
        buffered: counts its bytes while they are held.
        settings: for the time it may take.
        limit: bytes; in JSON, of what is decoded from it.

    Raises:
        Problem: it is too large, too slow, encoded, cut off, or does not fit into memory now.
    """
    if _is_json(request):
        limit = round(limit * BASE64) + JSON_EXTRA
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


def uploaded_images(request: Request, data: bytes, *, name: str, most: int, limit: int) -> list[bytes]:
    """Return the images of a body: itself, the parts called `name` of a form, or the base64 in that field of JSON.

    File names and declared types of parts are not read. A body that is an image is one, whatever its declared type.

    Args:
        request: for its Content-Type.
        data: the body.
        name: the field of the form, or of the JSON object.
        most: number of images allowed; more than one: the field of the JSON object is a list.
        limit: bytes of all images of a JSON object; other bodies were counted while they were read.

    Raises:
        Problem: the body is malformed, of another type, or holds none or too many.
    """
    kind, options = parse_options_header(request.headers.get("content-type", "application/octet-stream"))
    if kind == b"multipart/form-data":
        parts = _Form(name, most).parse(options.get(b"boundary", b""), data)
        if not parts:
            raise Problem("bad-request", f"the form has no file field called {name!r}")
        return parts
    if most == 1 and (kind.decode("latin-1") in RAW_TYPES or sniff(data) in FORMATS):
        return [data]
    if _is_json(request):
        return _of_json(data, name, most, limit)
    if most > 1:
        example = '{"images": [BASE64, ...]}'
        raise Problem("unsupported-format", f"expected a multipart/form-data body with fields {name!r}, or {example}")
    example = '{"image": BASE64}'
    detail = f"expected an image, a multipart/form-data body with it, or {example}"
    raise Problem("unsupported-format", f"{detail}; got {sniff(data)} sent as {kind.decode('latin-1')[:80]!r}")


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _of_json(data: bytes, name: str, most: int, limit: int) -> list[bytes]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # UnicodeDecodeError and the size of a number are ValueErrors, too
        raise Problem("bad-request", "the JSON body is malformed") from None
    found = body.get(name) if isinstance(body, dict) else None
    if found is None:
        raise Problem("bad-request", f"expected a JSON object with the field {name!r}")
    texts = found if most > 1 else [found]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        wanted = "a list of base64 texts" if most > 1 else "base64 text"
        raise Problem("bad-request", f"expected {wanted} in the field {name!r}")
    if len(texts) > most:
        raise Problem("too-many-images", f"expected at most {most} images in a request")
    images = [_of_base64(text, name) for text in texts]
    if sum(map(len, images)) > limit:
        raise Problem("body-too-large", f"expected at most {limit / 1e6:g} MB")
    return images


def _of_base64(text: str, name: str) -> bytes:
    """Decode standard or URL-safe base64, with line breaks or without, padded or not, also from a data URI."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise Problem("bad-request", f"expected a data URI of base64 in the field {name!r}")
    try:
        text = text.translate(URL_SAFE).rstrip("=")
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:  # binascii.Error, or characters beyond ASCII
        raise Problem("bad-request", f"expected base64 in the field {name!r}") from None


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
        if options.get(b"name") != self.name.encode() and b"filename" not in options:
            return  # a text field beside the file
        if options.get(b"name") != self.name.encode():
            found = options.get(b"name", b"").decode("ascii", "replace")[:40]
            raise Problem("bad-request", f"expected only file fields called {self.name!r}, got {found!r}")
        if len(self.parts) == self.most:
            plural = "image" if self.most == 1 else "images"
            raise Problem("too-many-images", f"expected at most {self.most} {plural} in a request")
        self.parts.append(b"".join(self._span))

    def _all(self) -> None:
        self._complete = True
