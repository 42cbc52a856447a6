"""Several models on several data sets: `fervit.evaluate_table` and `fervit.compare_models`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from fervit.api.opening import detect_for, loaded, opened
from fervit.runtime.devices import AUTO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fervit.data import Dataset, LoadKeywords
    from fervit.evaluation.prediction import PredictOptions
    from fervit.evaluation.tables.cross import EvaluationTable
    from fervit.evaluation.tables.pairs import Comparisons
    from fervit.evaluation.tables.setup import Setup
    from fervit.types import Classifier

    Model = str | Path | Classifier | None
    Models = Model | Sequence[Model]
    Source = str | Path | Dataset
    DataSets = Source | Sequence[Source]


def evaluate_table(
    models: "Models",
    data: "DataSets",
    *,
    split: str | None = None,
    strict_labels: bool = False,
    device: str = AUTO,
    **options: "Unpack[PredictOptions]",
) -> "EvaluationTable":
    """Measure every model on every data set, as `fervit evaluate` does with several of them.

    >>> import fervit
    >>> table = fervit.evaluate_table(["mobilenet", "tiny"], ["fer2013.csv", "faces"])  # doctest: +SKIP
    >>> print(table.to_markdown())  # doctest: +SKIP

    Args:
        models: one or several, each as for `evaluate`.
        data: one or several data sets, each as for `evaluate`.
        split: of every data set, as for `evaluate`; a data set that is one split is measured whatever its name.
        strict_labels: as for `evaluate`.
        device: where the models run, as for `fervit.load`.
        options: as for `evaluate`.

    Returns:
        `rows` with number of images, accuracy, macro-F1 and balanced accuracy, 0..1, with 95 % intervals, and the
        labels that were measured; `reports`, what `evaluate` returns for each; `to_markdown()`, `to_latex()`,
        `to_csv()` and `to_dict()`.

    Raises:
        DataError: data cannot be read, or a split is unknown or empty.
        ModelError: a model cannot be read, labels do not fit, or it does not return probabilities.
        ConfigError: there is no model or no data set, or an unknown `tta` or `device`.
    """
    from fervit.evaluation.tables.cross import evaluate_table as measure

    return measure(open_setup(models, data, split, device=device), split=split, strict_labels=strict_labels, **options)


def compare_models(
    models: "Models",
    data: "DataSets",
    *,
    split: str | None = None,
    baseline: bool = False,
    strict_labels: bool = False,
    device: str = AUTO,
    **options: "Unpack[PredictOptions]",
) -> "Comparisons":
    """Compare any number of models in pairs on any number of data sets, as `fervit compare` does with several.

    The p values of McNemar's tests are corrected for their number by Holm's method.

    Args:
        models: two or more, each as for `evaluate`.
        data: one or several data sets, each as for `evaluate`.
        split: of every data set, as for `evaluate_table`.
        baseline: compare the others with the first model alone, instead of all pairs.
        strict_labels: as for `compare`.
        device: where the models run, as for `fervit.load`.
        options: as for `evaluate`.

    Returns:
        `pairs`, what `compare` returns for each; `p_holm` and `better` of each; `to_markdown()`, `to_latex()`,
        `to_csv()` and `to_dict()`.

    Raises:
        DataError: data cannot be read, or a split is unknown or empty.
        ModelError: a model cannot be read, labels do not fit, or it does not return probabilities.
        ConfigError: there are fewer than two models, no data set, or an unknown `tta` or `device`.
    """
    from fervit.evaluation.tables.pairs import compare_models as run

    setup = open_setup(models, data, split, device=device)
    return run(setup, split=split, baseline=baseline, strict_labels=strict_labels, **options)


def open_setup(
    models: "Models",
    data: "DataSets",
    split: str | None = None,
    *,
    threads: int | None = None,
    device: str = AUTO,
    **reading: "Unpack[LoadKeywords]",
) -> "Setup":
    """Load data sets, check that they have the split, and open models: what `evaluation.tables` measures.

    Args:
        models: one or several, by name, file or folder, or opened ones.
        data: one or several, each as for `loaded`.
        split: of every data set.
        threads: CPU threads of the models.
        device: where they run, as for `fervit.load`.
        **reading: options of `fervit.load_dataset`; of several data sets, rules about labels that one of them lacks
            are passed over there, and printed.

    Raises:
        DataError: data cannot be read, or a split is unknown or empty.
        ModelError: a model cannot be read.
        ConfigError: there is no model or no data set, or `splits` for several.
    """
    from fervit.data.splitting.table import check_one_source
    from fervit.evaluation.parts import choose_split
    from fervit.evaluation.tables.setup import make_setup
    from fervit.label_rules import read_rules

    named: list[Model] = list(models) if isinstance(models, list | tuple) else [cast("Model", models)]
    sources: list[Source] = list(data) if isinstance(data, list | tuple) else [cast("Source", data)]
    check_one_source(reading.get("splits"), len(sources))
    if len(sources) > 1:
        rules = replace(read_rules(reading.get("label_map"), reading.get("drop_labels")), shared=True)
        reading = {**reading, "label_map": rules, "drop_labels": None}
    opened_models = []
    if detect := reading.get("detect", False):
        opened_models = [opened(model, threads=threads, device=device) for model in named]
        reading["detect"] = detect_for(opened_models, detect)
    datasets = [loaded(source, **reading) for source in sources]
    for dataset in datasets:
        choose_split(dataset, split, instead=len(datasets) > 1)
    opened_models = opened_models or [opened(model, threads=threads, device=device) for model in named]
    model_names, data_names = map(_shown, named), map(_shown, sources)
    return make_setup(opened_models, datasets, model_names=list(model_names), data_names=list(data_names))


def _shown(value: object) -> str:
    """Return what to call a model or data set whose own name is that of another one: the path that was given."""
    return str(value) if isinstance(value, str | Path) else str(getattr(value, "name", "model"))
