"""The service in one process: answers, errors, token, origins, limits, metrics."""

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient, WebSocketDenialResponse

from fervit.errors import ConfigError
from fervit.inference.loading import load
from fervit.serve.app import create_app
from fervit.serve.engine import Engine
from fervit.serve.guard import HEADERS, RateLimit, client_key, token_protocol
from fervit.serve.metrics import Metrics
from fervit.serve.settings import Settings, read_token
from tests.helpers.served import form

STREAM = "ws://localhost/v1/stream"  # the test client would name another host
TOKEN = "0123456789abcdefTOKEN"


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> bytes:
    return jpeg(astronaut)


def jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def settings(model: Path, **changes: Any) -> Settings:
    return Settings(**({"model": model, "image_workers": 0, "rate": 0.0} | changes)).check()


def client_of(model: Path, **changes: Any) -> TestClient:
    return TestClient(create_app(settings(model, **changes)), "http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(tiny_onnx: Path) -> Iterator[TestClient]:
    with client_of(tiny_onnx) as client:
        yield client


def test_a_photo_gets_the_same_answer_as_from_the_library(client: TestClient, photo: bytes, tiny_onnx: Path) -> None:
    answer = client.post("/v1/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    expected = [prediction.to_dict() for prediction in load(tiny_onnx)(photo)]
    assert answer["faces"] == expected and len(expected) == 1
    assert answer["model"].startswith("tiny@") and (answer["width"], answer["height"]) == (512, 512)
    assert answer["faces_found"] == 1 and not answer["truncated"]
    timings = answer["timings_ms"]
    assert timings["total"] >= timings["decode"] + timings["detect"] > 0 and timings["classify"] > 0


def test_below_the_wanted_confidence_the_label_is_uncertain(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx, min_confidence=0.5)
    engine = Engine(chosen, Metrics())
    engine.classifier.probs = lambda crops, **_: np.full((len(crops), 7), 1 / 7)  # type: ignore[method-assign]
    with TestClient(create_app(chosen, engine), "http://localhost") as client:
        (face,) = client.post("/v1/predict", content=photo).json()["faces"]
    assert face["label"] == "uncertain" and face["score"] == max(face["probs"].values())


def test_a_form_and_a_raw_body_get_the_same_answer(client: TestClient, photo: bytes) -> None:
    raw = client.post("/v1/predict", content=photo).json()
    sent = client.post("/v1/predict", files={"image": ("a.jpg", photo, "image/jpeg")}).json()
    assert raw["faces"] == sent["faces"]


def test_no_face_is_an_empty_list_and_a_crop_is_one_face(client: TestClient) -> None:
    file = io.BytesIO()
    Image.new("RGB", (90, 70), "teal").save(file, "PNG")
    assert client.post("/v1/predict", content=file.getvalue()).json()["faces"] == []
    crop = client.post("/v1/predict?crop=true", content=file.getvalue()).json()
    assert crop["faces"][0]["box"] == [0, 0, 90, 70]
    assert abs(sum(crop["faces"][0]["probs"].values()) - 1) < 1e-4


def test_rotated_photos_answer_boxes_in_the_upright_image(client: TestClient, astronaut: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.rot90(astronaut[:400])).save(file, "JPEG", exif=exif)
    answer = client.post("/v1/predict", content=file.getvalue()).json()
    assert (answer["width"], answer["height"]) == (512, 400)
    assert answer["faces"][0]["box"][0] == pytest.approx(181, abs=12)


def test_the_model_route_tells_spec_and_limits(client: TestClient) -> None:
    model = client.get("/v1/model").json()
    assert model["spec"]["name"] == "tiny" and len(model["spec"]["labels"]) == 7
    assert model["limits"]["max_body"] == 10_000_000 and model["card"] is None


def test_the_card_beside_the_model_is_served(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.read_bytes())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "README.md").write_text("# A card")
    with client_of(tmp_path / "m.onnx") as client:
        assert client.get("/v1/model").json()["card"] == "# A card"


def test_health_and_readiness_follow_the_lifespan(tiny_onnx: Path) -> None:
    client = client_of(tiny_onnx)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    with client:
        assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/readyz").status_code == 503


def test_metrics_count_requests_faces_and_batches(tiny_onnx: Path, photo: bytes) -> None:
    with client_of(tiny_onnx) as client:
        client.post("/v1/predict", content=photo)
        client.post("/v1/predict", content=b"GIF89a")
        client.get("/nowhere/<script>")
        text = client.get("/metrics").text
    assert 'fervit_requests_total{path="/v1/predict",status="200"} 1.0' in text
    assert 'fervit_requests_total{path="/v1/predict",status="415"} 1.0' in text
    assert 'fervit_requests_total{path="other",status="404"} 1.0' in text and "script" not in text
    assert "fervit_faces_total 1.0" in text and "fervit_queue_pictures 0.0" in text
    assert 'fervit_rejected_total{kind="unsupported-format"} 1.0' in text


@pytest.mark.parametrize("path", ["/", "/docs", "/page/app.js", "/v1/model", "/nowhere", "/healthz"])
def test_every_answer_carries_the_security_headers(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in answer.headers and "server" not in answer.headers


def test_a_crash_is_a_problem_without_internals_and_a_traceback_in_the_log(
    tiny_onnx: Path, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(tiny_onnx)
    engine = Engine(chosen, Metrics())
    engine.classifier.probs = lambda *_, **__: 1 / 0  # type: ignore[assignment, method-assign]
    app = create_app(chosen, engine)
    engine._probs = lambda crops: np.full((len(crops), 7), 1 / 7)  # type: ignore[method-assign]
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        engine._batcher._probs = lambda crops: secret_failure()  # type: ignore[union-attr, assignment]
        answer = client.post("/v1/predict", content=photo)
        assert answer.status_code == 500 and answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text and "Traceback" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        engine._batcher._probs = engine._probs  # type: ignore[union-attr]
        assert client.post("/v1/predict", content=photo).status_code == 200


def secret_failure() -> np.ndarray:
    raise RuntimeError("secret")


@pytest.mark.parametrize(("path", "method", "status"), [("/nope", "GET", 404), ("/v1/predict", "GET", 405)])
def test_wrong_paths_and_methods_are_problems(path: str, method: str, status: int, client: TestClient) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status == answer.json()["status"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_wrong_parameter_names_it(client: TestClient, photo: bytes) -> None:
    answer = client.post("/v1/predict?crop=perhaps", content=photo)
    assert answer.status_code == 422 and "crop" in answer.json()["detail"]


def test_nothing_is_fetched_for_a_caller(client: TestClient) -> None:
    for body in (b"http://127.0.0.1:1/a.jpg", b"file:///etc/passwd", b'{"url": "http://127.0.0.1:1/"}'):
        assert client.post("/v1/predict", content=body).status_code == 415


# Token, origins, hosts


def denied(client: TestClient, **options: Any) -> int:
    """Return the status with which a stream is refused."""
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(STREAM, **options):
        pytest.fail("the stream was opened")
    return refused.value.status_code


def test_a_token_guards_everything_but_health_and_the_page(tiny_onnx: Path, photo: bytes) -> None:
    good = {"authorization": f"Bearer {TOKEN}"}
    with client_of(tiny_onnx, token=TOKEN) as client:
        for path in ("/v1/model", "/metrics", "/nowhere"):
            answer = client.get(path)
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
            assert client.get(path, headers={"authorization": f"Basic {TOKEN}"}).status_code == 401
            assert client.get(path, headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401
            assert client.get(path, headers=good).status_code in (200, 404)
        for path in ("/healthz", "/readyz", "/", "/docs", "/page/app.js"):
            assert client.get(path).status_code == 200
        assert client.post("/v1/predict", content=photo).status_code == 401
        assert client.post("/v1/predict", content=photo, headers=good).status_code == 200
        assert denied(client) == 401
        offered = ["fervit", token_protocol(TOKEN)]
        with client.websocket_connect(STREAM, subprotocols=offered) as socket:
            assert socket.accepted_subprotocol == "fervit"


def test_another_address_needs_a_token_or_insecure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--token-file FILE, or --insecure"):
        Settings(host="0.0.0.0").check()
    assert Settings(host="0.0.0.0", token=TOKEN).check() and Settings(host="::", insecure=True).check()
    with pytest.raises(ConfigError, match="at least 16"):
        Settings(token="short").check()
    assert TOKEN not in repr(Settings(token=TOKEN))
    (tmp_path / "token").write_text(f"{TOKEN}\nmore\n")
    assert read_token(tmp_path / "token") == TOKEN
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        read_token(tmp_path / "empty")


@pytest.mark.parametrize("origin", ["*", "example.org", "https://a.org/path", "ftp://a"])
def test_allowed_origins_are_exact(origin: str) -> None:
    with pytest.raises(ConfigError, match="origin"):
        Settings(allow_origins=(origin,)).check()


def test_foreign_pages_are_refused_unless_allowed(tiny_onnx: Path, photo: bytes) -> None:
    page = {"origin": "https://app.example"}
    with client_of(tiny_onnx) as client:
        assert client.post("/v1/predict", content=photo, headers=page).status_code == 403
        assert client.post("/v1/predict", content=photo, headers={"origin": "null"}).status_code == 403
        assert client.post("/v1/predict", content=photo, headers={"origin": "http://localhost"}).status_code == 200
        assert denied(client, headers=page) == 403
    with client_of(tiny_onnx, allow_origins=("https://app.example",)) as client:
        answer = client.post("/v1/predict", content=photo, headers=page)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert client.get("/v1/model", headers={"origin": "https://evil.example"}).status_code == 403
        ask = page | {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        assert client.options("/v1/predict", headers=ask).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example@localhost", 421),
        ("", 421),
    ],
)
def test_a_loopback_service_answers_to_loopback_names_only(host: str, status: int, client: TestClient) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == status


def test_another_host_name_can_be_allowed(tiny_onnx: Path) -> None:
    with client_of(tiny_onnx, allow_hosts=("faces.example",)) as client:
        assert client.get("/healthz", headers={"host": "faces.example"}).status_code == 200


# Rate, queue, memory, time


def test_the_rate_limit_answers_429_and_says_when(tiny_onnx: Path) -> None:
    with client_of(tiny_onnx, rate=0.5, burst=3) as client:
        statuses = [client.get("/v1/model").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        answer = client.get("/v1/model")
        assert answer.json()["type"].endswith("rate-limited") and answer.headers["retry-after"] == "2"
        assert client.get("/healthz").status_code == 200


def test_buckets_refill_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fervit.serve.guard.time.monotonic", lambda: now[0])
    limit = RateLimit(2, 2)
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 0.5]
    now[0] = 0.5
    assert limit.wait_s("a") == 0 and limit.wait_s("a") == 0.5
    for client in range(10_000):
        limit.wait_s(str(client))
    assert len(limit._buckets) <= 4096
    assert client_key({"client": ("2001:db8::1", 1)}) == client_key({"client": ("2001:db8::ffff", 2)})
    assert client_key({"client": ("10.0.0.1", 1)}) != client_key({"client": ("10.0.0.2", 1)})


class Gate:
    """Holds every image in `find` until it is opened."""

    def __init__(self, engine: Engine):
        self.opened, self.inside = threading.Event(), threading.Semaphore(0)
        self._find = engine._finder.find
        engine._finder.find = self.find  # type: ignore[method-assign]

    def find(self, data: bytes, crop: bool = False) -> Any:
        self.inside.release()
        self.opened.wait(10)
        return self._find(data, crop)


def test_a_full_queue_answers_503_with_retry_after(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx, queue=2, max_images=2)
    engine = Engine(chosen, Metrics())
    with TestClient(create_app(chosen, engine), "http://localhost") as client:
        gate = Gate(engine)
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post("/v1/predict", content=photo).status_code))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
            assert gate.inside.acquire(timeout=5)
        refused = client.post("/v1/predict", content=photo)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        gate.opened.set()
        for thread in threads:
            thread.join(10)
        assert answers == [200, 200]
        assert client.post("/v1/predict", content=photo).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx, timeout_s=0.2)
    engine = Engine(chosen, Metrics())
    with TestClient(create_app(chosen, engine), "http://localhost") as client:
        gate = Gate(engine)
        started = time.monotonic()
        answer = client.post("/v1/predict", content=photo)
        assert answer.status_code == 503 and answer.json()["type"].endswith("timeout")
        assert time.monotonic() - started < 2
        gate.opened.set()


def test_uploads_share_bounded_memory_and_give_it_back(tiny_onnx: Path, photo: bytes) -> None:
    with client_of(tiny_onnx, max_buffered=len(photo) - 1) as client:
        for _ in range(3):
            assert client.post("/v1/predict", content=photo).status_code == 503
    with client_of(tiny_onnx, max_buffered=len(photo)) as client:
        for _ in range(3):
            assert client.post("/v1/predict", content=photo).status_code == 200
        assert client.post("/v1/predict", content=photo[:2000]).status_code == 422
        assert client.post("/v1/predict", content=photo).status_code == 200


def test_formats_can_be_narrowed(tiny_onnx: Path, photo: bytes) -> None:
    with client_of(tiny_onnx, formats=("PNG",)) as client:
        answer = client.post("/v1/predict", content=photo)
        assert answer.status_code == 415 and answer.json()["detail"] == "expected PNG, got JPEG"
    with pytest.raises(ConfigError, match="did you mean 'JPEG'"):
        Settings(formats=("JPG",)).check()


def test_batches_keep_order_and_limits(client: TestClient, photo: bytes) -> None:
    body, kind = form(*[("images", "a", photo if i % 2 else b"") for i in range(6)])
    rows = client.post("/v1/predict/batch", content=body, headers={"content-type": kind}).json()["results"]
    assert [row["index"] for row in rows] == list(range(6))
    assert ["error" in row for row in rows] == [True, False] * 3
    raw = client.post("/v1/predict/batch", content=photo, headers={"content-type": "image/jpeg"})
    assert raw.status_code == 415


# The stream


def test_a_stream_answers_frames(client: TestClient, photo: bytes) -> None:
    with client.websocket_connect(STREAM) as socket:
        for number in range(3):
            socket.send_bytes(photo)
            row = json.loads(socket.receive_text())
            assert row["frame"] == number and row["dropped"] == 0 and len(row["faces"]) == 1
        socket.send_bytes(b"no image")
        assert socket.receive_json()["error"]["status"] == 415
        socket.send_bytes(photo)
        assert len(socket.receive_json()["faces"]) == 1


def test_a_stream_tells_who_is_who_from_frame_to_frame(client: TestClient, astronaut: np.ndarray) -> None:
    face = astronaut[:300, 100:400]
    with client.websocket_connect(STREAM) as socket:
        tracks = []
        for shift in (0, 12, 24):
            # The one on the right fades: the surest face, which comes first, may change.
            pair = np.hstack([face, (face * (1 - shift / 48)).astype(np.uint8)])
            socket.send_bytes(jpeg(np.roll(pair, shift, axis=0)))
            faces = sorted(socket.receive_json()["faces"], key=lambda face: face["box"][0])
            tracks.append([face["track"] for face in faces])
        assert sorted(tracks[0]) == [1, 2] and tracks == [tracks[0]] * 3
    with client.websocket_connect(STREAM) as socket:
        socket.send_bytes(jpeg(face))
        assert socket.receive_json()["faces"][0]["track"] == 1, "every stream has tracks of its own"
    answer = client.post("/v1/predict", content=jpeg(face), headers={"content-type": "image/jpeg"}).json()
    assert "track" not in answer["faces"][0]


def test_of_many_frames_the_newest_wins(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx)
    engine = Engine(chosen, Metrics())
    with (
        TestClient(create_app(chosen, engine), "http://localhost") as client,
        client.websocket_connect(STREAM) as socket,
    ):
        gate = Gate(engine)
        socket.send_bytes(photo)
        assert gate.inside.acquire(timeout=5)
        for _ in range(20):
            socket.send_bytes(photo)
        socket.send_bytes(b"GIF89a, the newest")
        time.sleep(0.3)
        gate.opened.set()
        assert socket.receive_json()["frame"] == 0
        newest = socket.receive_json()
        assert (newest["frame"], newest["dropped"], newest["error"]["status"]) == (21, 20, 415)


def test_streams_are_bounded_and_take_images_only(tiny_onnx: Path) -> None:
    from starlette.websockets import WebSocketDisconnect

    with client_of(tiny_onnx, max_streams=1, idle_timeout_s=0.3) as client:
        with client.websocket_connect(STREAM):
            with client.websocket_connect(STREAM) as second, pytest.raises(WebSocketDisconnect) as refused:
                second.receive_text()
            assert refused.value.code == 1013
        with client.websocket_connect(STREAM) as socket:
            socket.send_text("hello")
            with pytest.raises(WebSocketDisconnect) as ended:
                socket.receive_text()
            assert ended.value.code == 1003
        with client.websocket_connect(STREAM) as socket, pytest.raises(WebSocketDisconnect) as idle:
            socket.receive_text()
        assert idle.value.code == 1008


def test_the_openapi_document_has_examples_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["schemas"]["Picture"]["examples"]
    assert {"/v1/predict", "/v1/predict/batch", "/v1/model", "/healthz", "/readyz", "/metrics"} == set(
        document["paths"]
    )
    for name in ("/", "/docs", "/page/app.js", "/page/style.css"):
        text = client.get(name).text
        assert "https://" not in text.replace("https://eur-lex.europa.eu", "").replace("http://www.w3.org", "")
