"""The terms that data sets may be used under, and which of them a model carries that has learnt from them.

A licence travels: from a data set to the model that learns from it, on to its exports, to the ensembles it is a member
of, to the students it teaches, to what is fine-tuned from it, and to the labels it gives. `ModelSpec.trained_on` has
them all. What is not known is said to be unknown; nothing is guessed from a name that anybody may give.

The terms were taken from the publishers' own statements, which `Licence.statement` names. This is no legal advice.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fervit.errors import ConfigError, ModelError, quoted

log = logging.getLogger(__name__)

UNKNOWN = "terms unknown"
AND = " AND "  # SPDX's operator: all of them apply
MAX_TERMS = 200  # characters
# Words by which terms exclude commercial use: Creative Commons' NC, and how publishers of faces put it.
NON_COMMERCIAL = re.compile(
    r"non[- ]?commercial|\bcc[- ]by[- ]nc\b|\bnc\b|\b(?:research|academic|educational)(?: use| purposes?)? only\b",
    re.IGNORECASE,
)
NOT_STATED = frozenset({"", UNKNOWN, "unknown", "not stated", "other", "none stated", "?"})


@dataclass(frozen=True)
class Licence:
    """The terms of one data set.

    Attributes:
        name: of the data set, such as `RAF-DB`.
        terms: as SPDX, or in words; empty where they are not known.
        non_commercial: whether they exclude commercial use.
        statement: where the terms are stated: an address or a citation.
    """

    name: str
    terms: str = ""
    non_commercial: bool = False
    statement: str = ""

    @property
    def known(self) -> bool:
        """Whether the terms are known."""
        return bool(self.terms)

    def __str__(self) -> str:
        return f"{self.name}: {self.terms or UNKNOWN}"

    def described(self) -> str:
        """Return name and terms, and in brackets where they are stated."""
        return f"{self} ({self.statement})" if self.statement else str(self)


_RESEARCH = "non-commercial research only"
KNOWN = {
    "rafdb": Licence("RAF-DB", _RESEARCH, True, "http://www.whdeng.cn/raf/model1.html"),
    "affectnet": Licence("AffectNet", _RESEARCH, True, "http://mohammadmahoor.com/affectnet/"),
    "expw": Licence("ExpW", _RESEARCH, True, "http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/"),
    "ckplus": Licence("CK+", _RESEARCH, True, "Lucey et al. 2010, and the agreement that its users sign"),
    "jaffe": Licence("JAFFE", "non-commercial scientific research only", True, "https://zenodo.org/record/3451524"),
    "fer2013": Licence(
        "FER2013",
        "made for research, no further terms are stated",
        False,
        "Goodfellow et al. 2013, arXiv 1307.0414",
    ),
    "ferplus": Licence("FER+", "MIT", False, "https://github.com/microsoft/FERPlus"),
    "synthetic": Licence("synthetic faces", "no restrictions, drawn by fervit", False, "fervit data synth"),
}
"""Data sets whose terms are known, by the name of their form."""

_BY_FORM: dict[str, tuple[Licence, ...]] = {key: (licence,) for key, licence in KNOWN.items()}
for _form in ("ferplus", "ferplus-votes"):  # FER2013's images with FER+'s labels
    _BY_FORM[_form] = (KNOWN["fer2013"], KNOWN["ferplus"])

_BY_NAME = {licence.name.lower(): licence for licence in KNOWN.values()} | {key: KNOWN[key] for key in KNOWN}

BY_HASH = {
    "d534a5df92bbbdf150675958201cc12c3cc4c4bcd0a6a90732d7c6abbd364344": KNOWN["fer2013"],  # fer2013.csv
    "eb5f104839d08b3aa36a67efbbb3d91e041b9adb2c26abf28e9ff826849652d9": KNOWN["rafdb"],  # its training part, at 224 px
    "51b70c0d2e2a74595f549110721fa13d587f06b8ac98c89ee6e0ec56e8e8b60f": KNOWN["rafdb"],  # the same at its own 100 px
}
"""Data sets that are recognised by their content (`Dataset.data_hash`), whatever their files are called."""

# How the files of data sets are called that nobody else calls so. FER2013's are those on Kaggle; fervit's own are .png.
BY_FILE = {
    "rafdb": re.compile(r"(?:train|test)_\d{4,5}_aligned\.(?:jpe?g|png)"),
    "jaffe": re.compile(r"[A-Z]{2}\.(?:AN|DI|FE|HA|NE|SA|SU)\d\.\d{1,3}\.tiff?"),
    "ckplus": re.compile(r"S\d{3}_\d{3}_\d{8}\.png"),
    "fer2013": re.compile(r"(?:Training|PublicTest|PrivateTest)_\d+\.jpe?g"),
}


def recognised(form: str, data_hash: str, files: Iterable[str]) -> tuple[Licence, ...]:
    """Return the licences of the data sets that a data set is, or has images of.

    Args:
        form: the reader that took it, such as `rafdb`.
        data_hash: of its content.
        files: the names of its images, with or without folders. One that RAF-DB alone has makes it RAF-DB's.
    """
    found = dict.fromkeys(_BY_FORM.get(form, ()))
    if data_hash in BY_HASH:
        found[BY_HASH[data_hash]] = None
    names = [file.replace("\\", "/").rpartition("/")[2] for file in files]
    for key, pattern in BY_FILE.items():
        if any(pattern.fullmatch(name) for name in names):
            found[KNOWN[key]] = None
    return tuple(found)


def check_terms(text: str) -> str:
    """Return terms that a user names, without blanks around them.

    Raises:
        ConfigError: they are empty, too long, or no printable line.
    """
    terms = text.strip()
    if not terms or not terms.isprintable() or len(terms) > MAX_TERMS:
        raise ConfigError(
            f"expected a licence of 1 to {MAX_TERMS} characters in one line, such as CC-BY-4.0 or 'my own photos'; "
            f"got {quoted(text)}"
        )
    return terms


def read_licences(text: str, name: str) -> tuple[Licence, ...]:
    """Read what `as_text` wrote, or terms alone; a data set whose terms are known has those.

    >>> [licence.non_commercial for licence in read_licences("RAF-DB AND faces: CC-BY-4.0", "mixed")]
    [True, False]
    >>> read_licences("", "faces")
    (Licence(name='faces', terms='', non_commercial=False, statement=''),)

    Args:
        text: see `Dataset.licence`.
        name: of the data set that terms without a name are of.
    """
    return union([_read_one(part.strip(), name) for part in text.split(AND)])


def _read_one(text: str, name: str) -> Licence:
    before, colon, after = text.partition(": ")
    if known := _BY_NAME.get((before if colon else text).strip().lower()):
        return known
    if colon:
        name, text = before.strip(), after.strip()
    terms = "" if text.lower() in NOT_STATED else text[:MAX_TERMS]
    return Licence(name, terms, bool(NON_COMMERCIAL.search(terms)))


def as_text(licences: Iterable[Licence]) -> str:
    """Return licences as `Dataset.licence` has them; `read_licences` reads them back."""
    return AND.join(dict.fromkeys(map(str, licences)))


def union(*groups: Iterable[Licence]) -> tuple[Licence, ...]:
    """Return the licences of all groups, each once, in their order; one that says more than another stands for it."""
    every = list(dict.fromkeys(licence for group in groups for licence in group))
    stated = {licence.name for licence in every if licence.known}
    return tuple(licence for licence in every if licence.known or licence.name not in stated)


def non_commercial(licences: Iterable[Licence]) -> tuple[Licence, ...]:
    """Return those that exclude commercial use."""
    return tuple(licence for licence in licences if licence.non_commercial)


def unknown_terms(licences: Iterable[Licence]) -> tuple[Licence, ...]:
    """Return those whose terms are not known."""
    return tuple(licence for licence in licences if not licence.known)


def licences_of(values: Mapping[str, object]) -> tuple[Licence, ...]:
    """Return what the JSON object of a `ModelSpec` says that the model was trained on; it was checked before.

    A model from before there were licences has the hash of its data, by which FER2013's and RAF-DB's are known.
    """
    entries = values.get("trained_on")
    if isinstance(entries, Sequence) and entries:
        return tuple(Licence(**entry) for entry in entries)
    known = BY_HASH.get(str(values.get("data_hash") or ""))
    return () if known is None else (known,)


def check_commercial(model: str, licences: Sequence[Licence]) -> None:
    """Refuse a model for commercial use that has learnt from data whose terms exclude it.

    Raises:
        ModelError: it has; the message names the data and where its terms are stated.
    """
    if found := non_commercial(licences):
        raise ModelError(
            f"{model} was trained on {'; '.join(licence.described() for licence in found)}: expected a model without "
            "such data for commercial use; train without it, or export without --commercial for research"
        )


_said: set[str] = set()


def say_non_commercial(model: str, licences: Iterable[Licence]) -> None:
    """Log, once in a process for each model, that what a model was trained on excludes commercial use."""
    found = "; ".join(map(str, non_commercial(licences)))
    if found and (line := f"{model}: trained on {found}") not in _said:
        _said.add(line)
        log.warning("%s", line)
