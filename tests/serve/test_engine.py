"""The engine: queue, timeouts, failures, health, metrics."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from fervit.faces import detectors
from fervit.serve.app import create_app
from fervit.serve.engine import Engine
from fervit.serve.metrics import Metrics
from tests.helpers.service import Gate, client_of, settings


def test_below_the_wanted_confidence_the_label_is_uncertain(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx, min_confidence=0.5)
    engine = Engine(chosen, Metrics())
    engine.classifier.probs = lambda crops, **_: np.full((len(crops), 7), 1 / 7)  # type: ignore[method-assign]
    with TestClient(create_app(chosen, engine), "http://localhost") as client:
        (face,) = client.post("/v1/predict", content=photo).json()["faces"]
    assert face["label"] == "uncertain" and face["score"] == max(face["probs"].values())


def test_a_crash_is_a_problem_without_internals_and_a_traceback_in_the_log(
    tiny_onnx: Path, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(tiny_onnx)
    engine = Engine(chosen, Metrics())
    engine.classifier.probs = lambda *_, **__: 1 / 0  # type: ignore[method-assign, assignment]
    app = create_app(chosen, engine)
    engine._probs = lambda crops: np.full((len(crops), 7), 1 / 7)  # type: ignore[method-assign]
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        engine._batcher._probs = lambda crops: secret_failure()  # type: ignore[union-attr]
        response = client.post("/v1/predict", content=photo)
        assert response.status_code == 500 and response.headers["content-type"] == "application/problem+json"
        assert "secret" not in response.text and "Traceback" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        engine._batcher._probs = engine._probs  # type: ignore[union-attr]
        assert client.post("/v1/predict", content=photo).status_code == 200


def secret_failure() -> np.ndarray:
    raise RuntimeError("secret")


def test_a_full_queue_responds_503_with_retry_after(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx, queue=2, max_images=2)
    engine = Engine(chosen, Metrics())
    with TestClient(create_app(chosen, engine), "http://localhost") as client:
        gate = Gate(engine)
        responses: list[int] = []
        threads = [
            threading.Thread(target=lambda: responses.append(client.post("/v1/predict", content=photo).status_code))
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
        assert responses == [200, 200]
        assert client.post("/v1/predict", content=photo).status_code == 200


@pytest.mark.slow
def test_a_response_that_takes_too_long_is_given_up(tiny_onnx: Path, photo: bytes) -> None:
    chosen = settings(tiny_onnx, timeout_s=0.2)
    engine = Engine(chosen, Metrics())
    with TestClient(create_app(chosen, engine), "http://localhost") as client:
        gate = Gate(engine)
        started = time.monotonic()
        response = client.post("/v1/predict", content=photo)
        assert response.status_code == 503 and response.json()["type"].endswith("timeout")
        assert time.monotonic() - started < 2
        gate.opened.set()


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


def test_a_detector_that_stands_in_is_part_of_health_and_model(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(tiny_onnx) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.get("/v1/model").json()["fallback"] is None
    monkeypatch.setattr(detectors, "best_detector", lambda: "haar")
    detectors._tell_of_fallback.cache_clear()
    with client_of(tiny_onnx) as client:
        assert client.get("/readyz").json() == {"status": "ready", "fallback": "haar"}
        assert client.get("/v1/model").json()["fallback"] == "haar"
    assert len([record for record in caplog.records if "Haar" in record.getMessage()]) == 1
