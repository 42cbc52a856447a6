"""Runs the app on uvicorn, in one process or several."""

import functools
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from fervit.errors import ConfigError, reason
from fervit.serve.app import create_app
from fervit.serve.metrics import SHARED
from fervit.serve.settings import Settings
from fervit.serve.transport.http import PatientProtocol
from fervit.serve.transport.logs import logging_config
from fervit.serve.transport.servers import Server, Supervisor
from fervit.serve.transport.websocket import BoundedWebSocket

KEEP_ALIVE_S = 15
# uvicorn kills a worker that is silent for longer, and its imports count: by its own 5 s, a busy machine never starts.
WORKER_SILENCE_S = 60
BACKLOG = 256  # connections that wait to be accepted


def run(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP (which replaces the workers, where there are several).

    Requests in work are finished first.

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
        listener.listen(BACKLOG)  # until the workers are ready, connections wait
        announce(url)
        Supervisor(config, [listener]).run()


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
    return uvicorn.Config(
        app,
        factory=isinstance(app, functools.partial),
        http=protocol,
        ws=BoundedWebSocket,
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=logging_config(),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `Proxied` does it, which must see the proxy's own address
        workers=settings.workers,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        timeout_worker_healthcheck=WORKER_SILENCE_S,
    )
