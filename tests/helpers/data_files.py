"""Files that data sets are read from, written small for tests."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def png(image: np.ndarray) -> bytes:
    """Encode `(H, W)` or `(H, W, 3)` uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def write_image(path: Path, *, size: tuple[int, int] = (48, 48), mode: str = "L", seed: int = 0) -> None:
    """Write an image of noise, `size` its width and height; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


def pixels(value: int = 7, count: int = 2304) -> str:
    """Return what a FER2013 csv has in its column `pixels`, one value for all."""
    return " ".join([str(value)] * count)


def write_rows(path: Path, rows: Iterable[str], header: str = "emotion,pixels,Usage") -> Path:
    """Write the lines of a csv file."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def write_table(path: Path, **columns: object) -> Path:
    """Write columns as a parquet file; the test is skipped where pyarrow is not installed."""
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    return path


def write_class_folders(folder: Path, *labels: str, splits: tuple[str, ...] = ("train", "val"), count: int = 8) -> Path:
    """Write images of 48 px: `count` for each split and label, each label of its own brightness."""
    for number, (split, label) in enumerate((split, label) for split in splits for label in labels):
        (folder / split / label).mkdir(parents=True)
        rng = np.random.default_rng(number)
        for k in range(count):
            levels = rng.integers(0, 20, (48, 48)) + 200 * labels.index(label) // len(labels)
            Image.fromarray(levels.astype(np.uint8)).save(folder / split / label / f"{k}.png")
    return folder
