"""Which images of a data set a model is measured on: the split, and those whose labels the model knows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fervit.data.dataset import ALL, PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.data.labelling.matching import leave_out_unknown, match_models
from fervit.errors import DataError, quoted, unknown
from fervit.evaluation.photos.detection import measure_detection
from fervit.types import ModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Part:
    """The images that models are measured on.

    Attributes:
        images: of the split, with the labels that the models are measured in.
        split: `train`, `public_test`, `private_test` or `all`.
        kept: `(n,)` bool: which images of the split these are; the others have labels that a model lacks.
        left_out: label to the number of its images that are left out.
        photos: the images with the photos on which no face was found; the same as `images` where nothing was detected.
    """

    images: Dataset
    split: str
    kept: np.ndarray
    left_out: Mapping[str, int]
    photos: Dataset


def learned_from(spec: ModelSpec, dataset: Dataset) -> bool:
    """Tell whether a model says that it was trained on this data set, alone or as one of several.

    The hash of several is of all of them together, so that one of them is known by its name.
    """
    if spec.data_hash and spec.data_hash == dataset.data_hash:
        return True
    figures = spec.metrics.get(PUBLIC_TEST)
    sources = figures.get("sources") if isinstance(figures, Mapping) else None
    named = sources if isinstance(sources, list) else []
    return any(isinstance(source, Mapping) and source.get("name") == dataset.name for source in named)


def choose_split(dataset: Dataset, split: str | None, specs: Sequence[ModelSpec] = (), *, instead: bool = False) -> str:
    """Return what of a data set is measured.

    Without a wish, that is `public_test`; all of a set whose source names no split, unless a model was trained on its
    train part; and all of a set that is one split.

    Args:
        dataset: the whole data set.
        split: a split, `all`, or None.
        specs: of the models that are measured.
        instead: whether a set that is one split, and not the wanted one, is measured all the same. One of several data
            sets may have other splits than the others.

    Raises:
        DataError: there is no such split, or it is empty.
    """
    if split is not None and not isinstance(split, str):
        raise DataError(f"expected a split, one of {', '.join((*SPLITS, ALL))}, got {quoted(split)}")
    if split is not None and split not in (*SPLITS, ALL):
        raise DataError(unknown("split", split, (*SPLITS, ALL)))
    if split is None and dataset.drawn_splits and not any(learned_from(spec, dataset) for spec in specs):
        return ALL
    wanted = split or PUBLIC_TEST
    if (split is None or instead) and wanted != ALL and len(dataset.split_names) == 1:
        return dataset.split_names[0]
    dataset.split(wanted)
    return wanted


def say_split(dataset: Dataset, split: str, wanted: str | None) -> None:
    """Log which split is measured, where its owner may not expect it."""
    if split == (wanted or PUBLIC_TEST):
        return
    count = len(dataset.split(split))
    if split == ALL:
        why = f"it names no split, so all {count:,} images are measured (--split public_test takes a tenth of them)"
    else:
        why = f"there is no {wanted or PUBLIC_TEST} part, so its {count:,} {split} images are measured, all that it has"
    log.warning("%s: %s", dataset.name, why)


def find_part(dataset: Dataset, specs: Sequence[ModelSpec], *, split: str, strict_labels: bool = False) -> Part:
    """Return the images of a split that models can be measured on.

    Args:
        dataset: the whole data set.
        specs: of the models; they are measured on the same images.
        split: what `choose_split` returned.
        strict_labels: leave out nothing, so that predicting labels that a model lacks is refused.

    Raises:
        DataError: there is no such split, or it has one label.
    """
    models, part = [spec.labels for spec in specs], dataset.split(split)
    images, left_out = (part, {}) if strict_labels else leave_out_unknown(part, *models)
    kept = np.isin(part.targets, [k for k, name in enumerate(part.labels) if name not in left_out])
    if left_out:
        gone = ", ".join(f"{name} ({count:,})" for name, count in left_out.items())
        log.warning(
            "%s: images whose label a model does not know are left out: %s of %d; --strict-labels refuses them",
            *(dataset.name, gone, len(part)),
        )
    photos = replace(match_models(images, *models), data_hash=dataset.data_hash)
    measure_detection(photos, 0)  # where there is no face at all, that is said
    if part.face_counts is not None:
        kept &= part.face_counts > 0
    return Part(photos.with_faces(), split, kept, left_out, photos)


def leaks_in(dataset: Dataset, part: Part, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Return which of the measured images earlier splits have too, see `leak_masks`.

    Nothing is known of all images of a set that fervit divided and the model was not trained on.
    """
    if part.split == ALL and dataset.drawn_splits and not learned_from(spec, dataset):
        return {}
    return {name: mask[part.kept] for name, mask in leak_masks(dataset, part.split).items()}


def leak_mask(dataset: Dataset, split: str) -> np.ndarray | None:
    """Return which images of `split` the train split has too, pixel for pixel, `(n,)` bool.

    None when there is nothing to compare: no train split, or it is the one that is named.
    """
    return leak_masks(dataset, split).get(TRAIN)


def leak_masks(dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    """Return which images of `split` each earlier split has too, pixel for pixel: its name to `(n,)` bool.

    Of all images, these are those of the train split, and those of other splits that it has too.
    """
    before = SPLITS.index(split) if split in SPLITS else 1
    earlier = [name for name in SPLITS[:before] if name in dataset.split_names]
    if not earlier or dataset.split_names == (TRAIN,):
        return {}
    from fervit.data.audit import duplicate_groups, exact_leaks

    groups = duplicate_groups(dataset.images)
    masks = {name: exact_leaks(dataset, seen=(name,), groups=groups) for name in earlier}
    if split == ALL:
        return {TRAIN: masks[TRAIN] | (dataset.split_ids == SPLITS.index(TRAIN))}
    own = dataset.split_ids == SPLITS.index(split)
    return {name: mask[own] for name, mask in masks.items()}
