"""The service in the test's own process."""

import dataclasses
import io
import threading
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from fervit.serve.app import create_app
from fervit.serve.engine import Engine
from fervit.serve.finder import Found
from fervit.serve.settings import Settings

STREAM = "ws://localhost/v1/stream"  # the test client would name another host
TOKEN = "0123456789abcdefTOKEN"


def jpeg(image: np.ndarray) -> bytes:
    """Return an image as the bytes of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def settings(model: Path, **changes: object) -> Settings:
    """Return settings without image processes and without a rate limit, but for `changes`."""
    base = Settings(model, image_workers=0, rate=0.0)
    return dataclasses.replace(base, **changes).check()  # type: ignore[arg-type]  # each test names fields of its own


def client_of(model: Path, **changes: object) -> TestClient:
    """Return a client of a service with `settings(model, **changes)`."""
    return TestClient(create_app(settings(model, **changes)), "http://localhost", raise_server_exceptions=False)


class Gate:
    """Holds every image in `find` until it is opened."""

    def __init__(self, engine: Engine):
        self.opened, self.inside = threading.Event(), threading.Semaphore(0)
        self._find = engine._finder.find
        engine._finder.find = self.find  # type: ignore[method-assign]

    def find(self, data: bytes, crop: bool = False) -> Found:
        self.inside.release()
        self.opened.wait(10)
        return self._find(data, crop)
