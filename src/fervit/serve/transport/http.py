"""HTTP/1.1 with the limits that uvicorn lacks, and an end that loses no request."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

# Chunks of one byte cost 20 us each, and one read can bring 40,000: nobody else would be served meanwhile.
MAX_LINES = 200  # in one read (at most 256 kB); more must have, on average,
MIN_LINE = 16  # bytes; a head has 30, an image 65,536
CLOSE = (b"connection", b"close")
GRACE_S = 0.5  # at the end of the server, an idle connection may still bring a request that is under way


class DrainState(ServerState):
    """What the connections of a server share.

    Attributes:
        draining: whether the server ends: every response is its connection's last.
    """

    draining = False


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with two limits that it lacks: open connections, and seconds for a request's head."""

    def __init__(self, *args: Any, max_connections: int, head_timeout_s: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.max_connections, self.head_timeout_s = max_connections, head_timeout_s
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def draining(self) -> bool:
        """Whether the server ends."""
        return isinstance(self.server_state, DrainState) and self.server_state.draining

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._arm()
        if self.draining:  # it was accepted just before the end, after `shutdown` of all others
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Read on; the clock runs from a head's first byte until it is complete."""
        lines = data.count(b"\r\n")
        if lines > MAX_LINES and len(data) < MIN_LINE * lines:
            self.transport.abort()
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._deadline is None and not self.transport.is_closing():
            self._arm()
        if self.draining and self._busy():
            self._make_last()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, unless the server ends: a new stream would hold it up."""
        self._disarm()
        if not self.draining:
            super().handle_websocket_upgrade(event)
            return
        headers = [("connection", "close"), ("content-length", "0"), ("retry-after", "1")]
        self.transport.write(self.conn.send(h11.Response(status_code=503, headers=headers, reason="Ending")))
        self.transport.close()

    def shutdown(self) -> None:
        """End after the response in work; without one, soon: a request may be on its way, and would get a reset."""
        if self._busy():
            self._make_last()
        else:
            self.loop.call_later(GRACE_S, self._end_if_idle)

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_last(self) -> None:
        """Close after the response in work; uvicorn says so in it where the request asks for the same."""
        self.cycle.keep_alive = False
        headers = self.cycle.scope["headers"]
        if CLOSE not in headers:
            self.cycle.scope["headers"] = [*headers, CLOSE]

    def _end_if_idle(self) -> None:
        if not self._busy() and not self.transport.is_closing():
            super().shutdown()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
