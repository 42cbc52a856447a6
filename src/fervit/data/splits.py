"""Which split an image belongs to, by the names that a source uses; and the number that its content draws."""

import hashlib
import re
from collections.abc import Callable, Iterable

import numpy as np

from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, SPLITS, TRAIN
from fervit.errors import DataError, unknown

USAGES = {TRAIN: "Training", PUBLIC_TEST: "PublicTest", PRIVATE_TEST: "PrivateTest"}
"""FER2013's own names of the splits, in its csv and in Kaggle's file names."""

SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": PUBLIC_TEST,
    "valid": PUBLIC_TEST,
    "validation": PUBLIC_TEST,
    "dev": PUBLIC_TEST,
    "eval": PUBLIC_TEST,
    "evaluation": PUBLIC_TEST,
    "publictest": PUBLIC_TEST,
    "test": PRIVATE_TEST,
    "testing": PRIVATE_TEST,
    "privatetest": PRIVATE_TEST,
}
USAGE_COLUMNS = ("usage", "split")
SUBJECT_COLUMNS = ("subject", "subject_id", "person", "person_id")
SUFFIX = re.compile(r"(set|split|data)$")  # `train_set`, `test-data`
SPLIT_SEED = b"fervit split 0\n"


def find_split(name: str) -> str | None:
    """Return the split that a folder, a Hub split or a usage value names, in any case; or None.

    >>> find_split("Public_Test"), find_split("VAL"), find_split("training_set"), find_split("faces")
    ('public_test', 'public_test', 'train', None)
    """
    plain = re.sub(r"[\s_-]", "", name.lower())
    return SPLIT_NAMES.get(plain) or SPLIT_NAMES.get(SUFFIX.sub("", plain))


def split_ids_of(names: Iterable[object], where: str, place: Callable[[int], str] | None = None) -> np.ndarray:
    """Return `(N,)` int8 indices into `SPLITS` for usage values.

    Args:
        names: a value for each row.
        where: the source, for messages.
        place: from a position to its name in messages; by default `row 1`, `row 2`, ...

    Raises:
        DataError: a value names no split (the message names the place).
    """
    known: dict[object, int] = {}
    ids = []
    for position, name in enumerate(names):
        if name not in known:
            split = find_split(str(name))
            if split is None:
                at = f"row {position + 1}" if place is None else place(position)
                raise DataError(f"{where}, {at}: {unknown('usage', str(name).strip()[:30], USAGES.values())}")
            known[name] = SPLITS.index(split)
        ids.append(known[name])
    return np.array(ids, dtype=np.int8)


def draw(content: bytes) -> float:
    """Return the number in 0..1 that the seeded hash of an image's content draws."""
    return int.from_bytes(hashlib.sha256(SPLIT_SEED + content).digest()[:8], "big") / 2**64
