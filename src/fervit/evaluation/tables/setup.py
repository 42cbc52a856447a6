"""What a table is measured on: models and data sets with names that differ, and the images of every cell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fervit.data.dataset import Dataset
from fervit.errors import ConfigError
from fervit.evaluation.parts import Part, choose_split, find_part, say_split
from fervit.evaluation.prediction import Progress, check_tta, label_mapping, progress_after
from fervit.types import Classifier


@dataclass(frozen=True)
class Setup:
    """Models and data sets of a table.

    Attributes:
        models: the opened models.
        datasets: the data sets, whole.
        model_names: what to call the models; names that differ.
        data_names: what to call the data sets; names that differ.
    """

    models: Sequence[Classifier]
    datasets: Sequence[Dataset]
    model_names: Sequence[str]
    data_names: Sequence[str]


def make_setup(
    models: Sequence[Classifier],
    datasets: Sequence[Dataset],
    *,
    model_names: Sequence[str] = (),
    data_names: Sequence[str] = (),
) -> Setup:
    """Return models and data sets with names that differ.

    Args:
        models: the opened models.
        datasets: the data sets, whole.
        model_names: what to call models whose own names are the same, such as their paths.
        data_names: what to call data sets whose own names are the same.

    Raises:
        ConfigError: there is no model or no data set.
    """
    if not models or not datasets:
        raise ConfigError(f"expected one or more models and data sets, got {len(models)} and {len(datasets)}")
    own = [model.spec.name or model.spec.arch for model in models]
    return Setup(models, datasets, unlike(own, model_names), unlike([dataset.name for dataset in datasets], data_names))


def unlike(names: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    """Return names that differ: those of `names` that do, and else those of `others`, or a number behind the name.

    >>> unlike(["tiny", "tiny", "small"], ["runs/a", "runs/b", "models/small"])
    ['runs/a', 'runs/b', 'small']
    >>> unlike(["tiny", "tiny"])
    ['tiny (1)', 'tiny (2)']
    """
    if len(others) == len(names):
        names = [other if names.count(name) > 1 else name for name, other in zip(names, others, strict=True)]
    numbers: dict[str, int] = {}
    result = []
    for name in names:
        numbers[name] = numbers.get(name, 0) + 1
        result.append(f"{name} ({numbers[name]})" if names.count(name) > 1 else name)
    return result


def find_parts(
    setup: Setup, *, split: str | None, strict_labels: bool, together: bool, tta: str | None = None
) -> dict[tuple[int, int], Part]:
    """Return the images of every cell, (place of the model, place of the data set), before anything is predicted.

    Args:
        setup: the models and data sets.
        split: see `choose_split`; a set that is one split is measured whatever its name.
        strict_labels: see `find_part`.
        together: whether all models are measured on the same images, those whose labels all of them know.
        tta: test-time augmentation, to be checked.

    Raises:
        DataError: a set has no such split.
        ModelError: a model's labels do not fit.
        ConfigError: unknown `tta`.
    """
    check_tta(tta)
    parts = {}
    specs = [model.spec for model in setup.models]
    for column, dataset in enumerate(setup.datasets):
        chosen = choose_split(dataset, split, specs, instead=len(setup.datasets) > 1)
        say_split(dataset, chosen, split)
        common = find_part(dataset, specs, split=chosen, strict_labels=strict_labels) if together else None
        for row, spec in enumerate(specs):
            part = common or find_part(dataset, [spec], split=chosen, strict_labels=strict_labels)
            label_mapping(spec.labels, part.images)
            parts[row, column] = part
    return parts


def ticks(parts: Sequence[Part], progress: Progress | None) -> Iterator[Progress | None]:
    """Yield for each cell what reports its progress as that of all."""
    total, before = sum(len(part.images) for part in parts), 0
    for part in parts:
        yield None if progress is None else progress_after(before, total, progress)
        before += len(part.images)
