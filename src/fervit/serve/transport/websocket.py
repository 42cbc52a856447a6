"""WebSocket with the limits that uvicorn lacks: floods of small frames, clients that do not read."""

import time
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

# A frame costs 10 us and 7 bytes: one read of 256 kB would hold all others up for half a second.
PIECE = 4096  # bytes that are taken apart at once
SMALL = 126  # bytes; control frames are smaller (RFC 6455, section 5.5), images and their fragments larger
SMALL_RATE = 100.0  # small frames a second, on average;
SMALL_BURST = 200  # at once
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
POLICY = 1008  # RFC 6455, section 7.4.1
CLOSE_S = 1.0  # a client that does not read what it is told is cut off after so long


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket; a client that floods it with small frames (pings, empty fragments) is closed by 1008."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._left, self._then = float(SMALL_BURST), time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Take the bytes apart, piece by piece, until the client has sent too many small frames."""
        for start in range(0, len(data), PIECE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + PIECE])
        if not self.handshake_initiated and not self.transport.is_closing():
            # The first bytes are a whole head, which h11 has taken: this parser has not, and uvicorn would wait on.
            self.transport.write(REFUSAL)
            self.transport.close()

    def handle_events(self) -> None:
        """Hand on what a piece held."""
        small = sum(isinstance(event, Frame) and len(event.data) < SMALL for event in self.conn.events)
        if small and not self._allowed(small):
            self._close()
            return
        super().handle_events()

    def handle_ping(self) -> None:
        """Respond, unless the client reads too slowly: its pongs would pile up in memory."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # drops them

    async def send(self, message: Any) -> None:
        """Send; a refusal completes the handshake, which uvicorn would otherwise report as an error of the app."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def _allowed(self, small: int) -> bool:
        now = time.monotonic()
        self._left = min(float(SMALL_BURST), self._left + (now - self._then) * SMALL_RATE) - small
        self._then = now
        return self._left >= 0

    def _close(self) -> None:
        self.conn.events_received()  # drops them
        self.conn.data_to_send()
        self.conn.fail(POLICY, "too many small frames")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self.loop.call_later(CLOSE_S, self.transport.abort)
