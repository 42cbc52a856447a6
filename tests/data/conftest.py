"""Fixtures that the tests of data sets share."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.data.cache import content_hash
from fervit.labels import FER7


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, empty at first."""
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def faces() -> Dataset:
    """Thirty random images in FER2013's form, ordered by split."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (30, 48, 48, 1), dtype=np.uint8)
    images[0] = 0
    targets = rng.integers(0, 7, 30)
    split_ids = np.repeat([0, 1, 2], [20, 5, 5]).astype(np.int8)
    return Dataset(
        name="faces",
        labels=FER7,
        images=images,
        targets=targets,
        split_ids=split_ids,
        rows=np.arange(30),
        data_hash=content_hash(images, targets, split_ids),
    )
