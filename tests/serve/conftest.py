"""Fixtures of the service in the test's own process."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.helpers.service import client_of, jpeg


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> bytes:
    """The astronaut as JPEG."""
    return jpeg(astronaut)


@pytest.fixture(scope="module")
def client(tiny_onnx: Path) -> Iterator[TestClient]:
    """A client of the service with `tiny_onnx`."""
    with client_of(tiny_onnx) as client:
        yield client
