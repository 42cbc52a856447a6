"""Which split an image belongs to: by the names that a source uses, or by a seeded hash of its content."""

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
SUFFIX = re.compile(r"(set|split|data)$")  # `train_set`, `test-data`
SPLIT_SEED = b"fervit split 0\n"
TRAIN_FRACTION, PUBLIC_TEST_FRACTION = 0.8, 0.1  # the rest is private_test
VALIDATION_FRACTION = 0.1  # of train, where a source has no validation part


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


def make_splits(split_ids: np.ndarray | None, contents: Callable[[], Iterable[bytes]]) -> tuple[np.ndarray, list[str]]:
    """Return the split of every image, and in words what was made up for it.

    Images without any split are divided 80/10/10 by the hash of their content. Where there is a train part and no
    validation part, a tenth of the train images becomes public_test in the same way. So equal files stay together, and
    a file keeps its split when others come or go.

    Args:
        split_ids: `(N,)` int8 indices into `SPLITS` as the source has them, or None where it has none.
        contents: gives the encoded images in order; called only where something is to be drawn.

    Returns:
        `(N,)` int8 indices into `SPLITS`, and a sentence for each thing that was made up.
    """
    train, validation = SPLITS.index(TRAIN), SPLITS.index(PUBLIC_TEST)
    if split_ids is not None and ((split_ids == validation).any() or not (split_ids == train).any()):
        return split_ids, []
    draws = np.array([draw(content) for content in contents()])
    notes = []
    if split_ids is None:
        split_ids = np.digitize(draws, [TRAIN_FRACTION, TRAIN_FRACTION + PUBLIC_TEST_FRACTION]).astype(np.int8)
        counts = np.bincount(split_ids, minlength=len(SPLITS))
        parts = ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, counts, strict=True))
        notes.append(f"no split is named, so the images are divided 80/10/10 by a hash of their content: {parts}")
    moved = _validation_rows(draws, split_ids == train)
    if len(moved) and not (split_ids == validation).any():
        total = int((split_ids == train).sum())
        split_ids = split_ids.copy()
        split_ids[moved] = validation
        notes.append(
            f"there is no validation part, so {len(moved):,} of the {total:,} train images (about a tenth, drawn by a "
            "hash of their content) are public_test"
        )
    return split_ids, notes


def _validation_rows(draws: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the train rows that become the validation part: a tenth, at least one image, never all of them."""
    drawn = draws[train]
    if not len(drawn) or drawn.min() == drawn.max():
        return np.zeros(0, np.int64)
    limit = max(VALIDATION_FRACTION, float(drawn.min()))
    if drawn.max() <= limit:
        limit = float(drawn.min())
    return np.flatnonzero(train & (draws <= limit))
