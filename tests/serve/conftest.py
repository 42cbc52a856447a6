"""Fixtures of the service in the test's own process, and of the page in a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from fervit.errors import ModelError
from fervit.inference.model_files import default_model
from tests.helpers.browser import CHROMIUM, FLAGS, WAIT_MS, frames
from tests.helpers.served import Served
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


@pytest.fixture(scope="module")
def camera(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fake webcam's film."""
    import cv2

    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F15:1 Ip A1:1 C420jpeg\n")
        for image in frames(astronaut, 20):
            file.write(b"FRAME\n" + cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> Path:
    """The shipped model, or one with random weights where none is shipped."""
    try:
        return default_model()
    except ModelError:
        return tiny_onnx


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright (PyPI)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, server: Served) -> Iterator[Callable[..., Any]]:
    """Open the page; afterwards nothing may have gone wrong in it, or left for another host."""
    contexts, errors, foreign = [], [], []

    def open_page(path: str = "/", url: str = server.url, expected: str = "", script: str = "", **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1100, "height": 860}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        if script:
            page.add_init_script(script)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type == "error" and not (expected and expected in message.text)
                else None
            ),
        )
        page.on("request", lambda r: None if r.url.startswith((url, "blob:")) else foreign.append(r.url))
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == [] and foreign == []
