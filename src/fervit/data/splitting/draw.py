"""Draw splits where a source has none: by label, by content, and with what belongs together on one side."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fervit.data.audit import THUMBNAIL_PX, duplicate_groups, near_pairs, thumbnails_of
from fervit.data.cache import content_hash
from fervit.data.dataset import PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.data.decode import Shape, decode
from fervit.data.splits import draw
from fervit.data.splitting.divide import divide, join_rows
from fervit.errors import ConfigError, ImageError, quoted

log = logging.getLogger(__name__)

FRACTIONS = (0.8, 0.1, 0.1)
"""Of train, public_test and private_test, where a source has no splits."""
VALIDATION_FRACTIONS = (0.9, 0.1, 0.0)  # of train, where a source has no validation part
MOST_COMPARED = 60_000  # images whose near duplicates are searched: all pairs of 35,887 take 4 seconds on a core


@dataclass(frozen=True)
class Material:
    """What splits are drawn from.

    Attributes:
        labels: K label names.
        targets: `(N,)` class indices.
        contents: gives N texts of bytes that stand for the images, the same wherever they are read.
        thumbnails: gives the images small and grey, `(N, 48, 48)` uint8, for the search of near duplicates.
        groups: what each image belongs to, such as a person; empty where that is not known; or None.
        called: what a group is, for messages: people, groups.
    """

    labels: tuple[str, ...]
    targets: np.ndarray
    contents: Callable[[], Iterable[bytes]]
    thumbnails: Callable[[], np.ndarray]
    groups: Sequence[str] | None = None
    called: str = "people"


def material_of(dataset: Dataset) -> Material:
    """Return what the splits of a loaded data set are drawn from: its pixels, and its people where they are known."""
    return Material(
        dataset.labels,
        dataset.targets,
        lambda: (image.tobytes() for image in dataset.images),
        lambda: thumbnails_of(dataset.images),
        dataset.subjects,
    )


def make_splits(
    split_ids: np.ndarray | None, material: Material, fractions: Sequence[float] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return the split of every image, and in words what was made up for it.

    Images without any split are divided 80/10/10, label by label. Where there is a train part and no validation part, a
    tenth of the train images becomes public_test in the same way. Images of one person or group, equal images and near
    duplicates stay together; see `divide` for what stays when others come or go.

    Args:
        split_ids: `(N,)` int8 indices into `SPLITS` as the source has them, or None where it has none.
        material: read only where something is to be drawn.
        fractions: of the three splits, to divide all images anew whatever the source has.

    Returns:
        `(N,)` int8 indices into `SPLITS`, and a sentence for each thing that was made up.
    """
    train, validation = SPLITS.index(TRAIN), SPLITS.index(PUBLIC_TEST)
    if fractions is not None or split_ids is None:
        everything = np.ones(len(material.targets), bool)
        made, how = _drawn(material, everything, fractions or FRACTIONS)
        cut = "/".join(f"{100 * part:g}" for part in fractions or FRACTIONS)
        why = "no split is named, so the" if split_ids is None else "as --fractions says, all"
        parts = "; ".join(_counted(material, made == k, name) for k, name in enumerate(SPLITS))
        return made, [f"{why} images are divided {cut} by label and a hash of their content{how}: {parts}"]
    if (split_ids == validation).any() or not (split_ids == train).any():
        return split_ids, []
    made, how = _drawn(material, split_ids == train, VALIDATION_FRACTIONS)
    moved = (split_ids == train) & (made == validation)
    if not moved.any():
        return split_ids, []
    total = int((split_ids == train).sum())
    return np.where(moved, validation, split_ids).astype(np.int8), [
        f"there is no validation part, so {moved.sum():,} of the {total:,} train images (about a tenth, drawn by label "
        f"and a hash of their content){how} become {_counted(material, moved, PUBLIC_TEST)}"
    ]


def with_train(dataset: Dataset) -> Dataset:
    """Return a data set to learn from: one without a train part gets one, which its notes say and which is logged.

    Where there is a validation part beside the test part, nine tenths of it become train, and the test part stays. A
    data set with one part, whatever its name, is divided 80/10/10 as one without splits is.
    """
    if TRAIN in dataset.split_names or len(dataset) == 0:
        return dataset
    train, validation = SPLITS.index(TRAIN), SPLITS.index(PUBLIC_TEST)
    material = material_of(dataset)
    if len(dataset.split_names) == 1:
        made, _ = make_splits(None, material)
        what = f"its {len(dataset):,} {dataset.split_names[0]} images are divided 80/10/10"
    else:
        parts, _ = _drawn(material, dataset.split_ids == validation, VALIDATION_FRACTIONS)
        inside = dataset.split_ids == validation
        made = np.where(inside & (parts != validation), train, dataset.split_ids).astype(np.int8)
        what = f"nine tenths of its {int(inside.sum()):,} public_test images become train"
    counted = "; ".join(_counted(material, made == k, name) for k, name in enumerate(SPLITS))
    note = f"there is no train part, so {what}, by label and a hash of their content: {counted}"
    log.warning("%s: %s", dataset.name, note)
    data_hash = content_hash(dataset.images, dataset.targets, made)
    return replace(dataset, split_ids=made, data_hash=data_hash, notes=(*dataset.notes, note))


def read_fractions(text: object) -> tuple[float, float, float] | None:
    """Read `80/10/10`, of train, public_test and private_test, in per cent or as fractions; None stays None.

    >>> read_fractions("70/10/20")
    (0.7, 0.1, 0.2)

    Raises:
        ConfigError: it is no such text, or the numbers do not sum to 100 or 1.
    """
    if text is None:
        return None
    items = text.split("/") if isinstance(text, str) else list(text) if isinstance(text, list | tuple) else []
    try:
        values = [float(item) for item in items]
    except (TypeError, ValueError):
        values = []
    total = sum(values)
    known = abs(total - 100) < 1e-6 or abs(total - 1) < 1e-6
    if len(values) != 3 or not known or min(values) < 0 or not values[0]:
        raise ConfigError(
            "--fractions takes those of train, public_test and private_test, such as 80/10/10, with train above 0 and "
            f"a sum of 100; got {quoted(text)}"
        )
    return values[0] / total, values[1] / total, values[2] / total


def small_grey(contents: Iterable[bytes]) -> np.ndarray:
    """Return encoded images as `(N, 48, 48)` uint8 grey ones; those that cannot be read are black."""
    shape = Shape(THUMBNAIL_PX, THUMBNAIL_PX, 1)

    def each() -> Iterator[np.ndarray]:
        for content in contents:
            try:
                yield decode(content, shape)[..., 0]
            except ImageError:  # it is reported where the images are read
                yield np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)

    images = list(each())
    return np.stack(images) if images else np.zeros((0, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)


def _drawn(material: Material, rows: np.ndarray, fractions: Sequence[float]) -> tuple[np.ndarray, str]:
    """Return `(N,)` int8 parts of the rows that a mask selects, others 0; and in brackets what stays together."""
    chosen = np.flatnonzero(rows)
    draws = np.zeros(len(chosen))
    pairs: list[tuple[int, int]] = []
    first: dict[object, int] = {}
    wanted = (content for content, taken in zip(material.contents(), rows, strict=True) if taken)
    for row, content in enumerate(wanted):
        draws[row] = draw(content)
        pairs.append((first.setdefault(hashlib.sha256(content).digest(), row), row))
    said = []
    groups = None if material.groups is None else [material.groups[row] for row in chosen.tolist()]
    if groups is not None and any(groups):
        count = len({group for group in groups if group})
        called = (
            material.called if count > 1 else material.called.replace("people", "person").replace("groups", "group")
        )
        said.append(f"{count:,} {called} on one side each")
        for row, group in enumerate(groups):
            if group:
                draws[row] = draw(b"group\n" + group.encode("utf-8", "surrogateescape"))
                pairs.append((first.setdefault(group, row), row))
    if len(chosen) <= MOST_COMPARED:
        near, pixels = _near(material.thumbnails()[rows])
        pairs += near
        if len(pixels):
            said.append(f"{len(pixels):,} near duplicate{'' if len(pixels) == 1 else 's'} beside what they repeat")
    else:
        said.append(f"near duplicates are not searched among more than {MOST_COMPARED:,} images")
    units = join_rows(len(chosen), pairs)
    parts = np.zeros(len(rows), np.int8)
    parts[chosen] = divide(material.targets[chosen], units, draws, fractions)
    return parts, f" ({'; '.join(said)})" if said else ""


def _near(thumbnails: np.ndarray) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Return the pairs of rows whose pixels are equal or nearly so, and the rows that are like an earlier one."""
    identical = duplicate_groups(thumbnails)
    first: dict[int, int] = {}
    pairs = [(first.setdefault(group, row), row) for row, group in enumerate(identical.tolist())]
    near, _ = near_pairs(thumbnails, identical)
    pairs += [(int(a), int(b)) for a, b in near]
    return pairs, np.unique([max(pair) for pair in pairs if pair[0] != pair[1]])


def _counted(material: Material, mask: np.ndarray, name: str) -> str:
    """Return a split with its number of images and those of each label, such as `train 8 (angry 5, happy 3)`."""
    counts = np.bincount(material.targets[mask], minlength=len(material.labels)).tolist()
    each = ", ".join(f"{label} {count:,}" for label, count in zip(material.labels, counts, strict=True) if count)
    return f"{name} {int(mask.sum()):,}" + (f" ({each})" if each else "")
