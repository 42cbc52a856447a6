"""Label sets of the public data sets, in their own order, and the mappings between them."""

from collections.abc import Sequence

import numpy as np

from fervit.errors import DataError

# FER2013 (Goodfellow et al. 2013): the integer in the csv's `emotion` column is the index here.
FER7 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
# FER+ (Barsoum et al. 2016): the columns of fer2013new.csv without `unknown` and `NF`, in csv order.
FERPLUS8 = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
# RAF-DB (Li et al. 2017): label 1 in its list file is index 0 here.
RAF7 = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
# AffectNet (Mollahosseini et al. 2017).
AFFECTNET8 = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")

LABEL_SETS: dict[str, tuple[str, ...]] = {
    "fer7": FER7,
    "ferplus8": FERPLUS8,
    "raf7": RAF7,
    "affectnet8": AFFECTNET8,
}

# Spellings that circulate in folder names and csv headers.
SYNONYMS = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


def canonical(name: str) -> str:
    """Return the one spelling that fervit uses for an expression's name.

    >>> canonical(" Happiness ")
    'happy'
    """
    name = name.strip().lower()
    return SYNONYMS.get(name, name)


def find_places(own: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """Return the position of each of the `wanted` labels among `own`, None where there is none.

    A label of exactly that name comes first; else one that means the same (`canonical`).

    >>> find_places(("joy", "happy", "anger"), ("happy", "angry", "fear"))
    [1, 2, None]
    """
    alike = {canonical(name): k for k, name in reversed(list(enumerate(own)))}
    exact = {name: k for k, name in enumerate(own)}
    return [exact.get(name, alike.get(canonical(name))) for name in wanted]


def mapping_matrix(source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Return the `(len(source), len(target))` 0/1 matrix that maps distributions by label name.

    Probability of labels that `target` lacks is dropped: renormalise the rows afterwards.

    Raises:
        DataError: the two label sets have no name in common.
    """
    index = {canonical(name): k for k, name in enumerate(target)}
    matrix = np.zeros((len(source), len(target)), dtype=np.float64)
    for row, name in enumerate(source):
        column = index.get(canonical(name))
        if column is not None:
            matrix[row, column] = 1.0
    if not matrix.any():
        raise DataError(f"no label in common between {', '.join(source)} and {', '.join(target)}")
    return matrix


def label_places(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the position of each of the `wanted` labels among `own`, by name whatever its spelling.

    Raises:
        DataError: one of them is missing.
    """
    places = {canonical(name): k for k, name in enumerate(own)}
    if missing := [name for name in wanted if canonical(name) not in places]:
        raise DataError(f"there is no label {', '.join(missing)} among {', '.join(own)}")
    return [places[canonical(name)] for name in wanted]
