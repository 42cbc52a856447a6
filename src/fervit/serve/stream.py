"""`WS /v1/stream`: JPEG frames in, JSON out; the newest frame wins, so no queue ever builds up."""

import contextlib
import json

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from fervit.faces.tracking import Tracker
from fervit.serve.engine import Engine
from fervit.serve.guard import SUBPROTOCOL
from fervit.serve.problems import Problem

SEND_TIMEOUT_S = 10.0
TRY_AGAIN_LATER, UNSUPPORTED, POLICY = 1013, 1003, 1008  # RFC 6455, section 7.4.1, and its registry
GONE = (TimeoutError, WebSocketDisconnect, RuntimeError)  # what sending to a closed or deaf client raises


class Slot:
    """The newest frame that is not yet in work."""

    def __init__(self) -> None:
        self._frame: bytes | None = None
        self._arrived = anyio.Event()
        self._number = -1
        self._dropped = 0

    def put(self, frame: bytes) -> None:
        """Replace what waits."""
        self._dropped += self._frame is not None
        self._frame = frame
        self._number += 1
        self._arrived.set()

    async def take(self) -> tuple[bytes, int, int]:
        """Wait for a frame; return it, its number from 0, and how many were dropped before it."""
        await self._arrived.wait()
        self._arrived = anyio.Event()
        assert self._frame is not None
        taken = self._frame, self._number, self._dropped
        self._frame, self._dropped = None, 0
        return taken


async def stream(socket: WebSocket, engine: Engine) -> None:
    """Serve one stream until either side ends it."""
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    slot = Slot()
    code: int | None = POLICY
    async with anyio.create_task_group() as tasks:

        async def respond() -> None:
            await _respond(socket, slot, engine)
            tasks.cancel_scope.cancel()

        tasks.start_soon(respond)
        code = await _receive(socket, slot, engine.settings.idle_timeout_s)
        tasks.cancel_scope.cancel()
    if code is not None:
        with anyio.move_on_after(1), contextlib.suppress(*GONE):
            await socket.close(code)


async def _receive(socket: WebSocket, slot: Slot, idle_s: float) -> int | None:
    """Keep the newest frame; return the code to close with, or None when the client is gone."""
    while True:
        with anyio.move_on_after(idle_s) as waited:
            message = await socket.receive()
        if waited.cancelled_caught:
            return POLICY
        if message["type"] == "websocket.disconnect":
            return None
        frame = message.get("bytes")
        if frame is None:
            return UNSUPPORTED
        slot.put(frame)


async def _respond(socket: WebSocket, slot: Slot, engine: Engine) -> None:
    """Send the faces of the newest frame, again and again, until the client is gone or does not read."""
    tracker = Tracker()
    while True:
        frame, number, dropped = await slot.take()
        row: dict[str, object] = {"frame": number, "dropped": dropped}
        try:
            with engine.admitted():
                row |= await engine.predict(frame, tracker=tracker)
        except Problem as problem:
            engine.metrics.refused(problem.kind)
            row["error"] = problem.to_dict()
        try:
            with anyio.fail_after(SEND_TIMEOUT_S):
                await socket.send_text(json.dumps(row))
        except GONE:
            return
