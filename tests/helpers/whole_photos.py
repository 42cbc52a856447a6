"""Whole photos: drawn faces on large backgrounds, in class folders, some of them without a face or with two."""

from collections.abc import Collection
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.data import Dataset, load
from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, TRAIN

SIZE = 640, 480
FOLDERS = {TRAIN: "train", PUBLIC_TEST: "val", PRIVATE_TEST: "test"}


@cache
def drawn() -> Dataset:
    """Return 35 drawn faces, five of each expression, in all three splits."""
    return load("synthetic:35")


def whole_photo(row: int, *, faces: int = 1, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a photo with a drawn face of `drawn()`, 150 px, and with a smaller one beside it where there are two."""
    rng = np.random.default_rng(row)
    photo = Image.fromarray(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    face = Image.fromarray(drawn().images[row, :, :, 0]).convert("RGB")
    for k in range(faces):
        side = 150 - 50 * k
        photo.paste(face.resize((side, side), Image.Resampling.BICUBIC), (40 + 300 * k, 100 + 10 * (row % 10)))
    return photo


def write_photos(
    folder: Path, count: int = 35, *, without: Collection[int] = (), two: Collection[int] = ()
) -> list[str]:
    """Write the first photos as `train/angry/00.jpg` and so on; return these names in the order of their faces.

    Args:
        folder: is made.
        count: how many, at most 35.
        without: those that show no face.
        two: those that show two.
    """
    faces, names = drawn(), []
    splits = list(FOLDERS.values())
    for row in range(count):
        name = f"{splits[faces.split_ids[row]]}/{faces.labels[faces.targets[row]]}/{row:02d}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shown = 0 if row in without else 2 if row in two else 1
        whole_photo(row, faces=shown).save(folder / name, quality=92)
        names.append(name)
    return names


def row_of(source: str) -> int:
    """Return the row of `drawn()` that a photo shows."""
    return int(Path(source).stem[:2])
