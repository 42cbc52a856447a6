"""A real `fervit serve` in a process of its own, on a free loopback port, for tests."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 60  # with a cold disk and a busy machine; the bound that is promised has its own test


@dataclass
class Response:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """`with Served("--rate", "0") as server: server.post(...)`."""

    def __init__(self, *arguments: object, **environment: str):
        self.arguments = [str(argument) for argument in arguments]
        self.environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"} | environment
        self.port = 0
        self.output = ""

    def __enter__(self) -> "Served":
        command = [sys.executable, "-m", "fervit", "serve", "--port", "0", *self.arguments]
        started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment
        )
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            self.output += line
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
            if not line or time.monotonic() - started > START_S:
                self.process.kill()
                raise AssertionError(f"the service did not start: {self.output}")
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.start_s = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, wait_s: float = 30) -> int:
        """End it by SIGTERM; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        self.output += rest or ""
        return self.process.returncode

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, body: bytes, kind: str = "application/octet-stream", path: str = "/v1/predict") -> Response:
        return self.request("POST", path, body, {"Content-Type": kind})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def peak_rss(self) -> int:
        """Return the largest peak memory of any of its processes, in bytes."""
        return max(_peak(pid) for pid in [self.process.pid, *self.children()])

    def cpu_s(self) -> float:
        """Return the seconds of processor time that it and its processes have taken."""
        ticks = 0
        for pid in [self.process.pid, *self.children()]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def children(self) -> list[int]:
        folder = Path(f"/proc/{self.process.pid}/task")
        pids = [int(pid) for task in folder.iterdir() for pid in (task / "children").read_text().split()]
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def descendants(self) -> list[int]:
        """Return its processes, theirs, and so on."""
        found: list[int] = []
        unseen = [self.process.pid]
        while unseen:
            for task in Path(f"/proc/{unseen.pop()}/task").iterdir():
                pids = [int(pid) for pid in (task / "children").read_text().split()]
                found += pids
                unseen += pids
        return found


def all_end(pids: list[int], within_s: float = 10) -> bool:
    """Whether processes are gone within ten seconds."""
    deadline = time.monotonic() + within_s
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return " Z" not in Path(f"/proc/{pid}/stat").read_text().partition(")")[2][:3]
    except OSError:
        return False


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def form(*parts: tuple[str, str, bytes], boundary: str = "b0undary") -> tuple[bytes, str]:
    """Return a multipart body of `(field, file name, content)` and its Content-Type."""
    body = b""
    for field, name, content in parts:
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: image/jpeg'
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
