"""A double of whatever takes rows over HTTP."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Requests:
    """The requests that came, and how they are responded to.

    Attributes:
        address: where to send them.
        statuses: of the first requests; the others get 204.
        pause_s: before each response.
        bodies: of the requests that were taken.
        headers: of every request.
        paths: of every request.
    """

    address: str = ""
    statuses: Sequence[int] = ()
    pause_s: float = 0.0
    bodies: list[dict[str, object]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, object]]:
        """All rows that were taken."""
        return [row for body in self.bodies for row in body["rows"]]  # type: ignore[attr-defined]


@contextlib.contextmanager
def receiver(statuses: Sequence[int] = (), pause_s: float = 0.0) -> Iterator[Requests]:
    """Serve on a free port."""
    requests = Requests(statuses=statuses, pause_s=pause_s)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = len(requests.paths)
            requests.paths.append(self.path)
            requests.headers.append(dict(self.headers))
            status = requests.statuses[number] if number < len(requests.statuses) else 204
            if status < 300:
                requests.bodies.append(body)
            time.sleep(requests.pause_s)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        requests.address = f"http://127.0.0.1:{server.server_port}/rows"
        try:
            yield requests
        finally:
            server.shutdown()
            thread.join()
