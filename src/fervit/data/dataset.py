"""`Dataset`: images of one size in memory or memory-mapped, with targets, splits and a content hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from fervit.errors import DataError, unknown
from fervit.licences import Licence, as_text, check_terms, read_licences, recognised, union, unknown_terms

TRAIN, PUBLIC_TEST, PRIVATE_TEST = "train", "public_test", "private_test"
SPLITS = (TRAIN, PUBLIC_TEST, PRIVATE_TEST)
"""FER2013's splits: train, validation (choose on it), test (read once)."""
ALL = "all"
"""In place of a split: every image of a data set."""


def split_words(split: str) -> str:
    """Return a split as texts name it after the data set."""
    return "all images" if split == ALL else split


@dataclass(frozen=True)
class Codes:
    """Labels that are numbers or truth values in a source, and no names.

    Attributes:
        names: those that have a name by the convention of the source's form, as FER2013's numbers in its csv.
        nameless: the others, with the place of the first of each, for messages.
        counted_by: the data set whose convention that is, for messages.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    nameless: Mapping[str, str] = field(default_factory=dict)
    counted_by: str = "FER2013"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Face crops with their labels.

    Attributes:
        name: what it was loaded from, for messages and reports.
        labels: K label names.
        images: `(N, H, W, C)` uint8, C = 1 (grey) or 3 (RGB); usually memory-mapped.
        targets: `(N,)` int64 class indices.
        split_ids: `(N,)` int8 indices into `SPLITS`.
        rows: `(N,)` int64 row numbers in the source (csv order for FER2013).
        data_hash: hex digest over images, labels and splits of the whole source, the same for every form
            in which the same data circulates in the same order.
        votes: `(N, K)` float32 rows that sum to 1 (FER+ human votes), all-zero where there are none; or None.
        sources: `(N,)` file names or ids, for messages; or None.
        skipped: names of the source's images that could not be read; they have no row here.
        notes: what was decided about the source that its owner may not expect, a sentence each; `load` logs them.
        codes: which labels are numbers or truth values in the source. Empty in what `load` returns: they are named by
            then, or refused.
        subjects: the person on each image, empty where the source does not say who it is; or None where it names none.
        licence: the terms that the images may be used under, as SPDX or in words; empty where nothing is known. Those
            of several data sets stand behind their names, joined by ` AND `: see `licences`.
        drawn_splits: whether fervit divided the images, since the source names no split.
        face_counts: `(N,)` int64 faces that were found on each photo, of which the largest is the image; 0 where there
            is none, and the image is black. None where nothing was detected.
        missed: names of photos on which no face was found, and which have no row here.
        detector: name of the detector that found the faces; empty where nothing was detected.

    Raises:
        DataError: two labels are the same, or one is no printable line.
    """

    name: str
    labels: tuple[str, ...]
    images: np.ndarray
    targets: np.ndarray
    split_ids: np.ndarray
    rows: np.ndarray
    data_hash: str
    votes: np.ndarray | None = None
    sources: Sequence[str] | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    codes: Codes = Codes()
    subjects: Sequence[str] | None = None
    licence: str = ""
    drawn_splits: bool = False
    face_counts: np.ndarray | None = None
    missed: tuple[str, ...] = ()
    detector: str = ""

    def __post_init__(self) -> None:
        if twice := sorted({name for name in self.labels if self.labels.count(name) > 1}):
            raise DataError(f"{self.name} has the label {twice[0]!r} twice; expected names that differ")
        if odd := [name for name in self.labels if not name or not name.isprintable()]:
            raise DataError(f"{self.name} has the label {odd[0]!r}; expected printable names in one line")

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        """Return one line with name, sizes and splits: the default would print megabytes of pixels in a notebook."""
        counts = np.bincount(self.split_ids, minlength=len(SPLITS))
        splits = ", ".join(f"{name} {count}" for name, count in zip(SPLITS, counts, strict=True) if count)
        shape = "x".join(map(str, self.images.shape[1:]))
        size = f"{len(self)} images of {shape}, {len(self.labels)} labels"
        return f"Dataset({self.name!r}: {size}; {splits or 'empty'})"

    @property
    def licences(self) -> tuple[Licence, ...]:
        """What `licence` says of each data set that the images are from; terms that nobody stated are unknown ones."""
        return read_licences(self.licence, self.name)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that hold at least one image, in `SPLITS` order."""
        present = set(np.unique(self.split_ids).tolist())
        return tuple(name for k, name in enumerate(SPLITS) if k in present)

    def licensed(self, form: str, terms: str | None = None) -> "Dataset":
        """Return the same images with the licences of the data sets that they are recognised as.

        Args:
            form: the reader that took the data set, such as `rafdb`.
            terms: those that the user names, for what nobody else states terms of.

        Raises:
            ConfigError: `terms` are empty, too long or no printable line.
        """
        found = recognised(form, self.data_hash, self.sources or ())
        stated = [each for each in self.licences if each.known or not found]
        if found:  # what is known of a data set says more than the words of its reader
            stated = [each for each in stated if each.name != self.name]
        licences, notes = union(found, stated), self.notes
        if terms is not None:
            terms = check_terms(terms)
            if missing := unknown_terms(licences):
                given = [read_licences(terms, each.name)[0] for each in missing]
                licences = union([each for each in licences if each.known], given)
            else:
                notes = (*notes, f"the licence {terms!r} is not taken: its terms are known, {as_text(licences)}")
        nothing = licences == (Licence(self.name),)
        return replace(self, licence="" if nothing else as_text(licences), notes=notes)

    def take(self, index: ArrayLike) -> "Dataset":
        """Return the rows that `index` (indices or a boolean mask) selects."""
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        elif not index.size:  # numpy reads an empty list as one of floats
            index = index.astype(np.int64)
        return replace(
            self,
            images=self.images[index],
            targets=self.targets[index],
            split_ids=self.split_ids[index],
            rows=self.rows[index],
            votes=None if self.votes is None else self.votes[index],
            sources=None if self.sources is None else [self.sources[int(i)] for i in index],
            subjects=None if self.subjects is None else [self.subjects[int(i)] for i in index],
            face_counts=None if self.face_counts is None else self.face_counts[index],
        )

    def with_faces(self) -> "Dataset":
        """Return the rows whose face was found: all, where nothing was detected; the others are named in `missed`."""
        if self.face_counts is None or self.face_counts.all():
            return self
        gone = np.flatnonzero(self.face_counts == 0)
        names = tuple(f"row {self.rows[k]}" if self.sources is None else self.sources[int(k)] for k in gone)
        return replace(self.take(self.face_counts > 0), missed=(*self.missed, *names))

    def with_labels(self, labels: Sequence[str]) -> "Dataset":
        """Return the same images with more labels, or with the same ones in another order.

        Raises:
            DataError: one of its own labels is missing.
        """
        if tuple(labels) == self.labels:
            return self
        if missing := [name for name in self.labels if name not in labels]:
            raise DataError(f"{self.name} has the label {missing[0]}, which is not among {', '.join(labels)}")
        places = np.array([labels.index(name) for name in self.labels], dtype=np.int64)
        votes = None
        if self.votes is not None:
            votes = np.zeros((len(self), len(labels)), dtype=self.votes.dtype)
            votes[:, places] = self.votes
        return replace(self, labels=tuple(labels), targets=places[self.targets], votes=votes)

    def split(self, name: str) -> "Dataset":
        """Return one split; `all` is every image.

        Raises:
            DataError: there is no such split, or it is empty.
        """
        if name == ALL:
            if not len(self):
                raise DataError(f"{self.name} has no images")
            return self
        if name not in SPLITS:
            raise DataError(unknown("split", name, (*SPLITS, ALL)))
        chosen = np.flatnonzero(self.split_ids == SPLITS.index(name))
        if not len(chosen):
            raise DataError(f"{self.name} has no {name} images (it has: {', '.join(self.split_names) or 'none'})")
        first, last = int(chosen[0]), int(chosen[-1]) + 1
        if last - first == len(chosen):  # contiguous: keep views of the memory map
            return replace(
                self,
                images=self.images[first:last],
                targets=self.targets[first:last],
                split_ids=self.split_ids[first:last],
                rows=self.rows[first:last],
                votes=None if self.votes is None else self.votes[first:last],
                sources=None if self.sources is None else self.sources[first:last],
                subjects=None if self.subjects is None else self.subjects[first:last],
                face_counts=None if self.face_counts is None else self.face_counts[first:last],
            )
        return self.take(chosen)
