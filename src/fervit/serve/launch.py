"""Runs the app on uvicorn: sockets, worker processes, slow clients, orderly end."""

import asyncio
import copy
import functools
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors.multiprocess import Multiprocess

from fervit.errors import ConfigError, reason
from fervit.serve.app import create_app
from fervit.serve.metrics import SHARED
from fervit.serve.settings import Settings

KEEP_ALIVE_S = 15
# uvicorn kills a worker that is silent for longer, and its imports count: by its own 5 s, a busy machine never starts.
WORKER_SILENCE_S = 60
# Chunks of one byte cost 20 us each, and one read can bring 40,000: nobody else would be served meanwhile.
MAX_LINES = 200  # in one read (at most 256 kB); more must have, on average,
MIN_LINE = 16  # bytes; a head has 30, an image 65,536


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with two limits that it lacks: open connections, and seconds for a request's head."""

    def __init__(self, *args: Any, max_connections: int, head_timeout_s: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.max_connections, self.head_timeout_s = max_connections, head_timeout_s
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._arm()

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

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over."""
        self._disarm()
        super().handle_websocket_upgrade(event)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """uvicorn's server, which announces when it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]):
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then announce."""
        await super().startup(sockets)
        self._announce()


def run(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests in work are finished first.

    Args:
        settings: what to serve.
        announce: called with the address once the service listens.

    Raises:
        ConfigError: it would be unsafe, or the address cannot be bound.
        ModelError: the model is missing or cannot be read.
        DetectorError: the detector is unknown or not installed.
    """
    settings.check()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.29 ONNX Runtime reports to its maker
    with ExitStack() as stack:
        listener = stack.enter_context(bind(settings))
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if settings.workers == 1:
            app = create_app(settings)
            Server(configuration(app, settings), lambda: announce(url)).run([listener])
            return
        create_app(settings)  # its errors belong to the user's terminal, not to a worker's log
        os.environ[SHARED] = stack.enter_context(tempfile.TemporaryDirectory(prefix="fervit-metrics-"))
        stack.callback(os.environ.pop, SHARED, None)
        config = configuration(functools.partial(create_app, settings), settings)
        announce(url)
        Multiprocess(config, [listener]).run()


def bind(settings: Settings) -> socket.socket:
    """Return a bound socket.

    Raises:
        ConfigError: the address cannot be bound.
    """
    host = settings.host.strip("[]")
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{settings.port}: {reason(error)}; choose another --port (0 takes a free one)"
        ) from error
    listener.set_inheritable(True)
    return listener


def configuration(app: ASGIApp | Callable[[], ASGIApp], settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration: HTTP/1.1 and WebSocket without compression, logs without requests."""
    protocol: Any = functools.partial(
        PatientProtocol, max_connections=settings.max_connections, head_timeout_s=settings.read_timeout_s
    )
    logs = copy.deepcopy(LOGGING_CONFIG)
    logs["loggers"]["fervit"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return uvicorn.Config(
        app,
        factory=isinstance(app, functools.partial),
        http=protocol,
        ws="websockets-sansio",
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=logs,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=settings.trusted_proxy is not None,
        forwarded_allow_ips=settings.trusted_proxy or "",
        workers=settings.workers,
        backlog=256,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        timeout_worker_healthcheck=WORKER_SILENCE_S,
    )
