"""Streams: floods of small frames, refusals, malformed upgrades."""

import base64
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.served import Served

UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n"
)
MASK = bytes(4)
FLOODS = {
    "pings": b"\x89\x80" + MASK,
    "pings of 125 bytes": b"\x89\xfd" + MASK + bytes(125),
    "pongs": b"\x8a\x80" + MASK,
    "empty fragments": b"\x00\x80" + MASK,
    "empty messages": b"\x82\x80" + MASK,
    "messages of 126 bytes": b"\x82\xfe\x00\x7e" + MASK + bytes(126),
}
FLOOD_S = 2.0
FLOOD = 40_000_000  # bytes
SLOW_S = 0.75  # the longest that somebody else may wait; uncurbed it was 1 to 3 s here
GROWTH = 40_000_000  # bytes


@pytest.fixture(scope="module")
def server(tiny_onnx: Path) -> Iterator[Served]:
    with Served("--model", tiny_onnx, "--image-workers", 0, "--detector", "none", "--rate", 0) as served:
        yield served


def opened(server: Served) -> socket.socket:
    """Return a connection with an open stream."""
    client = server.connect()
    client.sendall(UPGRADE + b"Host: localhost\r\n\r\n")
    assert client.recv(4096).startswith(b"HTTP/1.1 101")
    return client


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_is_bounded_in_memory_and_holds_nobody_up(name: str, server: Served) -> None:
    before = server.peak_rss()
    client, frame = opened(server), FLOODS[name]
    if name == "empty fragments":
        client.sendall(b"\x02\x80" + MASK)
    block, ends = frame * (256_000 // len(frame)), time.monotonic() + FLOOD_S

    def flood() -> None:
        sent = 0
        try:
            while time.monotonic() < ends and sent < FLOOD:
                client.sendall(block)
                sent += len(block)
        except OSError:  # the server may end the connection of a client that floods
            return

    flooding = threading.Thread(target=flood)
    flooding.start()
    waits: list[float] = []
    while flooding.is_alive() or not waits:
        started = time.monotonic()
        assert server.request("GET", "/healthz").status == 200
        waits.append(time.monotonic() - started)
    flooding.join()
    client.close()
    assert max(waits) < SLOW_S, waits
    assert server.peak_rss() - before < GROWTH


@pytest.mark.slow
def test_a_client_that_floods_is_told_so(server: Served) -> None:
    with opened(server) as client:
        client.sendall(FLOODS["pings"] * 150)
        time.sleep(0.3)
        client.sendall(FLOODS["pings"] * 150)
        said = b""
        while data := client.recv(4096):
            said += data
    assert said.endswith(b"\x03\xf0too many small frames")  # 1008


@pytest.mark.slow
def test_ordinary_pings_are_answered(server: Served) -> None:
    with opened(server) as client:
        for _ in range(20):
            client.sendall(FLOODS["pings"])
            assert client.recv(4096) == b"\x8a\x00"
            time.sleep(0.02)


@pytest.mark.parametrize(
    "line",
    [b"Cookie: \x7f", b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Origin: \x7f", b"Sec-WebSocket-Key: x"],
)
def test_an_upgrade_that_is_no_handshake_gets_a_400_and_no_connection(line: bytes, server: Served) -> None:
    with server.connect() as client:
        client.settimeout(10)
        client.sendall(UPGRADE + b"Host: localhost\r\n" + line + b"\r\n\r\n")
        said = b""
        while data := client.recv(4096):
            said += data
    assert said.startswith(b"HTTP/1.1 400 ")


@pytest.mark.slow
def test_a_malformed_form_leaves_the_log_empty(tiny_onnx: Path) -> None:
    with Served("--model", tiny_onnx, "--image-workers", 0, "--detector", "none") as server:
        started = server.output
        assert server.post(b"GIF89a", "multipart/form-data; boundary=b").status == 400
        server.stop()
    assert server.output == started


@pytest.mark.slow
def test_refused_and_malformed_streams_leave_the_log_empty(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdefTOKEN")
    one = ("--max-streams", 1, "--token-file", tmp_path / "token")
    with Served(
        "--model", tiny_onnx, "--image-workers", 0, "--detector", "none", "--rate", 0.1, "--burst", 5, *one
    ) as server:
        started = server.output
        for head, status in (
            (b"Host: localhost\r\n", 401),
            (b"Host: evil.example\r\n", 421),
            (b"Host: [::1\r\n", 400),
            (b"Host: localhost\r\nOrigin: https://evil.example\r\n", 403),
            (b"Host: localhost\r\nSec-WebSocket-Protocol: \xff\r\n", 400),
            *[(b"Host: localhost\r\n", 401)] * 4,
            (b"Host: localhost\r\n", 429),
        ):
            with server.connect() as client:
                client.sendall(UPGRADE + head + b"\r\n")
                assert client.recv(4096).split()[1] == str(status).encode(), (head, status)
        for raw in (
            UPGRADE.replace(b"13", b"7") + b"Host: localhost\r\n\r\n",
            UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c") + b"Host: localhost\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        ):
            with server.connect() as client:
                client.sendall(raw)
                client.recv(4096)
        server.stop()
    assert server.output == started
