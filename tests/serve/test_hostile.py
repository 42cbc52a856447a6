"""Hostile input against a real `fervit serve`: bounded time, bounded memory, and the next request works."""

import io
import json
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.served import Served, form

MAX_BODY = 2_000_000
MAX_PIXELS = 4_000_000
MEMORY = 700_000_000  # bytes of any one process, at any time; 4 megapixels of 16 bits need 250 MB to scale
SLOW_S = 1.0  # the read timeout; every response must come within a few of these

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> bytes:
    return encode(Image.fromarray(astronaut))


@pytest.fixture(scope="module")
def server(tiny_onnx: Path) -> Iterator[Served]:
    limits = ("--rate", 0, "--max-body-mb", 2, "--max-megapixels", 4, "--read-timeout", SLOW_S, "--max-faces", 20)
    with Served("--model", tiny_onnx, *limits) as served:
        yield served
        served.stop()
    assert "Traceback" not in served.output, "whatever a client does is no failure of ours"


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes) -> bytes:
    """Return a grey PNG that says it is `width x height`, whatever `rows` holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def mosaic(face: np.ndarray) -> bytes:
    """Return 10,000 faces in one image of 4 megapixels."""
    small = np.asarray(Image.fromarray(face[50:200, 150:300]).resize((20, 20)))
    return encode(Image.fromarray(np.tile(small, (100, 100, 1))), quality=60)


def grid(face: np.ndarray) -> bytes:
    """Return 36 faces that can all be found."""
    small = np.asarray(Image.fromarray(face[40:220, 130:310]).resize((160, 160)))
    return encode(Image.fromarray(np.tile(small, (6, 6, 1))), quality=80)


def scan_bomb(scans: int, before: bytes = b"") -> bytes:
    """Return a progressive JPEG of 4 megapixels with `scans` more scans of 14 bytes; 1000 take 5 s to decode."""
    whole = encode(Image.new("L", (2000, 2000), 128), progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + before + last * scans + whole[-2:]


def exif_bomb(photo: bytes) -> bytes:
    segment = b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + bytes(range(256)) * 200
    return photo[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + photo[2:]


def text_bomb() -> bytes:
    text = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(50_000_000)))
    whole = png(8, 8, zlib.compress(bytes(72)))
    return whole[:33] + text + whole[33:]


IMAGES: dict[str, tuple[Callable[[bytes, np.ndarray], bytes], set[int]]] = {
    "zero bytes": (lambda photo, face: b"", {422}),
    "one byte": (lambda photo, face: b"\xff", {415}),
    "truncated JPEG": (lambda photo, face: photo[: len(photo) // 2], {422}),
    "JPEG header only": (lambda photo, face: photo[:20], {422}),
    "20,000 x 20,000 PNG bomb": (
        lambda photo, face: png(20_000, 20_000, zlib.compress(bytes(20_001 * 20_000), 1)),
        {422},
    ),
    "PNG of 2^31 pixels a side": (lambda photo, face: png(2**31 - 1, 2**31 - 1, b"x"), {422}),
    "PNG just above the cap": (lambda photo, face: png(2001, 2000, zlib.compress(bytes(2002 * 2000))), {422}),
    "PNG without its rows": (lambda photo, face: png(2000, 2000, zlib.compress(b"")), {200, 422}),
    "PNG with a text bomb": (lambda photo, face: text_bomb(), {200, 422}),
    "GIF": (lambda photo, face: encode(Image.new("P", (9, 9)), "GIF"), {415}),
    "TIFF": (lambda photo, face: encode(Image.new("RGB", (9, 9)), "TIFF"), {415}),
    "BMP": (lambda photo, face: encode(Image.new("RGB", (9, 9)), "BMP"), {415}),
    "SVG": (lambda photo, face: b'<svg xmlns="http://www.w3.org/2000/svg"/>', {415}),
    "XML with an entity": (lambda photo, face: b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]>', {415}),
    "EPS": (lambda photo, face: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {415}),
    "pickle": (lambda photo, face: b"\x80\x04\x95\x0c", {415}),
    "JPEG and zip polyglot": (lambda photo, face: photo + b"PK\x03\x04" + bytes(500), {200}),
    "JPEG and HTML polyglot": (lambda photo, face: photo + b"<script>alert(1)</script>", {200}),
    "GIF and JPEG polyglot": (lambda photo, face: b"GIF89a" + photo, {415}),
    "16-bit PNG": (
        lambda photo, face: encode(Image.fromarray(np.full((1500, 1500), 30_000, np.uint16)), "PNG"),
        {200},
    ),
    "CMYK": (lambda photo, face: encode(Image.fromarray(face).convert("CMYK")), {200}),
    "transparent PNG": (lambda photo, face: encode(Image.fromarray(face).convert("RGBA"), "PNG"), {200}),
    "transparent WebP": (lambda photo, face: encode(Image.fromarray(face).convert("RGBA"), "WEBP"), {200}),
    "truncated WebP": (lambda photo, face: encode(Image.fromarray(face), "WEBP")[:900], {422}),
    "progressive JPEG": (lambda photo, face: scan_bomb(0), {200}),
    "JPEG of 100,000 scans": (lambda photo, face: scan_bomb(100_000), {422}),
    "JPEG of scans behind a stray byte": (lambda photo, face: scan_bomb(9_000, b"\xff\xfe\x00\x02\x00"), {422}),
    "JPEG with a film after it": (
        lambda photo, face: photo + np.random.default_rng(0).bytes(1_500_000) + b"\xff\xda\x00\x02" * 500,
        {200},
    ),
    "one pixel": (lambda photo, face: encode(Image.new("RGB", (1, 1))), {200}),
    "one row": (lambda photo, face: encode(Image.new("RGB", (20_000, 1))), {200}),
    "broken EXIF": (lambda photo, face: exif_bomb(photo), {200, 422}),
    "10,000 faces": (lambda photo, face: mosaic(face), {200}),
}


def works(server: Served, photo: bytes) -> bool:
    """Whether a good request gets its response."""
    response = server.post(photo)
    return response.status == 200 and len(response.json()["faces"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_a_hostile_image_is_handled_in_bounded_time_and_memory(
    name: str, server: Served, photo: bytes, astronaut: np.ndarray
) -> None:
    make, expected = IMAGES[name]
    image = make(photo, astronaut)
    assert len(image) <= MAX_BODY, "the image itself must be looked at"
    started = time.monotonic()
    response = server.post(image)
    assert response.status in expected, response.body
    assert time.monotonic() - started < 5
    if response.status != 200:
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert set(problem) == {"type", "title", "status", "detail"} and problem["status"] == response.status
        assert not any(word in response.body for word in (b"Traceback", b"0x", b".py", b"fervit."))
    assert works(server, photo)
    assert server.peak_rss() < MEMORY


def test_faces_beyond_the_cap_are_counted_and_cut(server: Served, astronaut: np.ndarray) -> None:
    response = server.post(grid(astronaut)).json()
    assert response["faces_found"] > 20
    assert len(response["faces"]) == 20 and response["truncated"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("text/html", 200),
        ("image/svg+xml", 200),
        ("image/jpg", 200),
        ("application/x-www-form-urlencoded", 200),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=" + "x" * 500, 400),
        ("multipart/form-data; boundary=b", 400),
        ("image/png", 200),
        ("\xff\xfe", 200),
    ],
)
def test_an_image_is_one_whatever_its_content_type_says_and_a_form_must_be_a_form(
    kind: str, status: int, server: Served, photo: bytes
) -> None:
    assert server.post(photo, kind).status == status
    assert works(server, photo)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..\\\\win.ini", "a\\x00.jpg", "%2e%2e%2f", "é" * 300])
def test_file_names_are_not_read(name: str, server: Served, photo: bytes) -> None:
    body, kind = form(("image", name, photo))
    response = server.post(body, kind)
    assert response.status == 200
    assert name.encode() not in response.body


def test_forms_must_be_whole_and_hold_the_one_field(server: Served, photo: bytes) -> None:
    body, kind = form(("image", "a.jpg", photo))
    assert server.post(body[:-9], kind).status == 400
    assert server.post(*form(("url", "a", b"http://169.254.169.254/"))).status == 400
    assert server.post(*form(("path", "a", b"/etc/passwd"))).status == 400
    assert server.post(*form(("image", "a", photo), ("image", "b", photo))).status == 413
    assert server.post(*form()).status == 400
    many = form(*[("images", "a", b"")] * 17)
    assert server.post(*many, path="/v1/predict/batch").status == 413
    assert works(server, photo)


def test_a_bad_image_in_a_batch_is_one_error_row(server: Served, photo: bytes) -> None:
    body, kind = form(("images", "a", photo), ("images", "b", b"GIF89a"), ("images", "c", photo))
    first, second, third = server.post(body, kind, "/v1/predict/batch").json()["results"]
    assert len(first["faces"]) == 1 and first["faces"][0]["box"] == third["faces"][0]["box"]
    assert second["error"]["status"] == 415 and "faces" not in second


def test_an_oversize_body_is_refused_before_and_while_it_is_read(server: Served, photo: bytes) -> None:
    response = server.post(bytes(MAX_BODY + 1))
    assert response.status == 413 and "at most 2 MB" in response.json()["detail"]
    with server.connect() as client:  # a lie about its length, and a question first
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n")
        client.sendall(b"Expect: 100-continue\r\n\r\n")
        assert b" 413 " in client.recv(4096).split(b"\r\n")[0]
    assert works(server, photo)


def test_a_chunked_endless_body_is_cut_off(server: Served, photo: bytes) -> None:
    started = time.monotonic()
    sent = 0
    with server.connect() as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + bytes(65536) + b"\r\n"
        with pytest.raises(OSError):  # the service hangs up
            while time.monotonic() - started < 20:
                client.sendall(block)
                sent += 65536
    assert time.monotonic() - started < 10
    assert sent < 100 * MAX_BODY
    assert works(server, photo)
    assert server.peak_rss() < MEMORY


def test_a_body_of_tiny_chunks_holds_nobody_up(server: Served, photo: bytes) -> None:
    with server.connect() as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(100):
                client.sendall(b"1\r\na\r\n" * 20_000)
                started = time.monotonic()
                assert works(server, photo)
                assert time.monotonic() - started < 3


def test_ordinary_chunks_are_read(server: Served, photo: bytes) -> None:
    body = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (photo[i : i + 100] for i in range(0, len(photo), 100))
    )
    with server.connect() as client:
        head = (
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        client.sendall(head + body + b"0\r\n\r\n")
        assert ends(client, 5).startswith(b"HTTP/1.1 200")


def ends(client: object, within_s: float) -> bytes:
    """Return what a connection still says before it is closed, in order or by a reset; TimeoutError if it is not."""
    client.settimeout(within_s)  # type: ignore[attr-defined]
    said = b""
    with suppress(ConnectionResetError):  # a server that stops reading half-way resets: that closes it, too
        while data := client.recv(4096):  # type: ignore[attr-defined]
            said += data
    return said


@pytest.mark.slow
def test_a_slow_head_is_cut_off_and_holds_nobody_up(server: Served, photo: bytes) -> None:
    clients = [server.connect() for _ in range(60)]
    for client in clients:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: loc")
    started = time.monotonic()
    assert works(server, photo)
    assert time.monotonic() - started < 5
    time.sleep(0.5 * SLOW_S)
    for client in clients:
        try:
            client.sendall(b"a")  # a byte now and then does not prolong it
        except OSError:
            break
    for client in clients:
        assert ends(client, 5 * SLOW_S) == b""
        client.close()
    assert works(server, photo)


@pytest.mark.slow
def test_a_slow_body_gets_a_408(server: Served, photo: bytes) -> None:
    with server.connect() as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        client.sendall(b"\xff\xd8")
        assert b" 408 " in ends(client, 5 * SLOW_S).split(b"\r\n")[0]
    assert works(server, photo)


def test_clients_that_go_away_are_forgotten(server: Served, photo: bytes) -> None:
    for cut in (30, 400, len(photo) // 2, len(photo)):
        with server.connect() as client:
            head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
            client.sendall((head.encode() + photo)[:cut])
    assert works(server, photo)


def test_a_stream_client_that_never_reads_builds_no_queue(server: Served, photo: bytes) -> None:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/v1/stream", compression=None) as client:
        for _ in range(300):
            client.send(photo)
        assert works(server, photo)
        numbers = [json.loads(client.recv())["frame"] for _ in range(2)]
        assert numbers[0] < numbers[1]
    assert server.peak_rss() < MEMORY


def test_a_frame_beyond_the_limit_ends_its_stream(server: Served, photo: bytes) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/v1/stream", compression=None) as client:
        client.send(bytes(MAX_BODY + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    assert works(server, photo)


@pytest.mark.slow
def test_an_idle_connection_is_closed(server: Served) -> None:
    with server.connect() as client:
        assert ends(client, 5 * SLOW_S) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
def test_broken_http_gets_a_4xx_or_closed(raw: bytes, server: Served, photo: bytes) -> None:
    with server.connect() as client:
        with suppress(OSError):  # refused before all of it was sent
            client.sendall(raw)
        said = ends(client, 10 * SLOW_S)
    assert said == b"" or said.startswith(b"HTTP/1.1 4"), said[:200]
    assert works(server, photo)


@pytest.mark.parametrize("path", ["/../etc/passwd", "/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd"])
def test_no_path_leads_out_of_the_page(path: str, server: Served) -> None:
    assert server.request("GET", path).status == 404


@pytest.mark.slow
def test_a_decoder_that_never_ends_is_ended(tiny_onnx: Path, photo: bytes) -> None:
    hang = "import time, fervit.serve.finder as f; f.read_image = lambda data: time.sleep(60)"
    sleeper = f"from fervit.serve import finder as f; {hang}; from fervit.serve.settings import Settings; "
    run = (
        "from fervit.types import ModelSpec, Preprocess; spec = ModelSpec('vit', Preprocess(32, (0,) * 3, (1,) * 3)); "
        "f.start_process(Settings(detector='none', timeout_s=0.5), spec); "
        "import sys; f.find_in_process(sys.stdin.buffer.read(), False); print('came back')"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", sleeper + run], input=photo, capture_output=True, timeout=30)
    assert done.returncode == 1 and done.stdout == b"" and time.monotonic() - started < 20


@pytest.mark.slow
def test_an_image_that_needs_too_much_memory_is_refused() -> None:
    deep = encode(Image.fromarray(np.full((4900, 4900), 30_000, np.uint16)), "PNG")
    run = (
        "from fervit.serve import finder as f; from fervit.serve.settings import Settings; "
        "from fervit.types import ModelSpec, Preprocess; spec = ModelSpec('vit', Preprocess(32, (0,) * 3, (1,) * 3)); "
        "f.EXTRA_MEMORY = 60_000_000; "
        "f.start_process(Settings(detector='none'), spec); import sys; "
        "print(f.find_in_process(sys.stdin.buffer.read(), False).refusal[0])"
    )
    done = subprocess.run([sys.executable, "-c", run], input=deep, capture_output=True, timeout=30)
    assert done.stdout.split() == [b"unreadable-picture"], done.stderr


def test_a_killed_image_process_costs_one_response(server: Served, photo: bytes) -> None:
    import os
    import signal

    for pid in server.children():
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    statuses = [server.post(photo).status for _ in range(4)]
    assert set(statuses) <= {200, 503} and statuses[-1] == 200


@pytest.mark.slow
def test_nothing_of_an_image_reaches_the_disk_or_the_log(tiny_onnx: Path, photo: bytes, tmp_path: Path) -> None:
    noise = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)), "PNG")
    assert len(noise) > 2_000_000, "large enough for the usual spooling to disk"
    with Served("--model", tiny_onnx, "--image-workers", 0, TMPDIR=str(tmp_path)) as server:
        body, kind = form(("image", "secret-name.jpg", noise))
        assert server.post(body, kind).status == 200
        assert server.post(photo[:5000]).status == 422
        assert list(tmp_path.iterdir()) == []  # nor a telemetry session of ONNX Runtime
        server.stop()
    assert "secret-name" not in server.output and "Traceback" not in server.output
