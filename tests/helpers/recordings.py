"""A small study: a folder of videos and photos, broken ones among them."""

from pathlib import Path

import numpy as np
from PIL import Image

from fervit.inference.classifier import OnnxClassifier
from fervit.inference.recognizer import Recognizer
from tests.helpers.videos import Square, moving, write_video

FRAMES = {"p01.mp4": 12, "p02.mp4": 10, "session 2/p03.mp4": 8}
"""Frames of the videos that can be read."""
BROKEN = ("cut.mp4", "empty.mp4", "text.mp4")


def write_study(folder: Path) -> Path:
    """Write three videos, two photos, three files that cannot be read, and a text, into a new folder."""
    (folder / "session 2").mkdir(parents=True)
    for name, count in FRAMES.items():
        write_video(folder / name, moving(count, away=[3, 4]))
    (folder / "cut.mp4").write_bytes((folder / "p01.mp4").read_bytes()[:900])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello")
    (folder / "notes.txt").write_text("no image")
    image = np.full((48, 64, 3), 40, np.uint8)
    Image.fromarray(image).save(folder / "none.png")
    image[10:30, 10:30] = 220
    Image.fromarray(image).save(folder / "session 2" / "face.png")
    return folder


def square_recognizer(model: Path) -> Recognizer:
    """Return a recognizer that finds the bright square."""
    return Recognizer(OnnxClassifier(model, threads=1), Square())
