"""How the public data sets are labelled: what their numbers mean, and how file names tell the person."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fervit.labels import AFFECTNET8, FER7, FERPLUS8, RAF7


def numbered(names: Sequence[str], start: int = 0) -> dict[str, str]:
    """Return the names by their number, as text.

    >>> numbered(("neutral", "happy"), 1)
    {'1': 'neutral', '2': 'happy'}
    """
    return {str(number): name for number, name in enumerate(names, start)}


@dataclass(frozen=True)
class Convention:
    """What a public data set's labels and file names mean.

    Attributes:
        name: the data set's name, for messages.
        numbers: a number, as text, to the expression; empty where the data set has names.
        left_out: numbers that stand for no expression, to what they stand for; their images are left out.
        subject: finds the person in a file's name, in its one group; None where names tell no person.
    """

    name: str
    numbers: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    subject: re.Pattern[str] | None = None


FER2013 = Convention("FER2013", numbered(FER7))
FERPLUS = Convention("FER+", numbered(FERPLUS8))
RAFDB = Convention("RAF-DB", numbered(RAF7, 1))
# Mollahosseini et al. 2017, section 3.2: the eleven discrete labels of the manually annotated part.
AFFECTNET = Convention(
    "AffectNet", numbered(AFFECTNET8), {"8": "none of the expressions", "9": "uncertain", "10": "no face"}
)
_CK_FILE = re.compile(r"^(S\d{3})_\d{3}_\d{8}")
# Lucey et al. 2010: the numbers in Emotion/S005/001/S005_001_00000011_emotion.txt.
CKPLUS = Convention(
    "CK+",
    numbered(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")),
    subject=_CK_FILE,
)
# Kaggle's ckextended.csv counts as FER2013 does, with contempt as 7.
CKPLUS_CSV = Convention("CK+", numbered((*FER7, "contempt")))
JAFFE = Convention("JAFFE", subject=re.compile(r"^([A-Za-z]{2})\.[A-Za-z]{2}\d\."))
# Zhang et al. 2018, readme of the Expression in-the-Wild data set.
EXPW = Convention("ExpW", numbered(FER7))
