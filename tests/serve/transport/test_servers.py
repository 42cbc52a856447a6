"""Server processes end in order: on a signal, and with a parent that was killed."""

import http.client
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.served import START_S, Served, all_end
from tests.helpers.service import jpeg

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals"), pytest.mark.slow]
LIGHT = ("--image-workers", 0, "--detector", "none", "--rate", 0)


def half_sent(server: Served, body: bytes) -> socket.socket:
    """Return a connection on which half of a request is sent."""
    client = server.connect()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body[: len(body) // 2])
    return client


def rest_of(client: socket.socket, body: bytes) -> bytes:
    """Send the other half and hang up; return the response's first line."""
    with client:
        client.sendall(body[len(body) // 2 :])
        return client.recv(65536).split(b"\r\n")[0]


def outcome(server: Served) -> str:
    """Return what a new client gets."""
    try:
        return str(server.request("GET", "/healthz").status)
    except ConnectionRefusedError:
        return "refused"
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


@pytest.mark.parametrize("workers", [1, 2])
def test_new_clients_are_served_or_refused_and_never_reset_while_it_ends(
    workers: int, tiny_onnx: Path, astronaut: np.ndarray
) -> None:
    photo, seen = jpeg(astronaut), Counter[str]()
    with Served("--model", tiny_onnx, "--workers", workers, *LIGHT) as server:
        ready(server)
        slow = half_sent(server, photo)
        time.sleep(0.2)
        stop = threading.Event()

        def knock() -> None:
            while not stop.is_set() and seen.total() < 5000:
                seen[outcome(server)] += 1

        knocking = [threading.Thread(target=knock) for _ in range(2)]
        for thread in knocking:
            thread.start()
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert rest_of(slow, photo) == b"HTTP/1.1 200 OK"
        server.process.wait(20)
        stop.set()
        for thread in knocking:
            thread.join(10)
    assert set(seen) == {"200", "refused"}, seen


def test_an_open_connection_may_bring_its_first_request_while_the_server_ends(tiny_onnx: Path) -> None:
    with Served("--model", tiny_onnx, *LIGHT) as server, server.connect() as client:
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = client.recv(65536)
        assert said.startswith(b"HTTP/1.1 200 OK") and b"connection: close" in said.lower()
        server.process.wait(20)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_requests_in_work_get_their_response_after_any_ending_signal(
    number: signal.Signals, tiny_onnx: Path, astronaut: np.ndarray
) -> None:
    photo = jpeg(astronaut)
    with Served("--model", tiny_onnx, *LIGHT) as server:
        slow = half_sent(server, photo)
        time.sleep(0.2)
        server.process.send_signal(number)
        time.sleep(0.5)
        assert rest_of(slow, photo) == b"HTTP/1.1 200 OK"
        server.process.wait(20)
        server.stop()
    assert "Traceback" not in server.output


def test_a_worker_that_gets_sighup_drains_and_is_replaced(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    photo = jpeg(astronaut)
    with Served("--model", tiny_onnx, "--workers", 2, *LIGHT) as server:
        ready(server)
        workers = [pid for pid in server.children() if is_worker(pid)]
        slow = [half_sent(server, photo) for _ in range(8)]
        time.sleep(0.3)
        os.kill(workers[0], signal.SIGHUP)
        time.sleep(0.5)
        assert [rest_of(client, photo) for client in slow] == [b"HTTP/1.1 200 OK"] * 8
        assert all_end(workers[:1])
        deadline = time.monotonic() + START_S
        while len([pid for pid in server.children() if is_worker(pid)]) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert outcome(server) == "200"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_and_their_image_processes_end_with_a_killed_supervisor(tiny_onnx: Path) -> None:
    with Served("--model", tiny_onnx, "--workers", 2, "--image-workers", 1) as server:
        ready(server)
        deadline = time.monotonic() + START_S
        while sum(map(is_worker, pids := server.descendants())) < 4:
            assert time.monotonic() < deadline  # a worker takes signals before its image process has started
            time.sleep(0.05)
        server.process.kill()
        server.process.wait()
        assert all_end(pids)
        assert outcome(server) == "refused"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_that_are_starting_end_with_a_killed_supervisor(tiny_onnx: Path) -> None:
    with Served("--model", tiny_onnx, "--workers", 2, *LIGHT) as server:
        while len(pids := [pid for pid in server.children() if is_worker(pid)]) < 2:
            time.sleep(0.02)
        server.process.kill()
        server.process.wait()
        assert all_end(pids)


def is_worker(pid: int) -> bool:
    """Whether a process was started by `multiprocessing`, its own resource tracker aside."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def ready(server: Served) -> None:
    """Wait until every worker responds: a request to one that still starts waits in the queue."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if outcome(server) == "200" and not starting(server):
            return
        time.sleep(0.1)
    raise AssertionError("the workers did not start")


def starting(server: Served) -> bool:
    """Whether a worker has not yet taken over SIGTERM (Linux; elsewhere the first response must do)."""
    for pid in server.children():
        if sys.platform == "linux" and is_worker(pid):
            status = Path(f"/proc/{pid}/status").read_text()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
            if not caught >> (signal.SIGTERM - 1) & 1:
                return True
    return False
