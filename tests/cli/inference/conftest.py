"""Fixtures that several test files of the predicting commands share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder with a photo of one face, one of none, a broken one, and a text."""
    photos = tmp_path / "my photos"
    (photos / "ünder").mkdir(parents=True)
    Image.fromarray(astronaut).save(photos / "astro naut.jpg")
    Image.new("RGB", (90, 70), "teal").save(photos / "ünder" / "plain ☀.png")
    (photos / "cut.jpg").write_bytes((photos / "astro naut.jpg").read_bytes()[:3000])
    (photos / "notes.txt").write_text("no image")
    return photos
