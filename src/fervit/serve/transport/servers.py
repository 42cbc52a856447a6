"""The server of one process, and the supervisor of several: both end in order."""

import asyncio
import ctypes
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.supervisors import multiprocess

from fervit.serve.transport.http import DrainState
from fervit.serve.transport.parent import signal_on_parent_death

SO_ATTACH_FILTER = 26  # Linux, socket(7)
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0 bytes of every packet
TURNS = 3  # of the event loop, in which it accepts every connection that waits


class Server(uvicorn.Server):
    """uvicorn's server, which announces when it listens, and ends without resetting anybody.

    SIGHUP, the end of its terminal, ends it like SIGTERM: requests in work get their responses.
    """

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None] = lambda: None):
        super().__init__(config)
        self.server_state: DrainState = DrainState()
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then announce."""
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what waits, stop listening, let requests end."""
        if self.config.workers == 1:  # the supervisor of several does it once for all
            turn_away(sockets or [])
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.server_state.draining = True
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGHUP, too, unless it is ignored (nohup)."""
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        with super().capture_signals():
            main = threading.current_thread() is threading.main_thread()
            if hangup is None or not main or signal.getsignal(hangup) is signal.SIG_IGN:
                yield
                return
            before = signal.signal(hangup, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(hangup, before)


class Worker(multiprocess.Process):
    """One of several server processes; it ends, in order, when the supervisor is gone."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Run in the new process."""
        signal_on_parent_death(signal.SIGTERM)
        super().target(sockets)

    @property
    def server(self) -> uvicorn.Server:
        """The process's server."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server


class Supervisor(multiprocess.Multiprocess):
    """uvicorn's supervisor, of `Worker` processes; SIGHUP replaces them one after another."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]):
        super().__init__(config, sockets)
        # The supervisor names the class of its processes in three of its methods, and nowhere lets one choose it.
        vars(multiprocess)["Process"] = Worker

    def terminate_all(self) -> None:
        """Let every worker end; connections that nobody would accept are refused from now on, not reset later."""
        turn_away(self.sockets)
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def turn_away(listeners: Sequence[socket.socket]) -> None:
    """Have the kernel drop new connections to sockets that are about to be closed; those that wait stay.

    The kernel resets what is not accepted when a listener is closed. A dropped client tries again after a second, and
    is then refused, or served by the successor. Elsewhere than on Linux, some clients may still get a reset.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
    program = struct.pack("HL", 1, ctypes.addressof(code))
    for listener in listeners:
        with suppress(OSError):  # a sandbox without filters
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
