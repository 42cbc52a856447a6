"""What a run learns from and is validated on, from one or several data sets."""

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np

from fervit.config.training import TrainConfig
from fervit.data.dataset import PUBLIC_TEST, TRAIN
from fervit.data.mixtures.leaks import Leaks, find_leaks
from fervit.data.mixtures.mixture import Mixture
from fervit.errors import DataError
from fervit.training.mixed.record import describe_data
from fervit.training.run_folder import DataRecord
from fervit.training.targets import make_targets, training_rows
from fervit.training.teachers import LiveTeacher, Teacher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run learns from and is validated on.

    Attributes:
        train: the images to learn from.
        targets: `(N, K)` float32 rows that sum to 1, one for each of them, see `targets.make_targets`.
        validation: the images to choose the best epoch on.
        teacher: what predicts each augmented image, to be mixed into its target; None without a live teacher.
    """

    train: Mixture
    targets: np.ndarray
    validation: Mixture
    teacher: LiveTeacher | None = None

    def without_pixels(self) -> "TrainingData":
        """Return the same with no image to learn from in memory; each part still says its size and channels."""
        parts = tuple(dataclasses.replace(part, images=part.images[:0]) for part in self.train.parts)
        return dataclasses.replace(self, train=dataclasses.replace(self.train, parts=parts))


def prepare(data: Mixture, config: TrainConfig, teacher: Teacher | None) -> tuple[TrainingData, DataRecord]:
    """Return the images to learn from with their targets, those to validate on, and what `run.json` says of them.

    What `drop_leaks` leaves out is logged.

    Raises:
        DataError: there is no train or no public_test split, nothing is left to learn from, or all images have one
            label.
    """
    train_set, val_set = data.split(TRAIN), data.split(PUBLIC_TEST)
    leaks = find_leaks(data) if drops_leaks(config, data) else None
    if leaks is not None:
        _report(leaks, train_set)
    rows = training_rows(train_set, config, leaks=None if leaks is None else leaks.rows)
    occurring = np.unique(np.concatenate([train_set.targets[rows], val_set.targets]))
    if len(occurring) == 1:
        raise DataError(
            f"{data.name}: all images to learn from and to validate on have the label "
            f"{data.labels[occurring[0]]}; expected images of two or more labels"
        )
    kept = np.zeros(len(train_set), bool)
    kept[rows] = True
    record = describe_data(data, kept, leaks)
    predictions = None if teacher is None else teacher.predictions
    targets = make_targets(train_set, config, predictions)[rows]
    if len(rows) < len(train_set):
        train_set = train_set.take(rows)
    live = predictions if isinstance(predictions, LiveTeacher) else None
    return TrainingData(train_set, targets, val_set, live), record


def drops_leaks(config: TrainConfig, data: Mixture) -> bool:
    """Return whether training images that stand in an evaluation split are left out; see `TrainConfig.drop_leaks`."""
    return config.drop_leaks == "true" or (config.drop_leaks == "auto" and len(data.parts) > 1)


def _report(leaks: Leaks, train_set: Mixture) -> None:
    """Log how many images of each data set are left out."""
    for name, part, equal, near in zip(train_set.part_names, train_set.parts, leaks.equal, leaks.near, strict=True):
        logger.warning(
            "%s: drop_leaks leaves out %s of %s train images, which stand in an evaluation split (%s equal, %s nearly)",
            name,
            *(f"{count:,}" for count in (int((equal | near).sum()), len(part), int(equal.sum()), int(near.sum()))),
        )
