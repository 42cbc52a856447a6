"""A real browser for the page's tests, and what they give to it and read from it.

Screenshots go to the folder named by FERVIT_SCREENSHOTS, where it is set.
"""

import io
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fervit.media.opencv import quiet_opencv

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
WAIT_MS = 20_000
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


def frames(face: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield 640 x 480 images of a photo that moves sideways."""
    for index in range(count):
        image = np.full((480, 640, 3), 90, np.uint8)
        left = 64 + round(40 * np.sin(2 * np.pi * index / count))
        image[:, left : left + 480] = face[:480, :480]
        yield image


def film(path: Path, images: Iterable[np.ndarray]) -> Path:
    """Write 640 x 480 images as a WebM of 15 frames a second."""
    import cv2

    quiet_opencv()  # its FFmpeg keeps to what it was told before its first file
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 15, (640, 480))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no WebM")
    for image in images:
        writer.write(image[:, :, ::-1])
    writer.release()
    return path


def photo_file(name: str, *images: np.ndarray, kind: str = "JPEG") -> dict[str, Any]:
    """Return an upload of images side by side."""
    file = io.BytesIO()
    Image.fromarray(np.hstack(images)).save(file, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": file.getvalue()}


def keep(page: Any, name: str) -> None:
    """Save a screenshot where they are wanted."""
    folder = os.environ.get("FERVIT_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.jpg"), full_page=True, type="jpeg", quality=88)


def download(page: Any, button: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(button)
    return Path(waiting.value.path()).read_bytes()


def faults(page: Any) -> list[str]:
    """Return the serious accessibility faults that axe-core finds."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="the accessibility check needs axe-playwright-python (PyPI)"
    )
    violations = axe.Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {v['help']}: {[node['html'] for node in v['nodes']]}"
        for v in violations
        if v["impact"] in ("serious", "critical")
    ]
