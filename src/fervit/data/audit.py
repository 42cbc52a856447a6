"""What is wrong with a data set: duplicates within and across splits, conflicting labels, blank images."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.media.opencv import opencv

cv2 = opencv()

BLANK_STD = 1.0  # grey levels; FER2013 has 12 constant images and one of std 0.66, the next is at 4.1
NEAR_CORRELATION = 0.98  # of 48 px grey images, mean and contrast removed: the same photo, cut or coded anew
THUMBNAIL_PX = 48  # FER2013's size: its images are compared as they are
COARSE_PX = 12  # all pairs are compared at this size first
# Averaging removes noise: in FER2013 no near pair correlates less than 0.985 when coarse.
COARSE_CORRELATION = 0.975
BLOCK_ROWS = 1024
LISTED_PAIRS = 200  # at most, of each kind, in the JSON report


class Row(TypedDict):
    """How an image is named in reports; `source` is its file name or id, where there is one."""

    row: int
    split: str
    label: str
    source: str | None


@dataclass(frozen=True, eq=False)
class Inspection:
    """What `inspect` found. Row numbers are positions in the data set that was inspected.

    Attributes:
        dataset: what was inspected.
        counts: `(S, K)` images per split (`SPLITS` order) and label.
        groups: `(N,)` number of the group of pixel-identical images that each row belongs to, from 0.
        blank: rows of images whose grey levels hardly differ (standard deviation under 1).
        leaks: `(later split, earlier split)` -> images of the later one that are in the earlier one, too.
        conflicts: rows, group by group, of identical images with different labels.
        near_pairs: `(P, 2)` rows of near duplicates, the earlier split first; None when not searched.
        near_correlations: `(P,)` correlation of these pairs.
    """

    dataset: Dataset
    counts: np.ndarray
    groups: np.ndarray
    blank: np.ndarray
    leaks: dict[tuple[str, str], int]
    conflicts: list[np.ndarray]
    near_pairs: np.ndarray | None
    near_correlations: np.ndarray | None

    @property
    def unique(self) -> int:
        """Number of different images."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def duplicates_within(self) -> dict[str, int]:
        """Split -> number of images that repeat an earlier one of the same split."""
        split_ids = self.dataset.split_ids
        return {
            name: int((split_ids == k).sum() - len(np.unique(self.groups[split_ids == k])))
            for k, name in enumerate(SPLITS)
            if name in self.dataset.split_names
        }

    @property
    def near_leaks(self) -> dict[tuple[str, str], int]:
        """`(later split, earlier split)` -> images of the later one that are not in the earlier one, but nearly."""
        if self.near_pairs is None:
            return {}
        split_ids = self.dataset.split_ids
        leaks = {}
        for later, earlier in self.leaks:
            pairs = self.near_pairs[
                (split_ids[self.near_pairs[:, 0]] == SPLITS.index(earlier))
                & (split_ids[self.near_pairs[:, 1]] == SPLITS.index(later))
            ]
            exact = exact_leaks(self.dataset, seen=(earlier,), groups=self.groups)
            leaks[later, earlier] = int((~exact[np.unique(pairs[:, 1])]).sum())
        return leaks

    def describe(self, row: int) -> Row:
        """Return how a row is named in reports."""
        dataset = self.dataset
        return {
            "row": int(dataset.rows[row]),
            "split": SPLITS[dataset.split_ids[row]],
            "label": dataset.labels[dataset.targets[row]],
            "source": None if dataset.sources is None else dataset.sources[row],
        }

    def pairs(self) -> Iterator[tuple[str, float, int, int]]:
        """Yield `(kind, correlation, earlier row, later row)` of exact, then near duplicates."""
        for rows in repeated(self.groups):
            ordered = rows[np.argsort(self.dataset.split_ids[rows], kind="stable")]
            for row in ordered[1:]:
                yield "exact", 1.0, int(ordered[0]), int(row)
        if self.near_pairs is not None and self.near_correlations is not None:
            for (first, second), correlation in zip(self.near_pairs, self.near_correlations, strict=True):
                yield "near", float(correlation), int(first), int(second)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON report; lists of pairs are cut after 200."""
        dataset = self.dataset
        height, width, channels = dataset.images.shape[1:]
        report: dict[str, object] = {
            "name": dataset.name,
            "data_hash": dataset.data_hash,
            "labels": list(dataset.labels),
            "notes": list(dataset.notes),
            "images": len(dataset),
            "size_px": {"height": height, "width": width, "channels": channels},
            "counts": {
                name: dict(zip(dataset.labels, self.counts[k].tolist(), strict=True))
                for k, name in enumerate(SPLITS)
                if name in dataset.split_names
            },
            "unreadable": {"count": len(dataset.skipped), "sources": list(dataset.skipped[:LISTED_PAIRS])},
            "blank": {
                "count": len(self.blank),
                "rows": [self.describe(row) for row in self.blank[:LISTED_PAIRS]],
            },
            "unique": self.unique,
            "duplicates_within": self.duplicates_within,
            "exact_leaks": {f"{later} in {earlier}": n for (later, earlier), n in self.leaks.items()},
            "conflicts": {
                "groups": len(self.conflicts),
                "images": sum(len(rows) for rows in self.conflicts),
                "rows": [[self.describe(row) for row in rows] for rows in self.conflicts[:LISTED_PAIRS]],
            },
        }
        if self.near_pairs is not None and self.near_correlations is not None:
            shown = zip(self.near_pairs[:LISTED_PAIRS], self.near_correlations, strict=False)
            report["near"] = {
                "pairs": len(self.near_pairs),
                "leaks": {f"{later} in {earlier}": n for (later, earlier), n in self.near_leaks.items()},
                "rows": [
                    {"correlation": round(float(c), 4), "rows": [self.describe(a), self.describe(b)]}
                    for (a, b), c in shown
                ],
            }
        return report


def inspect(dataset: Dataset, *, near: bool = True) -> Inspection:
    """Search a data set for faults.

    Args:
        dataset: what to inspect.
        near: also compare all pairs for near duplicates (grows with the square of the number of images).
    """
    counts = np.zeros((len(SPLITS), len(dataset.labels)), dtype=np.int64)
    np.add.at(counts, (dataset.split_ids, dataset.targets), 1)
    groups = duplicate_groups(dataset.images)
    present = dataset.split_names
    leaks = {
        (later, earlier): int((exact_leaks(dataset, seen=(earlier,), groups=groups) & _in(dataset, later)).sum())
        for position, later in enumerate(present)
        for earlier in present[:position]
    }
    pairs, correlations = near_duplicates(dataset, groups) if near else (None, None)
    return Inspection(
        dataset=dataset,
        counts=counts,
        groups=groups,
        blank=blank_rows(dataset.images),
        leaks=leaks,
        conflicts=[rows for rows in repeated(groups) if len(set(dataset.targets[rows].tolist())) > 1],
        near_pairs=pairs,
        near_correlations=correlations,
    )


def exact_leaks(dataset: Dataset, *, seen: Sequence[str] = (TRAIN,), groups: np.ndarray | None = None) -> np.ndarray:
    """Return `(N,)` bool: rows of public_test and private_test whose pixels are in an earlier split, too.

    Args:
        dataset: the whole data set, with the splits that count as seen.
        seen: splits that count; by default what a model was fitted on. With public_test among them, a
            private_test image that is in it is a leak too.
        groups: what `duplicate_groups` gave, to spare the work.
    """
    if groups is None:
        groups = duplicate_groups(dataset.images)
    leaks = np.zeros(len(dataset), dtype=bool)
    for later, others in ((PUBLIC_TEST, (TRAIN,)), (PRIVATE_TEST, (TRAIN, PUBLIC_TEST))):
        for earlier in others:
            if earlier in seen:
                leaks |= _in(dataset, later) & np.isin(groups, groups[_in(dataset, earlier)])
    return leaks


def duplicate_groups(images: np.ndarray) -> np.ndarray:
    """Return `(N,)` int64: rows with identical pixels share a number; numbers run from 0."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    table = np.frombuffer(b"".join(digests), dtype="V16")
    return np.unique(table, return_inverse=True)[1].astype(np.int64).reshape(-1)


def repeated(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group with more than one member, in order of the first row."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    members = [rows for rows in np.split(order, starts[1:]) if len(rows) > 1] if len(order) else []
    return sorted(members, key=lambda rows: int(rows[0]))


def blank_rows(images: np.ndarray) -> np.ndarray:
    """Return `(B,)` int64 rows of images whose grey levels have a standard deviation under 1."""
    blocks = (images[start : start + BLOCK_ROWS] for start in range(0, len(images), BLOCK_ROWS))
    deviations = [block.reshape(len(block), -1).std(axis=1, dtype=np.float32) for block in blocks]
    return np.flatnonzero(np.concatenate(deviations) < BLANK_STD) if deviations else np.zeros(0, np.int64)


def near_duplicates(dataset: Dataset, groups: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return near but not exact duplicates: `(P, 2)` int64 rows and `(P,)` float32 correlations, best first.

    Images are compared as 48 px grey ones with mean and contrast removed; a pair counts from a correlation
    of 0.98. All pairs are compared at 12 px first. Blank images resemble nothing. The row of the earlier
    split comes first.
    """
    if groups is None:
        groups = duplicate_groups(dataset.images)
    pairs, correlations = near_pairs(thumbnails_of(dataset.images), groups)
    swap = dataset.split_ids[pairs[:, 0]] > dataset.split_ids[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]
    return pairs, correlations


def near_pairs(thumbnails: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the near duplicates among `(N, 48, 48)` uint8 grey images; see `near_duplicates`.

    Args:
        thumbnails: the images.
        groups: `(N,)` numbers; pairs within a group are no near but exact duplicates, and are not returned.

    Returns:
        `(P, 2)` int64 rows, the smaller one first, and `(P,)` float32 correlations, best first.
    """
    coarse = _coarse(thumbnails)
    found: list[np.ndarray] = []
    for start in range(0, len(coarse), BLOCK_ROWS):
        similar = coarse[start : start + BLOCK_ROWS] @ coarse[start:].T  # (b, N - start)
        first, second = np.nonzero(similar >= COARSE_CORRELATION)
        pairs = np.stack([first, second], axis=1)[first < second] + start
        found.append(pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]])
    candidates = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    correlations = _correlations(thumbnails, thumbnails, candidates)
    chosen = np.flatnonzero(correlations >= NEAR_CORRELATION)
    chosen = chosen[np.argsort(-correlations[chosen], kind="stable")]
    return candidates[chosen], np.minimum(correlations[chosen], 1.0)


def thumbnails_of(images: np.ndarray) -> np.ndarray:
    """Return `(N, 48, 48)` uint8 grey versions of `(N, H, W, C)` images, in which images of all sizes are compared."""
    return _thumbnails(images, THUMBNAIL_PX)


def stand_in(thumbnails: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of N images are, or nearly are, among M others: two `(N,)` bool, of equal and of near ones.

    Both are given as `thumbnails_of` makes them. Equal ones have the same thumbnail; near ones are what
    `near_duplicates` finds, without the equal ones.
    """
    digests = {hashlib.blake2b(other.tobytes(), digest_size=16).digest() for other in others}
    same = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() in digests for image in thumbnails]
    equal, near = np.array(same, bool), np.zeros(len(thumbnails), bool)
    coarse, other_coarse = _coarse(thumbnails), _coarse(others)
    for start in range(0, len(thumbnails), BLOCK_ROWS):
        similar = coarse[start : start + BLOCK_ROWS] @ other_coarse.T  # (b, M)
        first, second = np.nonzero(similar >= COARSE_CORRELATION)
        pairs = np.stack([first + start, second], axis=1)
        pairs = pairs[~equal[pairs[:, 0]]]
        near[pairs[_correlations(thumbnails, others, pairs) >= NEAR_CORRELATION, 0]] = True
    return equal, near


def _coarse(thumbnails: np.ndarray) -> np.ndarray:
    """Return `(N, 144)` float32: thumbnails made smaller still, normalised."""
    return _normalised(_thumbnails(thumbnails[..., None], COARSE_PX))


def _correlations(left: np.ndarray, right: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the `(P,)` float32 correlations of thumbnails `left[pairs[:, 0]]` and `right[pairs[:, 1]]`."""
    correlations = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), BLOCK_ROWS):
        block = pairs[start : start + BLOCK_ROWS]
        one, other = _normalised(left[block[:, 0]]), _normalised(right[block[:, 1]])
        correlations[start : start + BLOCK_ROWS] = (one * other).sum(axis=1)
    return correlations


def _in(dataset: Dataset, split: str) -> np.ndarray:
    return np.asarray(dataset.split_ids == SPLITS.index(split))


def _thumbnails(images: np.ndarray, side_px: int) -> np.ndarray:
    """Return `(N, side, side)` uint8 grey versions of `(N, H, W, C)` images."""
    thumbnails = np.empty((len(images), side_px, side_px), np.uint8)
    for row, image in enumerate(images):
        grey = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        same = grey.shape == (side_px, side_px)
        thumbnails[row] = grey if same else cv2.resize(grey, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return thumbnails


def _normalised(images: np.ndarray) -> np.ndarray:
    """Return `(N, H * W)` float32 rows of mean 0 and length 1, or all-zero where an image is blank."""
    rows = images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length < BLANK_STD * np.sqrt(rows.shape[1]), np.inf, length)
    return rows
