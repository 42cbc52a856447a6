"""What the face detector costs: on how many photos it found a face, and the accuracy over all photos."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from fervit.data.dataset import Dataset
from fervit.errors import DataError
from fervit.evaluation.intervals import Proportion


class DetectionJson(TypedDict):
    """`Detection` in report.json."""

    detector: str
    photos: int
    found: int
    found_fraction: float
    found_ci95: list[float]
    several_faces: int
    accuracy_over_all: float
    accuracy_over_all_ci95: list[float]
    not_found: dict[str, int]
    missed: list[str]


@dataclass(frozen=True)
class Detection:
    """How the faces of the photos were found that a model was measured on.

    Attributes:
        detector: the detector's name.
        found: photos on which a face was found, of all.
        accuracy: correct predictions among all photos, where one without a face counts as wrong.
        several: photos with several faces, of which the largest was taken.
        not_found: label to the number of its photos on which no face was found; only those that have some.
        missed: the names of these photos.
    """

    detector: str
    found: Proportion
    accuracy: Proportion
    several: int
    not_found: Mapping[str, int]
    missed: tuple[str, ...]

    def to_dict(self) -> DetectionJson:
        """Return the JSON object."""
        return {
            "detector": self.detector,
            "photos": self.found.count,
            "found": self.found.correct,
            "found_fraction": self.found.value,
            "found_ci95": list(self.found.ci95),
            "several_faces": self.several,
            "accuracy_over_all": self.accuracy.value,
            "accuracy_over_all_ci95": list(self.accuracy.ci95),
            "not_found": dict(self.not_found),
            "missed": list(self.missed),
        }

    @classmethod
    def from_dict(cls, data: DetectionJson) -> "Detection":
        """Read what `to_dict` returned."""
        return cls(
            detector=data["detector"],
            found=Proportion(data["found"], data["photos"]),
            accuracy=Proportion.from_value(data["accuracy_over_all"], data["photos"]),
            several=data["several_faces"],
            not_found=data["not_found"],
            missed=tuple(data["missed"]),
        )


def measure_detection(photos: Dataset, correct: int) -> Detection | None:
    """Return how the faces of one split's photos were found; None where nothing was detected.

    Args:
        photos: one split, with the photos without a face.
        correct: how many of the others are predicted correctly.

    Raises:
        DataError: there is no face on any photo.
    """
    if photos.face_counts is None:
        return None
    gone = photos.face_counts == 0
    if gone.all():
        raise DataError(
            f"{photos.name}: no face was found on any of {len(photos):,} photos; leave --detect out where the images "
            "are face crops already"
        )
    counts = np.bincount(photos.targets[gone], minlength=len(photos.labels)).tolist()
    return Detection(
        detector=photos.detector,
        found=Proportion(int((~gone).sum()), len(photos)),
        accuracy=Proportion(correct, len(photos)),
        several=int((photos.face_counts > 1).sum()),
        not_found={name: count for name, count in zip(photos.labels, counts, strict=True) if count},
        missed=photos.with_faces().missed if gone.any() else (),
    )
