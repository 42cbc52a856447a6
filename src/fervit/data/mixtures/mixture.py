"""`Mixture`: data sets with the same labels, to learn from together, each with its own size of image."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from fervit.data.dataset import SPLITS, Dataset
from fervit.errors import DataError, unknown
from fervit.licences import Licence, union


@dataclass(frozen=True, eq=False, repr=False)
class Mixture:
    """Data sets that are trained on together.

    Its rows are those of its parts, one part after the other.

    Attributes:
        parts: the data sets, with the same labels in the same order.
        weights: of each part, how often its images are drawn relative to their number; 1 is as they come.

    Raises:
        DataError: there is no part, or the labels of two parts differ.
    """

    parts: tuple[Dataset, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights):
            raise DataError(f"expected a weight for each of one or more data sets, got {len(self.weights)} weights")
        for part in self.parts:
            if part.labels != self.labels:
                raise DataError(
                    f"{part.name} has the labels {', '.join(part.labels)}, and {self.parts[0].name} "
                    f"{', '.join(self.labels)}; expected the same ones in the same order"
                )

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __repr__(self) -> str:
        """Return a line for each part: the default would print megabytes of pixels in a notebook."""
        return "Mixture(" + ",\n        ".join(f"{part!r} @ {w:g}" for part, w in self.weighted) + ")"

    @property
    def part_names(self) -> tuple[str, ...]:
        """A name for each part that no other part has: a second `train.csv` is `train.csv (2)`."""
        names = [part.name for part in self.parts]
        before = [names[:k].count(name) for k, name in enumerate(names)]
        return tuple(f"{name} ({count + 1})" if count else name for name, count in zip(names, before, strict=True))

    @property
    def weighted(self) -> tuple[tuple[Dataset, float], ...]:
        """The parts, each with its weight."""
        return tuple(zip(self.parts, self.weights, strict=True))

    @property
    def name(self) -> str:
        """The names of the parts, joined by ` + `."""
        return " + ".join(part.name for part in self.parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The K label names, which all parts have."""
        return self.parts[0].labels

    @property
    def targets(self) -> np.ndarray:
        """The class index of each row, `(N,)` int64."""
        return np.concatenate([part.targets for part in self.parts])

    @property
    def data_hash(self) -> str:
        """Hex digest over the content and the weight of all parts; a single part's own where its weight is 1."""
        if self.weights == (1.0,):
            return self.parts[0].data_hash
        digest = hashlib.sha256()
        for part, weight in self.weighted:
            digest.update(f"{part.data_hash} {weight!r}\n".encode())
        return digest.hexdigest()

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The licences of all parts, each once."""
        return union(*(part.licences for part in self.parts))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about each part that its owner may not expect, after the part's name."""
        return tuple(f"{part.name}: {note}" for part in self.parts for note in part.notes)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that at least one part has, in `SPLITS` order."""
        present = {name for part in self.parts for name in part.split_names}
        return tuple(name for name in SPLITS if name in present)

    def cut(self, rows: np.ndarray) -> list[np.ndarray]:
        """Cut an array `(N, ...)` with an entry for each row into one array for each part."""
        ends = np.cumsum([len(part) for part in self.parts])[:-1]
        return np.split(rows, ends)

    def split(self, name: str) -> "Mixture":
        """Return one split of the parts that have it.

        Raises:
            DataError: there is no such split, or it is empty in all parts.
        """
        if name not in SPLITS:
            raise DataError(unknown("split", name, SPLITS))
        kept = [(part.split(name), weight) for part, weight in self.weighted if name in part.split_names]
        if not kept:
            raise DataError(f"{self.name} has no {name} images (it has: {', '.join(self.split_names) or 'none'})")
        return Mixture(tuple(part for part, _ in kept), tuple(weight for _, weight in kept))

    def joined(self) -> Dataset:
        """Return the labels of all rows as one data set, for figures over them; its images are empty, of no pixels.

        A single part is returned as it is. Votes are those of the parts that have any, all-zero for the others.
        """
        if len(self.parts) == 1:
            return self.parts[0]
        votes = None
        if any(part.votes is not None for part in self.parts):
            none = (np.zeros((len(part), len(self.labels)), np.float32) for part in self.parts)
            votes = np.concatenate(
                [zero if part.votes is None else part.votes for zero, part in zip(none, self.parts, strict=True)]
            )
        return Dataset(
            name=self.name,
            labels=self.labels,
            images=np.zeros((len(self), 0, 0, 1), np.uint8),
            targets=self.targets,
            split_ids=np.concatenate([part.split_ids for part in self.parts]),
            rows=np.arange(len(self)),
            data_hash=self.data_hash,
            votes=votes,
            notes=self.notes,
        )

    def take(self, rows: np.ndarray) -> "Mixture":
        """Return the rows that ascending indices or a boolean mask `(N,)` select; parts without any are left out."""
        chosen = np.zeros(len(self), bool)
        chosen[rows] = True
        masks = self.cut(chosen)
        kept = [
            (part if mask.all() else part.take(mask), weight)
            for (part, weight), mask in zip(self.weighted, masks, strict=True)
            if mask.any()
        ]
        return replace(self, parts=tuple(part for part, _ in kept), weights=tuple(weight for _, weight in kept))


def as_mixture(data: Dataset | Mixture) -> Mixture:
    """Return a mixture as it is, and a data set as the only part of one."""
    return data if isinstance(data, Mixture) else Mixture((data,), (1.0,))
