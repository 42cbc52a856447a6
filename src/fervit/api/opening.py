"""Open what users name: models, data sets, and data sets of whole photos as a model sees them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fervit.errors import ConfigError, DataError, ModelError, quoted
from fervit.runtime.devices import AUTO

if TYPE_CHECKING:
    from fervit.data import Dataset, LoadKeywords
    from fervit.data.loading import Detect
    from fervit.types import Classifier

log = logging.getLogger(__name__)


def opened(model: "str | Path | Classifier | None", *, threads: int | None = None, device: str = AUTO) -> "Classifier":
    """Return a classifier as it is, or open one by name, file or folder; None is the default model.

    Args:
        model: the classifier, or what to open.
        threads: CPU threads; None takes all cores.
        device: where it runs, as for `fervit.load`.

    Raises:
        ConfigError: there is no such device; or one is named for a classifier that was opened before.
        ModelError: the model cannot be read, or the device cannot be used.
    """
    if model is None or isinstance(model, str | Path):
        from fervit.inference.loading import open_classifier

        return open_classifier(model, threads=threads, device=device)
    if isinstance(model, type) or not callable(getattr(model, "probs", None)):
        raise ModelError(f"expected a model by name, file or folder, or an opened one, got {quoted(model)}")
    if device != AUTO:
        raise ConfigError(f"device={quoted(device)} is for a model that is opened here; this one was opened before")
    return model


def loaded(data: "str | Path | Dataset", **options: "Unpack[LoadKeywords]") -> "Dataset":
    """Return a data set as it is, or load one; the options are those of `fervit.load_dataset`."""
    if isinstance(data, str | Path):
        from fervit.data import load

        return load(data, **options)
    if not callable(getattr(data, "take", None)) or not hasattr(data, "labels"):
        raise DataError(f"expected a data set by name, file or folder, or a loaded one, got {quoted(data)}")
    return data


def load_as_seen(
    data: "str | Path | Dataset", model: "str | Path | Classifier | None", **options: "Unpack[LoadKeywords]"
) -> "Dataset":
    """Return a data set as `loaded` does; with `detect`, faces are cut out of photos as `fervit predict` cuts them.

    Args:
        data: as for `loaded`.
        model: the model, as for `evaluate`, whose margin and input the crops have.
        options: as for `loaded`; `detect` is True or the name of a detector.

    Raises:
        DataError: see `loaded`; or `data` was loaded already, so that its photos are not there any more.
        DetectorError: the detector is unknown or not installed.
    """
    detect = options.get("detect", False)
    if not detect:
        return loaded(data, **options)
    if not isinstance(data, str | Path):
        raise DataError(f"detect cuts faces out of photos while they are loaded; pass the path of {quoted(data.name)}")
    options["detect"] = detect_for([opened(model)], detect)
    return loaded(data, **options)


def detect_for(models: "Sequence[Classifier]", detect: "Detect") -> "Detect":
    """Return what cuts faces out of photos for models that are given the same crops; False stays.

    Raises:
        ConfigError: the models cut or resize faces differently.
        DetectorError: the detector is unknown or not installed.
    """
    from fervit.data.photos.cutting import FaceCutter
    from fervit.faces.detectors import AUTO as USUAL

    if not detect or isinstance(detect, FaceCutter):
        return detect
    specs = [model.spec for model in models]
    framings = {(spec.preprocess.crop_margin, spec.preprocess.crop_offset) for spec in specs}
    if len(framings) > 1:
        shown = ", ".join(f"{spec.name or spec.arch} {spec.preprocess.crop_margin:g}" for spec in specs)
        raise ConfigError(f"the models cut faces with different margins ({shown}): with --detect, measure them alone")
    inputs = tuple(dict.fromkeys(preprocess for spec in specs for preprocess in spec.inputs.values()))
    spec = replace(specs[0], preprocess=inputs[0], extra_inputs=inputs[1:])
    cutter = FaceCutter.for_model(spec, detect if isinstance(detect, str) else USUAL)
    if not cutter.exact and len(specs) > 1:
        shown = ", ".join(f"{spec.name or spec.arch} {spec.preprocess.image_size} px" for spec in specs)
        raise ConfigError(f"the models resize faces differently ({shown}): with --detect, measure them alone")
    if not cutter.exact:
        log.warning(
            "%s: faces are not resized in one way, so that they are cut to %d px and resized again: probabilities may "
            "differ from those of `fervit predict` by a few hundredths",
            spec.name or spec.arch,
            cutter.side_px,
        )
    return cutter
