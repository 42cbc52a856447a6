"""What the command line does, as functions: they take paths and names as well as opened models and data sets.

`fervit.evaluate`, `fervit.compare` and the others are these; heavy packages are imported when a function needs them.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from fervit.api.opening import load_as_seen as load_as_seen
from fervit.api.opening import loaded as loaded
from fervit.api.opening import opened as opened
from fervit.errors import ConfigError, ModelError, quoted
from fervit.files import as_path
from fervit.runtime.devices import AUTO

if TYPE_CHECKING:
    from fervit.config import TrainConfig
    from fervit.data import Dataset, LoadKeywords
    from fervit.data.mixtures.loading import Sources
    from fervit.data.mixtures.mixture import Mixture
    from fervit.evaluation.comparison import Comparison
    from fervit.evaluation.prediction import PredictOptions, SeenOptions
    from fervit.evaluation.report import Report
    from fervit.export.model import Exported, ExportKeywords
    from fervit.label_rules import LabelMap
    from fervit.training.finetune import RunFigures
    from fervit.training.options import RunKeywords
    from fervit.training.teachers import Teacher
    from fervit.types import Classifier

TEACHER_WEIGHT = 0.5  # of `distill`, where a recipe sets none


def mixed(data: "Sources", **options: "Unpack[LoadKeywords]") -> "Dataset | Mixture":
    """Return one or several data sets to learn from; see `fervit.data.mixtures.loading.load_mixture`.

    A single one without a train part gets one, see `fervit.data.splitting.draw.with_train`.
    """
    from fervit.data import Dataset
    from fervit.data.mixtures.loading import load_mixture
    from fervit.data.splitting.draw import with_train

    dataset = load_mixture(data, **options)
    return with_train(dataset) if isinstance(dataset, Dataset) else dataset


def evaluate(
    model: "str | Path | Classifier | None",
    data: "str | Path | Dataset",
    *,
    split: str | None = None,
    strict_labels: bool = False,
    detect: bool | str = False,
    device: str = AUTO,
    **options: "Unpack[PredictOptions]",
) -> "Report":
    """Measure a model on one split of a data set, as `fervit evaluate` does.

    Args:
        model: name of a shipped model, ONNX file, model folder, or an opened classifier (anything with `.spec` and
            `.probs(crops, batch_size=)`); None is the default model.
        data: a file, a folder, a Hub id, `synthetic[:N]`, or a loaded data set. Give the whole data set: images that
            its earlier splits have too, pixel for pixel, are counted and left out of the leak-free accuracy.
        split: `train`, `public_test` (to choose models and settings on), `private_test` (to read once, at the end) or
            `all`. By default `public_test`; all of a data set that names no split and that the model was not trained
            on, or that is one split.
        strict_labels: refuse images whose label the model does not know; by default they are left out, and counted in
            `left_out`.
        detect: the images are whole photos: the largest face of each is found and cut out as `fervit predict` does, by
            the usual detector (True) or the named one. `Report.detection` counts photos without a face as wrong.
        device: where the model runs, as for `fervit.load`.
        options: `tta` (test-time augmentation: `flip`, `five_crops` or `flip_five_crops`; none by default),
            `batch_size` (images at once; 64) and `progress` (called with images done and images in all).

    Returns:
        Figures of every class, averages, and accuracy with 95 % intervals, all 0..1; calibration (negative
        log-likelihood in nats); thresholds on the confidence; `confusion (K, K)` with rows = truth; and `probs (N, K)`.
        `to_dict()` is the JSON object that `fervit evaluate --json` writes.

    Raises:
        DataError: the data cannot be read, or the split is unknown or empty.
        ModelError: the model cannot be read, its labels do not fit, or it does not return probabilities.
        ConfigError: unknown `tta` or `device`.
    """
    from fervit.evaluation.measurement import evaluate as measure
    from fervit.evaluation.parts import choose_split

    if detect:
        classifier = opened(model, device=device)
        dataset = load_as_seen(data, classifier, detect=detect, keep_missed=True)
        return measure(classifier, dataset, split=split, strict_labels=strict_labels, **options)
    dataset = loaded(data)
    choose_split(dataset, split)  # before the model is opened: what is missing should not cost that wait
    return measure(opened(model, device=device), dataset, split=split, strict_labels=strict_labels, **options)


def compare(
    first: "str | Path | Classifier | None",
    second: "str | Path | Classifier | None",
    data: "str | Path | Dataset",
    *,
    split: str | None = None,
    names: tuple[str, str] | None = None,
    strict_labels: bool = False,
    **options: "Unpack[SeenOptions]",
) -> "Comparison":
    """Compare two models on the same images of one split, as `fervit compare` does.

    McNemar's test and a paired bootstrap say whether one is better, or whether chance explains the difference.

    Args:
        first: model A, as for `evaluate`.
        second: model B.
        data: a data set, as for `evaluate`.
        split: which part of it, as for `evaluate`; choose between models on `public_test`.
        names: what to call A and B; by default what the models call themselves.
        strict_labels: refuse images whose label one of the models does not know; by default they are left out.
        options: `tta`, `batch_size` and `progress` (over both models), as for `evaluate`; and `detect`: the images are
            whole photos, and each model sees the faces as it cuts them. Photos without a face are left out.
            `device`: where both models run, as for `fervit.load`.

    Returns:
        Accuracy and macro-F1 of both, 0..1, the differences B minus A with 95 % intervals, and a verdict in words.

    Raises:
        DataError: the data cannot be read, or the split is unknown or empty.
        ModelError: a model cannot be read, its labels do not fit, or it does not return probabilities.
        ConfigError: unknown `tta` or `device`.
    """
    from fervit.evaluation.comparison import compare as run
    from fervit.evaluation.parts import choose_split

    detect, device = options.pop("detect", False), options.pop("device", AUTO)
    predicting = cast("PredictOptions", options)
    if detect:
        models = opened(first, device=device), opened(second, device=device)
        seen = load_as_seen(data, models[0], detect=detect), load_as_seen(data, models[1], detect=detect)
        return run(*models, seen, split=split, names=names, strict_labels=strict_labels, **predicting)
    dataset = loaded(data)
    choose_split(dataset, split)
    models = opened(first, device=device), opened(second, device=device)
    return run(*models, dataset, split=split, names=names, strict_labels=strict_labels, **predicting)


def train(
    recipe: "str | Path | TrainConfig",
    data: "Sources",
    out: str | Path,
    *,
    init: str | Path | None = None,
    votes: str | Path | None = None,
    teacher: "Teacher | None" = None,
    **options: "Unpack[RunKeywords]",
) -> "RunFigures":
    """Fine-tune a model on the train split; the best epoch is chosen on public_test, and private_test is never read.

    >>> import fervit
    >>> from fervit.config import load_config
    >>> config = load_config("tiny", ["votes_weight=0.0", "epochs=3"])
    >>> figures = fervit.train(config, "fer2013.csv", "runs/mine", init="shipped")  # doctest: +SKIP
    >>> fervit.load("runs/mine")("photo.jpg")[0].label  # doctest: +SKIP
    'happy'

    Args:
        recipe: the name of a recipe that comes with fervit, a `.toml` file, or a `TrainConfig`.
        data: whatever `fervit.load_dataset` reads, or a `Dataset`; or several of them to learn from together, each
            `"SOURCE@WEIGHT"` where its images are to be drawn more or less often than others.
        out: the folder of the run, which becomes a Hugging Face model folder.
        init: starting weights: a Hub id, a model folder, a safetensors file, `shipped` or `scratch`; default: the
            recipe's.
        votes: FER+ votes to join to `data` (csv or parquet); of several data sets, to FER2013.
        teacher: what to learn from besides the labels; `distill` makes one from a model.
        **options: the fields of `fervit.training.RunOptions`: `resume`, `overwrite`, `command`, `callbacks`,
            `threads`.

    Returns:
        Figures of the kept weights on public_test: `accuracy` and `macro_f1` (0..1), `loss` (nats), `epoch`, `n`
        (images) and `before_calibration`.

    Raises:
        ConfigError: an unknown recipe or setting; `out` is in the way, in use by another process or cannot be written;
            `WORLD_SIZE` is above 1; files of the run to resume are damaged; or the disk is full.
        DataError: the data cannot be read, or have no train or no public_test split.
        ModelError: the starting weights are missing, unsafe, truncated or do not fit.
    """
    config, out = configured(recipe), as_path(out, "the folder of a run", ConfigError)
    with _held(out, options):
        dataset = mixed(data, votes=votes)
        init = checked_weights(init, config)
        from fervit.training.finetune import train as run

        return run(config, dataset, out, init=init, teacher=teacher, **options)


def distill(
    teacher: "str | Path | Classifier",
    data: "Sources",
    out: str | Path,
    *,
    recipe: "str | Path | TrainConfig" = "tiny",
    init: str | Path | None = None,
    votes: str | Path | None = None,
    **options: "Unpack[RunKeywords]",
) -> "RunFigures":
    """Train a student on a teacher's probabilities beside the labels.

    The teacher predicts several views of every training face once, and its predictions are cached; with
    `teacher_views=0` it predicts every augmented image while the student learns.

    >>> import fervit
    >>> figures = fervit.distill("mobilenet", "fer2013.csv", "runs/student")  # doctest: +SKIP

    Args:
        teacher: a shipped model's name, an `.onnx` file, a model or ensemble folder, or an opened classifier.
        data: whatever `fervit.load_dataset` reads, or a `Dataset`, or several of them, as for `train`.
        out: the folder of the run, which becomes a Hugging Face model folder.
        recipe: the student's; a recipe that sets no `teacher_weight` gets 0.5.
        init: the student's starting weights, as those of `train`.
        votes: FER+ votes to join to `data` (csv or parquet); of several data sets, to FER2013.
        **options: as those of `train`, and `progress`, which is called with the numbers of predictions done and of all
            while the teacher predicts.

    Returns:
        The figures that `train` returns.

    Raises:
        ConfigError: as `train`; or `teacher_weight` is 0, or `teacher_views` is 0 and the teacher no model folder.
        DataError: as `train`.
        ModelError: as `train`; or the teacher cannot be read, or has other labels than the data.
    """
    config, out = configured(recipe, teacher_weight=TEACHER_WEIGHT), as_path(out, "the folder of a run", ConfigError)
    check_teacher_weight(config)
    with _held(out, options):  # before the teacher predicts, which takes minutes
        dataset = mixed(data, votes=votes)
        init = checked_weights(init, config)
        from fervit.training.finetune import train as run
        from fervit.training.parallel import torch_threads
        from fervit.training.teachers import open_teacher

        threads, progress = options.get("threads"), options.get("progress")
        with torch_threads(threads):
            predicting = open_teacher(teacher, dataset, config, threads=threads, progress=progress)
        return run(config, dataset, out, init=init, teacher=predicting, **options)


def export_onnx(
    model: str | Path,
    out: str | Path,
    *,
    int8: bool = False,
    data: "str | Path | Dataset | None" = None,
    threads: int | None = None,
    label_map: "LabelMap | None" = None,
    **options: "Unpack[ExportKeywords]",
) -> "Exported":
    """Write a model as one ONNX file: `pixel_values (batch, 3, S, S)` float32 -> `logits (batch, K)`.

    >>> import fervit
    >>> fervit.export_onnx("runs/mine", "mine.onnx").difference < 1e-4  # doctest: +SKIP
    True
    >>> small = fervit.export_onnx("mine.onnx", "mine8.onnx", int8=True, data="fer2013.csv")  # doctest: +SKIP
    >>> small.int8.speedup > 1.2  # doctest: +SKIP
    True

    Args:
        model: a model folder, or the name of a shipped model that has one; with `int8` also an ONNX file.
        out: the file to write: `.onnx`, or with `int8` also OpenVINO's `.xml`.
        int8: quantise to 8 bits; refused when accuracy falls by more than 0.3 points, or it is less than 1.2 times as
            fast.
        data: for `int8`: faces to calibrate on (train) and to judge on (public_test).
        threads: for `int8`: CPU threads while both models are timed.
        label_map: names of the model's outputs where it numbers them, as for `fervit.load`; not with `int8`.
        **options: `overwrite` replaces `out` if it exists; `commercial` refuses a model that has learnt from data whose
            terms exclude commercial use.

    Returns:
        The file, its size in bytes, the largest difference in probability from PyTorch or what 8 bits cost, and the
        licences of what it was trained on.

    Raises:
        ConfigError: `out` exists, cannot be written or has another ending; or `data` is missing for `int8`, or given
            without it.
        DataError: the data cannot be read, or lack train or public_test.
        ModelError: the model cannot be read, the exported one predicts differently, or 8 bits or commercial use are
            refused.
        MissingExtra: a package that is needed for it is not installed.
    """
    from fervit.export.model import check_int8_target, export_float, export_int8
    from fervit.inference.model_files import find_model

    out, model = as_path(out, "a model to write", ConfigError), as_path(model, "a model", ModelError)
    if int8:
        if data is None:
            raise ConfigError("--int8 needs --data: it is calibrated on training faces and judged on public_test")
        if label_map is not None:
            raise ConfigError("label_map names the outputs of a model: export it without --int8 first")
        check_int8_target(find_model(model), out, overwrite=options.get("overwrite", False))  # before the data are read
        return export_int8(model, out, loaded(data), threads=threads, **options)
    if data is not None or threads is not None:
        raise ConfigError("--data and --threads belong to --int8")
    return export_float(model, out, label_map=label_map, **options)


def _held(out: str | Path, options: "RunKeywords") -> AbstractContextManager[None]:
    """Return the context in which a run holds its folder, from before its data are read; see `folders.run_folder`."""
    from fervit.folders import run_folder

    return run_folder(Path(out), resume=options.get("resume", False), overwrite=options.get("overwrite", False))


def check_teacher_weight(config: "TrainConfig") -> None:
    """Refuse a student's configuration in which the teacher has no weight.

    Raises:
        ConfigError: `teacher_weight` is 0.
    """
    from fervit.errors import ConfigError

    if not config.teacher_weight:
        raise ConfigError("teacher_weight is 0, so the teacher would teach nothing: use `fervit train`")


def configured(recipe: "str | Path | TrainConfig", settings: Sequence[str] = (), **defaults: float) -> "TrainConfig":
    """Return a configuration as it is, or read a recipe; `defaults` are for keys that it does not set.

    Raises:
        ConfigError: an unknown recipe, key or value; or `settings` beside a configuration.
    """
    if isinstance(recipe, str | Path):
        from fervit.config import load_config

        return load_config(as_path(recipe, "a recipe", ConfigError), settings, defaults=defaults)
    from fervit.config import TrainConfig

    if not isinstance(recipe, TrainConfig):
        raise ConfigError(f"expected a recipe by name, a .toml file or a TrainConfig, got {quoted(recipe)}")
    if settings:
        raise ConfigError("settings are for a recipe by name or file; a TrainConfig has its own")
    return recipe


def checked_weights(init: "str | Path | None", config: "TrainConfig") -> str | Path:
    """Return the starting weights: those that are named, or the configuration's.

    Raises:
        ConfigError: they are named by something else than a text or a path.
        ModelError: they are missing or unsafe.
    """
    from fervit.inference.model_files import check_starting_weights, starting_weights

    if init is not None and not isinstance(init, str | Path):
        raise ConfigError(f"expected starting weights by name, file or folder, got {quoted(init)}")
    found = starting_weights(init or config.init)
    check_starting_weights(found)  # a mistake is reported before PyTorch is imported, which takes seconds
    return found
