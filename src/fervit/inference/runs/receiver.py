"""Rows sent to an HTTP address while a run goes on, by a thread: a slow receiver never holds up the camera."""

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import IO, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from fervit import __version__
from fervit.errors import ConfigError, quoted, redacted, request_reason
from fervit.formatting import counted
from fervit.inference.rows import JsonRow

MOST_ROWS = 1000  # of one request
MOST_WAITING = 20_000  # rows, some minutes of a face; the oldest are dropped where more wait
TIMEOUT_S = 10.0  # of one request
CLOSING_S = 5.0  # that the end of a run waits for the last rows to be taken
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # before a request is tried again; the last one again and again
TRY_AGAIN = (408, 425, 429)  # statuses below 500 that say: later
PATH_CHARACTERS = "/%:@!$&'()*+,;=~-._"


def check_receiver(address: object) -> None:
    """Refuse what is no address that rows can be sent to, before a camera is opened.

    Raises:
        ConfigError: it is not of the form `http://host/path` or `https://host/path`.
    """
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        good = False
    if not good or not isinstance(address, str) or any(ord(c) <= 32 or ord(c) == 127 for c in address):
        raise ConfigError(f"expected an address for rows, such as http://127.0.0.1:9000/rows, got {quoted(address)}")


class Receiver:
    """Sends rows to an address by POST, as JSON: `{"source", "started", "lost", "rows"}`.

    One request has all rows that have come since the last one: a fast receiver gets one for each frame, a slow one
    gets several at once. A receiver that cannot be reached or responds with 5xx is tried again, while rows wait; with
    another status than 2xx it has refused them. A user name and password in the address become basic authentication.
    Redirects are not followed.

    Args:
        address: where to.
        source: the camera's name, as in the rows.
        tell: is given a line for people when rows cannot be delivered, and when they can again.

    Attributes:
        name: the address without secrets.
        started: when time 0 of the rows was, in UTC as of ISO 8601; sent with them.
        lost: rows that were refused, or dropped because too many waited.

    Raises:
        ConfigError: see `check_receiver`.
    """

    def __init__(self, address: str, source: str, tell: Callable[[str], None]):
        check_receiver(address)
        self.name, self.started, self.lost = redacted(address), "", 0
        self._address, self._headers = _without_login(address)
        self._source, self._tell = source, tell
        self._waiting: deque[JsonRow] = deque()
        self._sent = 0  # rows at the left of `_waiting` that are on their way
        self._changed = threading.Condition()
        self._ending, self._give_up_s = False, float("inf")
        self._trouble = self._problem = ""  # of the last request, and of the last one that failed
        # Its own opener: the usual one would send rows on to wherever a redirect leads.
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._work, name="fervit-receiver", daemon=True)
        self._thread.start()

    def add(self, rows: Sequence[JsonRow]) -> None:
        """Send rows; returns at once."""
        with self._changed:
            self._waiting.extend(rows)
            while len(self._waiting) - self._sent > MOST_WAITING:
                del self._waiting[self._sent]
                self.lost += 1
            self._changed.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait a few seconds for the last rows to be taken; harmless when done twice."""
        with self._changed:
            self._ending, self._give_up_s = True, time.monotonic() + CLOSING_S
            self._changed.notify()
        self._thread.join(CLOSING_S + TIMEOUT_S + 1)

    def undelivered(self) -> str | None:
        """Return how many rows were not delivered, and why, once it is closed; None where all were."""
        with self._changed:
            lost = self.lost + len(self._waiting)
        if not lost:
            return None
        why = f": {self._problem}" if self._problem else ""
        return f"{counted(lost, 'row')} {'was' if lost == 1 else 'were'} not delivered to {self.name}{why}"

    def _work(self) -> None:
        attempt = 0
        while (batch := self._next_batch()) is not None:
            problem, final = self._post(batch)
            if problem and problem != self._trouble:
                self._tell(f"fervit: {self.name}: {problem}; " + ("its rows are lost" if final else "trying again"))
            elif not problem and self._trouble:
                self._tell(f"fervit: {self.name}: takes rows again")
            self._trouble, self._problem = problem, problem or self._problem
            with self._changed:
                if not problem or final:
                    self.lost += len(batch) if problem else 0
                    for _ in batch:
                        self._waiting.popleft()
                self._sent = 0
            attempt = attempt + 1 if problem else 0
            if problem and not self._pause(PAUSES_S[min(attempt, len(PAUSES_S)) - 1]):
                return

    def _next_batch(self) -> list[JsonRow] | None:
        """Wait for rows; None at the end, when none are left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            self._sent = min(len(self._waiting), MOST_ROWS)
            return [self._waiting[k] for k in range(self._sent)] or None

    def _pause(self, seconds: float) -> bool:
        """Wait before the next request; return whether there is time for one."""
        until_s = time.monotonic() + seconds
        with self._changed:
            # An end that comes while it waits has it try once more at once.
            self._changed.wait_for(lambda: self._ending, timeout=seconds)
            ending, give_up_s = self._ending, self._give_up_s
        if ending and until_s - time.monotonic() > 0:
            time.sleep(min(PAUSES_S[0], max(0.0, until_s - time.monotonic())))
        return time.monotonic() < give_up_s

    def _post(self, batch: Sequence[JsonRow]) -> tuple[str, bool]:
        """Send rows; return what went wrong, or nothing, and whether another attempt would be of no use."""
        body: Mapping[str, object] = {
            "source": self._source,
            "started": self.started,
            "lost": self.lost,
            "rows": batch,
        }
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
        request = urllib.request.Request(self._address, data, self._headers, method="POST")
        left_s = max(0.5, min(TIMEOUT_S, self._give_up_s - time.monotonic()))
        try:
            with self._opener.open(request, timeout=left_s):
                return "", False
        except urllib.error.HTTPError as error:
            with error:
                return f"it responded {error.code} {request_reason(error)}".rstrip(), not _may_help(error.code)
        except (OSError, HTTPException, ValueError) as error:
            return f"not reached: {request_reason(error)}", False


def _may_help(status: int) -> bool:
    return status >= 500 or status in TRY_AGAIN


def _without_login(address: str) -> tuple[str, dict[str, str]]:
    """Return an address as it can be sent, without user name and password, and the headers of a request to it."""
    parts = urlsplit(address)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"fervit/{__version__}"}
    login, at, host = parts.netloc.rpartition("@")
    if at:
        user, _, password = login.partition(":")
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    host = host.encode("idna").decode() if not host.isascii() else host
    path, query = quote(parts.path, PATH_CHARACTERS), quote(parts.query, PATH_CHARACTERS + "?")
    return urlunsplit((parts.scheme, host, path or "/", query, "")), headers


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Leave a redirect for what it is: an error."""
