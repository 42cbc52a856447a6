"""Faces worth looking at: the surest mistakes and the surest right answers, as contact sheets."""

import io

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.sheet import contact_sheet

FACES = 20
COLUMNS = 5
CELL_PX = 112  # wide enough for a caption such as "surprise > neutral 98 %"


def surest(probs: np.ndarray, targets: np.ndarray, *, right: bool, count: int = FACES) -> np.ndarray:
    """Return the positions of the most certain right (or wrong) answers, surest first, at most `count`."""
    answers = probs.argmax(axis=1)
    rows = np.flatnonzero((answers == targets) == right)
    order: np.ndarray = rows[np.argsort(-probs[rows].max(axis=1), kind="stable")][:count]
    return order


def surest_of_each(probs: np.ndarray, targets: np.ndarray, *, count: int = FACES) -> np.ndarray:
    """Return the positions of the most certain right answers, the classes taking turns, at most `count`.

    Without turns they would nearly all show the easiest class.
    """
    rows = surest(probs, targets, right=True, count=len(targets))
    turn = np.zeros(len(rows), np.int64)
    for target in np.unique(targets[rows]):
        own = targets[rows] == target
        turn[own] = np.arange(own.sum())
    return rows[np.lexsort((targets[rows], turn))][:count]


def sheets(probs: np.ndarray, part: Dataset) -> dict[str, bytes]:
    """Draw `mistakes` and `right`, PNG each; one without any face is left out.

    A caption of a mistake reads `truth > answer`, with the answer's probability.

    Args:
        probs: `(N, K)`, columns in the order of `part.labels`.
        part: the pictures.
    """
    result = {}
    chosen = {"mistakes": surest(probs, part.targets, right=False), "right": surest_of_each(probs, part.targets)}
    for name, rows in chosen.items():
        if not len(rows):
            continue
        captions = []
        for row in rows:
            truth, answer = part.labels[part.targets[row]], part.labels[probs[row].argmax()]
            named = answer if name == "right" else f"{truth} > {answer}"
            captions.append(f"{named} {100 * probs[row].max():.0f} %")
        scale = CELL_PX / part.images.shape[2]
        buffer = io.BytesIO()
        contact_sheet(part.images[rows], columns=COLUMNS, scale=scale, captions=captions).save(buffer, "PNG")
        result[name] = buffer.getvalue()
    return result
