"""Export of a model as one file, in 32 or in 8 bits, with what was measured of it.

8 bits from an ONNX file need no PyTorch, so it is imported for a model folder only.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from fervit.data import Dataset
from fervit.errors import ConfigError, ModelError
from fervit.export.quantise import Int8Report, check_int8, quantise
from fervit.files import cannot_write, check_writable
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import find_folder, find_model, folder_licences
from fervit.label_rules import LabelMap
from fervit.licences import Licence, check_commercial, union
from fervit.runtime.devices import CPU


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: the file to open.
        size: bytes on disk, the `.bin` beside an OpenVINO `.xml` included.
        difference: the largest difference in probability from PyTorch; None in 8 bits.
        int8: what 8 bits cost and brought; None in 32 bits.
        trained_on: the licences of what it has learnt from.
    """

    path: Path
    size: int
    difference: float | None = None
    int8: Int8Report | None = None
    trained_on: tuple[Licence, ...] = ()


class ExportKeywords(TypedDict, total=False):
    """The options of an export, as keywords of functions that pass them on.

    Attributes:
        overwrite: replace the file if it exists.
        commercial: refuse a model that was trained on data whose terms exclude commercial use.
    """

    overwrite: bool
    commercial: bool


def export_float(
    model: str | Path,
    out: Path,
    *,
    overwrite: bool = False,
    commercial: bool = False,
    label_map: LabelMap | None = None,
) -> Exported:
    """Export a model folder, or a shipped model by its name, in 32 bits; see `fervit.export.export`.

    Raises:
        ModelError: the folder cannot be read, or the exported file predicts differently; or, with `commercial`, it was
            trained on data for non-commercial use.
        ConfigError: `out` exists and `overwrite` is not set, or cannot be written.
    """
    from fervit.export.onnx import export

    folder = find_folder(model)
    licences = folder_licences(folder)
    if commercial:
        check_commercial(str(model), licences)
    difference = export(folder, out, overwrite=overwrite, label_map=label_map)
    return Exported(out, _size(out), difference=difference, trained_on=licences)


def export_int8(
    model: str | Path,
    out: Path,
    dataset: Dataset,
    *,
    threads: int | None = None,
    overwrite: bool = False,
    commercial: bool = False,
) -> Exported:
    """Export a model in 8 bits, from its folder or from an ONNX file; see `fervit.export.quantise.quantise`.

    A folder is exported in 32 bits first, to a temporary file beside `out`.

    Raises:
        ConfigError: `out` exists and `overwrite` is not set, is the model itself, has another ending than .onnx or
            .xml, or cannot be written.
        DataError: the data lack train or public_test.
        ModelError: there is no model, it is in 8 bits already, or 8 bits lose accuracy or gain no speed; or, with
            `commercial`, model or data are for non-commercial use.
        MissingExtra: a package that is needed for it is not installed.
    """
    path = find_model(model)
    check_int8_target(path, out, overwrite=overwrite)
    known = folder_licences(path) if path.is_dir() else OnnxClassifier(path, threads=1, device=CPU).spec.trained_on
    licences = union(known, dataset.licences)
    if commercial:
        check_commercial(f"{model} in 8 bits", licences)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as scratch:
            exact = path
            if path.is_dir():
                from fervit.export.onnx import export

                exact = Path(scratch) / "model.onnx"
                export(path, exact)
            report = quantise(exact, out, dataset, threads=threads)
    except OSError as error:
        raise cannot_write(out, error) from error
    return Exported(out, _size(out), int8=report, trained_on=licences)


def check_int8_target(model: Path, out: Path, *, overwrite: bool) -> None:
    """Refuse an export in 8 bits that would fail or destroy something, before the data are read.

    Raises:
        ModelError: there is no model.
        ConfigError: `out` is the model itself, exists without `overwrite`, or ends neither in .onnx nor in .xml.
        MissingExtra: a package that is needed for it is not installed.
    """
    if not model.exists():
        raise ModelError(f"no model at {model}")
    if out.resolve() == model.resolve():
        raise ConfigError(f"--out {out} is the model itself: name another file, or the exact weights are lost")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")
    check_int8(out)
    check_writable(out)


def _size(path: Path) -> int:
    """Return the bytes of an exported file, with those of the `.bin` beside a `.xml`."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files if file.exists())
