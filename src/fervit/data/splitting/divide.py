"""Divide images into parts by label, with units of images that stay together; a pure function of its arguments."""

from collections.abc import Iterable, Sequence

import numpy as np

MIXED = -1  # in place of the label of a unit whose images have several labels
FEW_UNITS = 5  # from this many units of a label on, every part gets one of them


def divide(targets: np.ndarray, units: np.ndarray, draws: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Return the part of every image, `(N,)` int8: each label is divided by the fractions as well as its units allow.

    Units whose images all have one label are ordered by what they drew, label by label, and cut where the fractions of
    their images end. So when an image comes or goes, at most one unit of its label moves at each cut. Units of several
    labels are placed one by one, the largest first, where the fewest images of their labels are missing least; what
    these are depends on all of them. A part that would stay empty gets one unit of each label that has two or more.

    Args:
        targets: `(N,)` class indices.
        units: `(N,)` numbers of the units, from 0.
        draws: `(N,)` numbers in 0..1; a unit draws the smallest of its images.
        fractions: of the parts, in order; they sum to 1, and the first is the one that others are filled from.
    """
    count = int(units.max(initial=-1)) + 1
    sizes = np.bincount(units, minlength=count)
    drawn = np.full(count, np.inf)
    np.minimum.at(drawn, units, draws)
    labels = _labels_of_units(targets, units, count)
    parts = np.zeros(count, np.int8)
    for label in np.unique(labels[labels != MIXED]):
        own = np.flatnonzero(labels == label)
        parts[own] = _cut(sizes[own], drawn[own], fractions)
    mixed = np.flatnonzero(labels == MIXED)
    if len(mixed):
        parts[mixed] = _place(targets, units, mixed, sizes, drawn, fractions)
    for part in range(1, len(fractions)):
        if fractions[part] and not (parts == part).any():
            for label in np.unique(labels):
                _fill(parts, part, np.flatnonzero(labels == label), sizes, drawn)
    return np.asarray(parts[units], dtype=np.int8)


def join_rows(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return `(count,)` numbers of units, from 0 in order of their first row: rows that pairs connect share one.

    >>> join_rows(5, [(3, 1), (4, 3)]).tolist()
    [0, 1, 2, 1, 1]
    """
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    roots = np.array([root(row) for row in range(count)], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64).reshape(-1)


def _labels_of_units(targets: np.ndarray, units: np.ndarray, count: int) -> np.ndarray:
    """Return the label of each unit, `MIXED` where it has several."""
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(lowest, units, targets)
    np.maximum.at(highest, units, targets)
    return np.where(lowest == highest, lowest, MIXED)


def _cut(sizes: np.ndarray, drawn: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Return the parts of the units of one label: a unit belongs where the middle of its images falls."""
    order = np.lexsort((np.arange(len(drawn)), drawn))
    ends = np.cumsum(sizes[order])
    middles = (ends - sizes[order] / 2) / ends[-1]
    parts = np.empty(len(order), np.int8)
    parts[order] = np.digitize(middles, np.cumsum(fractions)[:-1] - 1e-12)
    if len(parts) >= FEW_UNITS:
        for part in range(1, len(fractions)):
            if fractions[part] and not (parts == part).any():
                _fill(parts, part, np.arange(len(parts)), sizes, drawn)
    return parts


def _fill(parts: np.ndarray, part: int, among: np.ndarray, sizes: np.ndarray, drawn: np.ndarray) -> None:
    """Move the smallest unit of the first part, of equals the one that drew most, into a part; never the last one."""
    first = among[parts[among] == 0]
    if len(first) > 1:
        parts[first[np.lexsort((-drawn[first], sizes[first]))[0]]] = part


def _place(
    targets: np.ndarray,
    units: np.ndarray,
    mixed: np.ndarray,
    sizes: np.ndarray,
    drawn: np.ndarray,
    fractions: Sequence[float],
) -> np.ndarray:
    """Return the parts of units with several labels: each goes where the counts of labels come nearest to the plan."""
    rows = np.flatnonzero(np.isin(units, mixed))
    counts = np.zeros((len(mixed), int(targets.max()) + 1))
    np.add.at(counts, (np.searchsorted(mixed, units[rows]), targets[rows]), 1)
    totals = counts.sum(axis=0)
    weights = 1 / np.maximum(totals, 1)
    missing = np.outer(fractions, totals)  # (parts, labels)
    parts = np.zeros(len(mixed), np.int8)
    for unit in np.lexsort((drawn[mixed], -sizes[mixed])):
        # How much nearer the counts come to the plan, as the change of the squared distance.
        change = ((counts[unit] * (counts[unit] - 2 * missing)) * weights).sum(axis=1)
        change[[not fraction for fraction in fractions]] = np.inf
        parts[unit] = int(np.argmin(change))
        missing[parts[unit]] -= counts[unit]
    return parts
