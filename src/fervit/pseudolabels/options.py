"""How faces are pseudo-labelled, and how many were."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from fervit.errors import ConfigError, is_count, is_number, quoted
from fervit.evaluation.prediction import check_tta


class PseudoKeywords(TypedDict, total=False):
    """The fields of `PseudoOptions` by name, for functions that pass them on."""

    min_confidence: float
    per_class: int | None
    tta: str | None
    crop: bool
    validation: float
    batch_size: int
    overwrite: bool
    progress: Callable[[int, int], None] | None


@dataclass(frozen=True)
class PseudoOptions:
    """How faces are pseudo-labelled.

    Attributes:
        min_confidence: faces are kept whose predicted label has this probability or more, 0..1.
        per_class: keep at most so many faces of each label, the most confident ones; None keeps all.
        tta: test-time augmentation, see `fervit.evaluation.prediction.TTA`.
        crop: the images are face crops already: nothing is detected.
        validation: fraction of the kept faces, drawn by a hash of their content, that becomes public_test, for a run
            on them alone; beside labelled data leave it at 0.
        batch_size: faces predicted at once.
        overwrite: replace the file, or a run to it that was ended.
        progress: called with photos done and photos in all.

    Raises:
        ConfigError: a value is out of its range.
    """

    min_confidence: float = 0.9
    per_class: int | None = None
    tta: str | None = None
    crop: bool = False
    validation: float = 0.0
    batch_size: int = 64
    overwrite: bool = False
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        check_tta(self.tta)
        if not is_number(self.min_confidence, 0, 1):
            raise ConfigError(f"expected min_confidence from 0 to 1, got {quoted(self.min_confidence)}")
        if not is_number(self.validation, 0, 0.9):
            raise ConfigError(f"expected a validation fraction from 0 to 0.9, got {quoted(self.validation)}")
        for name in ("per_class", "batch_size"):
            if getattr(self, name) is not None and not is_count(getattr(self, name)):
                raise ConfigError(f"expected {name} to be a whole number from 1, got {quoted(getattr(self, name))}")


@dataclass(frozen=True)
class PseudoCounts:
    """What became of the photos and their faces.

    Attributes:
        photos: how many there are.
        faces: found on them.
        kept: faces of each label that were written, in the order of the model's labels.
        below: faces whose confidence is too low.
        over: faces that `per_class` left out.
        without: photos without a face.
        failed: photos that could not be read.
        first_failure: the first of these, and why; or nothing.
        before: photos that an earlier run had done.
    """

    photos: int
    faces: int
    kept: Mapping[str, int]
    below: int
    over: int
    without: int
    failed: int
    first_failure: str = ""
    before: int = 0
