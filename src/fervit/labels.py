"""Label sets of the public data sets, in their own order, and the mappings between them."""

import difflib
import unicodedata
from collections.abc import Collection, Sequence

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

KNOWN = frozenset(name for names in LABEL_SETS.values() for name in names)
"""The canonical name of every expression that a public data set has."""

TYPO_LIKENESS = 0.8  # of difflib: `suprise` is 0.93 like `surprise`, `sad` is 0.67 like `bad`


def canonical(name: str) -> str:
    """Return the one spelling that fervit uses for an expression's name.

    >>> canonical(" Happiness ")
    'happy'
    """
    name = name.strip().lower()
    return SYNONYMS.get(name, name)


def as_known(labels: Sequence[str]) -> list[str]:
    """Return labels in fervit's spelling where they name expressions; all as they are where two would become one.

    >>> as_known(["Anger", "HAPPY", "bored"]), as_known(["joy", "happy"])
    (['angry', 'happy', 'bored'], ['joy', 'happy'])
    """
    spelt = [canonical(name) if canonical(name) in KNOWN else name for name in labels]
    return spelt if len(set(spelt)) == len(spelt) else list(labels)


def likely_typo(name: str) -> str | None:
    """Return the spelling of an expression that a label almost has; None where it has one, or is like none.

    >>> likely_typo("Suprise"), likely_typo("Joy"), likely_typo("bored")
    ('surprise', None, None)
    """
    if canonical(name) in KNOWN:
        return None
    near = difflib.get_close_matches(name.lower(), KNOWN | SYNONYMS.keys(), n=1, cutoff=TYPO_LIKENESS)
    return near[0] if near else None


def clean_label(text: str) -> str:
    r"""Return a label in one printable line: line breaks and control characters become blanks, others stay.

    >>> clean_label(" very\thappy\n")
    'very happy'
    """
    text = unicodedata.normalize("NFC", text).encode("utf-8", "backslashreplace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


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
    matrix = np.zeros((len(source), len(target)), dtype=np.float64)
    for row, column in enumerate(find_places(target, source)):
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
    places = find_places(own, wanted)
    if missing := [name for name, place in zip(wanted, places, strict=True) if place is None]:
        raise DataError(f"there is no label {', '.join(missing)} among {', '.join(own)}")
    return [place for place in places if place is not None]


def spelt_differently(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Return in words which labels are matched in spite of their spelling, or an empty text where none are.

    >>> spelt_differently(("angry", "happy"), ("anger", "happy", "fear"))
    'anger = angry'
    """
    pairs = [(name, place) for name, place in zip(theirs, find_places(ours, theirs), strict=True) if place is not None]
    return ", ".join(f"{name} = {ours[place]}" for name, place in pairs if name != ours[place])


def way_out(missing: Collection[str]) -> str:
    """Return what to do about labels of a data set that a model lacks, for the end of a message.

    >>> way_out(["contempt"])
    '--drop-labels contempt leaves its images out, --label-map contempt=NAME gives them another label'
    """
    names = sorted(missing)
    pairs = ",".join(f"{name}={likely_typo(name) or 'NAME'}" for name in names)
    its = "its" if len(names) == 1 else "their"
    return f"--drop-labels {','.join(names)} leaves {its} images out, --label-map {pairs} gives them another label"
