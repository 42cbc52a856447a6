"""Faces worth looking at: the most confident errors and correct predictions, as contact sheets."""

import io

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.sheet import contact_sheet

FACES = 20
COLUMNS = 5
CELL_PX = 112  # wide enough for a caption such as "surprise > neutral 98 %"
TITLES = {
    "mistakes": "The most confident errors (label > prediction)",
    "right": "The most confident correct predictions of every expression",
}
"""What each contact sheet shows, by its name."""


def most_confident(probs: np.ndarray, targets: np.ndarray, *, correct: bool, count: int = FACES) -> np.ndarray:
    """Return the positions of the most confident correct (or wrong) predictions, in that order, at most `count`."""
    rows = np.flatnonzero((probs.argmax(axis=1) == targets) == correct)
    order: np.ndarray = rows[np.argsort(-probs[rows].max(axis=1), kind="stable")][:count]
    return order


def most_confident_of_each(probs: np.ndarray, targets: np.ndarray, *, count: int = FACES) -> np.ndarray:
    """Return the positions of the most confident correct predictions, the classes taking turns, at most `count`.

    Without turns they would nearly all show the easiest class.
    """
    rows = most_confident(probs, targets, correct=True, count=len(targets))
    turn = np.zeros(len(rows), np.int64)
    for target in np.unique(targets[rows]):
        own = targets[rows] == target
        turn[own] = np.arange(own.sum())
    return rows[np.lexsort((targets[rows], turn))][:count]


def sheets(probs: np.ndarray, part: Dataset) -> dict[str, bytes]:
    """Draw `mistakes` and `right`, PNG each; one without any face is left out.

    The caption of an error reads `truth > prediction`, with the probability of the prediction.

    Args:
        probs: `(N, K)`, columns in the order of `part.labels`.
        part: the images.
    """
    result = {}
    chosen = {
        "mistakes": most_confident(probs, part.targets, correct=False),
        "right": most_confident_of_each(probs, part.targets),
    }
    for name, rows in chosen.items():
        if not len(rows):
            continue
        captions = []
        for row in rows:
            truth, predicted = part.labels[part.targets[row]], part.labels[probs[row].argmax()]
            named = predicted if name == "right" else f"{truth} > {predicted}"
            captions.append(f"{named} {100 * probs[row].max():.0f} %")
        scale = CELL_PX / part.images.shape[2]
        buffer = io.BytesIO()
        contact_sheet(part.images[rows], columns=COLUMNS, scale=scale, captions=captions).save(buffer, "PNG")
        result[name] = buffer.getvalue()
    return result
