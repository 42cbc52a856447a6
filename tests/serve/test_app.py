"""The service's routes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fervit.inference.loading import load
from tests.helpers.served import form


def test_a_photo_gets_the_same_response_as_from_the_library(client: TestClient, photo: bytes, tiny_onnx: Path) -> None:
    response = client.post("/v1/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    expected = [prediction.to_dict() for prediction in load(tiny_onnx)(photo)]
    assert response["faces"] == expected and len(expected) == 1
    assert response["model"].startswith("tiny@") and (response["width"], response["height"]) == (512, 512)
    assert response["faces_found"] == 1 and not response["truncated"]
    timings = response["timings_ms"]
    assert timings["total"] >= timings["decode"] + timings["detect"] > 0 and timings["classify"] > 0


def test_a_form_and_a_raw_body_get_the_same_response(client: TestClient, photo: bytes) -> None:
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


def test_rotated_photos_get_boxes_in_the_upright_image(client: TestClient, astronaut: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.rot90(astronaut[:400])).save(file, "JPEG", exif=exif)
    response = client.post("/v1/predict", content=file.getvalue()).json()
    assert (response["width"], response["height"]) == (512, 400)
    assert response["faces"][0]["box"][0] == pytest.approx(181, abs=12)


def test_the_model_route_returns_spec_and_limits(client: TestClient) -> None:
    model = client.get("/v1/model").json()
    assert model["spec"]["name"] == "tiny" and len(model["spec"]["labels"]) == 7
    assert model["limits"]["max_body"] == 10_000_000 and model["card"] is None


@pytest.mark.parametrize(("path", "method", "status"), [("/nope", "GET", 404), ("/v1/predict", "GET", 405)])
def test_wrong_paths_and_methods_are_problems(path: str, method: str, status: int, client: TestClient) -> None:
    response = client.request(method, path)
    assert response.status_code == status == response.json()["status"]
    assert response.headers["content-type"] == "application/problem+json"


def test_a_wrong_parameter_names_it(client: TestClient, photo: bytes) -> None:
    response = client.post("/v1/predict?crop=perhaps", content=photo)
    assert response.status_code == 422 and "crop" in response.json()["detail"]


def test_nothing_is_fetched_for_a_caller(client: TestClient) -> None:
    for body in (b"http://127.0.0.1:1/a.jpg", b"file:///etc/passwd", b'{"url": "http://127.0.0.1:1/"}'):
        assert client.post("/v1/predict", content=body).status_code == 415


def test_batches_keep_order_and_limits(client: TestClient, photo: bytes) -> None:
    body, kind = form(*[("images", "a", photo if i % 2 else b"") for i in range(6)])
    rows = client.post("/v1/predict/batch", content=body, headers={"content-type": kind}).json()["results"]
    assert [row["index"] for row in rows] == list(range(6))
    assert ["error" in row for row in rows] == [True, False] * 3
    raw = client.post("/v1/predict/batch", content=photo, headers={"content-type": "image/jpeg"})
    assert raw.status_code == 415


def test_the_openapi_document_has_examples_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["schemas"]["Picture"]["examples"]
    assert {"/v1/predict", "/v1/predict/batch", "/v1/model", "/healthz", "/readyz", "/metrics"} == set(
        document["paths"]
    )
    for name in ("/", "/docs", "/page/app.js", "/page/style.css"):
        text = client.get(name).text
        assert "https://" not in text.replace("https://eur-lex.europa.eu", "").replace("http://www.w3.org", "")
