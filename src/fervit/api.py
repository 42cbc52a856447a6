"""What the command line does, as functions: they take paths and names as well as opened models and data sets.

`fervit.evaluate`, `fervit.compare` and the others are these; heavy packages are imported when a function needs them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from fervit.data import Dataset
    from fervit.evaluation.comparison import Comparison
    from fervit.evaluation.prediction import PredictOptions
    from fervit.evaluation.report import Report
    from fervit.types import Classifier


def opened(model: "str | Path | Classifier | None", *, threads: int | None = None) -> "Classifier":
    """Return a classifier as it is, or open one by name, file or folder; None is the default model."""
    if model is None or isinstance(model, str | Path):
        from fervit.inference.loading import open_classifier

        return open_classifier(model, threads=threads)
    return model


def loaded(data: "str | Path | Dataset", *, votes: str | Path | None = None) -> "Dataset":
    """Return a data set as it is, or load one; `votes` are FER+ votes to join."""
    if isinstance(data, str | Path):
        from fervit.data import load

        return load(data, votes=votes)
    return data


def evaluate(
    model: "str | Path | Classifier | None",
    data: "str | Path | Dataset",
    *,
    split: str = "public_test",
    **options: "Unpack[PredictOptions]",
) -> "Report":
    """Measure a model on one split of a data set, as `fervit evaluate` does.

    Args:
        model: name of a shipped model, ONNX file, model folder, or an opened classifier (anything with `.spec` and
            `.probs(crops, batch_size=)`); None is the default model.
        data: a file, a folder, a Hub id, `synthetic[:N]`, or a loaded data set. Give the whole data set: images that
            its earlier splits have too, pixel for pixel, are counted and left out of the leak-free accuracy.
        split: `train`, `public_test` (to choose models and settings on) or `private_test` (to read once, at the end).
        options: `tta` (test-time augmentation: `flip`, `five_crops` or `flip_five_crops`; none by default),
            `batch_size` (images at once; 64) and `progress` (called with images done and images in all).

    Returns:
        Figures of every class, averages, and accuracy with 95 % intervals, all 0..1; calibration (negative
        log-likelihood in nats); thresholds on the confidence; `confusion (K, K)` with rows = truth; and `probs (N, K)`.
        `to_dict()` is the JSON object that `fervit evaluate --json` writes.

    Raises:
        DataError: the data cannot be read, or the split is unknown or empty.
        ModelError: the model cannot be read, its labels do not fit, or it does not return probabilities.
        ConfigError: unknown `tta`.
    """
    from fervit.evaluation.measurement import evaluate as measure

    dataset = loaded(data)
    dataset.split(split)  # before the model is opened: what is missing should not cost that wait
    return measure(opened(model), dataset, split=split, **options)


def compare(
    first: "str | Path | Classifier | None",
    second: "str | Path | Classifier | None",
    data: "str | Path | Dataset",
    *,
    split: str = "public_test",
    names: tuple[str, str] | None = None,
    **options: "Unpack[PredictOptions]",
) -> "Comparison":
    """Compare two models on the same images of one split, as `fervit compare` does.

    McNemar's test and a paired bootstrap say whether one is better, or whether chance explains the difference.

    Args:
        first: model A, as for `evaluate`.
        second: model B.
        data: a data set, as for `evaluate`; both models must have its labels.
        split: which part of it; choose between models on `public_test`.
        names: what to call A and B; by default what the models call themselves.
        options: `tta`, `batch_size` and `progress` (over both models), as for `evaluate`.

    Returns:
        Accuracy and macro-F1 of both, 0..1, the differences B minus A with 95 % intervals, and a verdict in words.

    Raises:
        DataError: the data cannot be read, or the split is unknown or empty.
        ModelError: a model cannot be read, its labels do not fit, or it does not return probabilities.
        ConfigError: unknown `tta`.
    """
    from fervit.evaluation.comparison import compare as run

    dataset = loaded(data)
    dataset.split(split)
    return run(opened(first), opened(second), dataset, split=split, names=names, **options)
