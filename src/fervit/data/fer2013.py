"""FER2013 as parquet (and, through the same columns, any parquet of labelled pictures)."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.data.cache import content_hash
from fervit.data.dataset import SPLITS, Dataset
from fervit.errors import DataError
from fervit.labels import FER7

USAGES = {"Training": "train", "PublicTest": "public_test", "PrivateTest": "private_test"}


def read_parquet(path: Path) -> Dataset:
    """Read columns `image` (encoded bytes), `label` (0-6) and `usage` (Training/PublicTest/PrivateTest)."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    missing = [name for name in ("image", "label", "usage") if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.column_names)}")
    images = np.stack([np.asarray(Image.open(io.BytesIO(b)).convert("L")) for b in table["image"].to_pylist()])
    images = images[..., None]
    targets = table["label"].to_numpy().astype(np.int64)
    split_ids = np.array([SPLITS.index(USAGES[u]) for u in table["usage"].to_pylist()], dtype=np.int8)
    return Dataset(
        name=path.name,
        labels=FER7,
        images=images,
        targets=targets,
        split_ids=split_ids,
        rows=np.arange(len(targets)),
        data_hash=content_hash(images, targets, split_ids),
    )
