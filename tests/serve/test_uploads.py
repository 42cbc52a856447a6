"""Uploads: bounded memory, accepted formats."""

import base64
import io
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from starlette.testclient import TestClient

from fervit.errors import ConfigError
from fervit.media.images import FORMATS
from fervit.serve.finder import sniff
from fervit.serve.settings import Settings
from tests.helpers.service import client_of


@pytest.mark.slow
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
        response = client.post("/v1/predict", content=photo)
        assert response.status_code == 415 and response.json()["detail"] == "expected PNG, got JPEG"
    with pytest.raises(ConfigError, match="did you mean 'JPEG'"):
        Settings(formats=("JPG",)).check()


def post_json(
    client: TestClient, body: object, path: str = "/v1/predict", kind: str = "application/json"
) -> tuple[int, str]:
    """Return the status, and the faces' number or the refusal's detail."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(path, content=content, headers={"content-type": kind})
    row = response.json()
    return response.status_code, row.get("detail") or str(len(row.get("faces", row.get("results", ()))))


@pytest.mark.parametrize("form", ["plain", "lines", "url", "unpadded", "uri"])
def test_base64_in_json_is_an_image(form: str, client: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    text = {
        "plain": text,
        "lines": base64.encodebytes(photo).decode(),
        "url": base64.urlsafe_b64encode(photo).decode(),
        "unpadded": text.rstrip("="),
        "uri": f"data:image/jpeg;base64,{text}",
    }[form]
    assert post_json(client, {"image": text, "id": 7}) == (200, "1")
    assert post_json(client, {"images": [text, text]}, "/v1/predict/batch", "application/vnd.x+json") == (200, "2")


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "the JSON body is malformed"),
        (b"\xff", 400, "the JSON body is malformed"),
        (b"[" * 100_000, 400, "the JSON body is malformed"),
        (b'{"image": ' + b"9" * 10_000 + b"}", 400, "the JSON body is malformed"),
        ([], 400, "expected a JSON object with the field 'image'"),
        ({"url": "http://127.0.0.1:1/"}, 400, "expected a JSON object with the field 'image'"),
        ({"image": 5}, 400, "expected base64 text in the field 'image'"),
        ({"image": ["aGVsbG8="]}, 400, "expected base64 text in the field 'image'"),
        ({"image": "h\u00e9llo"}, 400, "expected base64 in the field 'image'"),
        ({"image": "a"}, 400, "expected base64 in the field 'image'"),
        ({"image": "data:image/png,xyz"}, 400, "expected a data URI of base64 in the field 'image'"),
        ({"image": ""}, 422, "0 bytes came where an image was expected"),
        ({"image": "aGVsbG8="}, 415, "expected JPEG, PNG, WebP, AVIF, HEIC, got something else"),
    ],
)
def test_json_that_holds_no_image_is_refused_in_a_line(
    body: object, status: int, detail: str, client: TestClient
) -> None:
    assert post_json(client, body) == (status, detail)


@pytest.mark.slow
def test_images_in_json_have_the_same_caps(tiny_onnx: Path, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    with client_of(tiny_onnx, max_body=len(photo), max_batch_body=2 * len(photo), max_images=3) as client:
        assert post_json(client, {"image": text})[0] == 200
        larger = base64.b64encode(photo + b"\0").decode()
        assert post_json(client, {"image": larger}) == (413, f"expected at most {len(photo) / 1e6:g} MB")
        assert client.post("/v1/predict", content=photo + b"\0").status_code == 413
        assert post_json(client, {"image": text, "note": "x" * 100_000})[0] == 413, "nor may the rest be large"
        assert post_json(client, {"images": [text] * 3}, "/v1/predict/batch")[0] == 413
        assert post_json(client, {"images": [""] * 4}, "/v1/predict/batch")[0] == 413
    with client_of(tiny_onnx, max_pixels=1000) as client:
        assert post_json(client, {"image": text})[0] == 422
    with client_of(tiny_onnx, max_buffered=len(photo)) as client:
        assert post_json(client, {"image": text})[0] == 503


def test_text_fields_beside_the_file_are_ignored(client: TestClient, photo: bytes) -> None:
    fields = {"note": "a text", "id": "7"}
    sent = client.post("/v1/predict", data=fields, files={"image": ("a.jpg", photo, "image/jpg")})
    assert sent.status_code == 200 and len(sent.json()["faces"]) == 1
    batch = client.post("/v1/predict/batch", data=fields, files=[("images", ("a", photo)), ("images", ("b", photo))])
    assert [len(row["faces"]) for row in batch.json()["results"]] == [1, 1]
    none = client.post("/v1/predict", files={"note": (None, "a text")})
    assert (none.status_code, none.json()["detail"]) == (400, "the form has no file field called 'image'")


def test_what_is_no_image_is_refused_with_what_is_expected(client: TestClient) -> None:
    response = client.post("/v1/predict", content=b"hello", headers={"content-type": "text/plain"})
    assert response.status_code == 415
    assert response.json()["detail"] == (
        "expected an image, a multipart/form-data body with it, or "
        '{"image": BASE64}'
        "; got something else sent as 'text/plain'"
    )


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "video"),
        (b"\xff\xff\xff\xffftyp", "video"),
    ],
)
def test_iso_files_are_told_apart_by_their_brands(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


@pytest.mark.slow
def test_avif_and_heic_are_decoded_where_pillow_can_and_otherwise_the_way_out_is_named(
    client: TestClient, astronaut: np.ndarray
) -> None:
    heic = client.post("/v1/predict", content=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    if "HEIF" in FORMATS and find_spec("pillow_heif"):
        assert heic.status_code == 422
    else:
        assert (heic.status_code, heic.json()["detail"]) == (
            415,
            "HEIC is not decoded by this service: it needs fervit[heic]",
        )
    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    file = io.BytesIO()
    Image.fromarray(astronaut).save(file, "AVIF", quality=90)
    avif = client.post("/v1/predict", content=file.getvalue(), headers={"content-type": "image/avif"})
    if "AVIF" in FORMATS:
        assert len(avif.json()["faces"]) == 1
    else:
        assert (avif.status_code, avif.json()["detail"]) == (
            415,
            "AVIF is not decoded by this service: it needs pillow>=11.3",
        )
