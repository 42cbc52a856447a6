"""What a source lists before its images are decoded: labels, splits and names."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.data.decode import Contents, decode_all, report_failed
from fervit.errors import DataError, unknown
from fervit.labels import FER7, canonical

USAGES = {TRAIN: "Training", PUBLIC_TEST: "PublicTest", PRIVATE_TEST: "PrivateTest"}
"""FER2013's own names of the splits, in its csv and in Kaggle's file names."""

SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": PUBLIC_TEST,
    "valid": PUBLIC_TEST,
    "validation": PUBLIC_TEST,
    "dev": PUBLIC_TEST,
    "publictest": PUBLIC_TEST,
    "test": PRIVATE_TEST,
    "testing": PRIVATE_TEST,
    "privatetest": PRIVATE_TEST,
}
SPLIT_SEED = b"fervit split 0\n"
TRAIN_FRACTION, PUBLIC_TEST_FRACTION = 0.8, 0.1  # the rest is private_test


@dataclass(frozen=True)
class Listing:
    """The rows of a source, in its order.

    Attributes:
        name: name of the data set.
        where: the source, for messages.
        names: label name per row.
        split_ids: `(N,)` int8 indices into `SPLITS`, or None where the source has no splits: images are
            then divided 80/10/10 by a seeded hash of their encoded bytes: equal files stay together, and a
            file keeps its split when others come or go.
        sources: name per row, for messages.
    """

    name: str
    where: str
    names: Sequence[str]
    split_ids: np.ndarray | None
    sources: list[str]


def find_split(name: str) -> str | None:
    """Return the split that a folder, a Hub split or a usage value names, in any case; or None.

    >>> find_split("Public_Test"), find_split("VAL"), find_split("faces")
    ('public_test', 'public_test', None)
    """
    return SPLIT_NAMES.get(name.strip().lower().replace("_", "").replace("-", "").replace(" ", ""))


def split_ids_of(names: Iterable[object], where: str) -> np.ndarray:
    """Return `(N,)` int8 indices into `SPLITS` for usage values.

    Raises:
        DataError: a value names no split (the message names the row, counted from 1).
    """
    known: dict[object, int] = {}
    ids = []
    for row, name in enumerate(names, start=1):
        if name not in known:
            split = find_split(str(name))
            if split is None:
                raise DataError(f"{where}, row {row}: {unknown('usage', str(name), USAGES.values())}")
            known[name] = SPLITS.index(split)
        ids.append(known[name])
    return np.array(ids, dtype=np.int8)


def split_of_content(data: bytes) -> int:
    """Return the index into `SPLITS` that the seeded hash of an encoded image draws."""
    fraction = int.from_bytes(hashlib.sha256(SPLIT_SEED + data).digest()[:8], "big") / 2**64
    if fraction < TRAIN_FRACTION:
        return SPLITS.index(TRAIN)
    return SPLITS.index(PUBLIC_TEST if fraction < TRAIN_FRACTION + PUBLIC_TEST_FRACTION else PRIVATE_TEST)


def label_set(names: Iterable[str]) -> tuple[str, ...]:
    """Return FER7 when every name is one of its labels or a synonym, else the sorted canonical names."""
    found = {canonical(name) for name in names}
    return FER7 if found <= set(FER7) else tuple(sorted(found))


def assemble(listing: Listing, contents: Contents, store: Path, size_px: int | None) -> Dataset:
    """Decode the images into the folder `store` and return the data set; see `decode_all`.

    Raises:
        DataError: no image can be read, or the disk is full.
    """
    decoded = decode_all(contents, store, size_px=size_px)
    total = len(listing.sources)
    skipped = report_failed(decoded.failed, listing.sources, total, listing.where)
    split_ids = listing.split_ids
    if split_ids is None:
        split_ids = np.array([split_of_content(data) for data in contents()], dtype=np.int8)
    labels = label_set(set(listing.names))
    index = {name: labels.index(canonical(name)) for name in set(listing.names)}
    kept = decoded.kept
    targets = np.array([index[name] for name in listing.names], dtype=np.int64)[kept]
    return Dataset(
        name=listing.name,
        labels=labels,
        images=decoded.images,
        targets=targets,
        split_ids=split_ids[kept],
        rows=kept,
        data_hash=content_hash(decoded.images, targets, split_ids[kept]),
        sources=[listing.sources[row] for row in kept],
        skipped=skipped,
    )
