"""Uploads: bounded memory, accepted formats."""

from pathlib import Path

import pytest

from fervit.errors import ConfigError
from fervit.serve.settings import Settings
from tests.helpers.service import client_of


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
