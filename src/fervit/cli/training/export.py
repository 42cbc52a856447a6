"""`fervit export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DataLicence, Detect, DetectBy, DropLabels, LabelMap, Splits, detection, require_torch
from fervit.cli.training._run import stoppable
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fervit.data import Dataset, LoadKeywords
    from fervit.export.model import Exported
    from fervit.licences import Licence


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(export)


def export(
    model: Annotated[Path, typer.Argument(help="A model folder; with --int8 also an exported ONNX file.")],
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, or with --int8 also OpenVINO's .xml.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits; refused when it loses accuracy or is not faster.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="For --int8: data set to calibrate on (train) and to judge on (public_test).")
    ] = None,
    detect: Detect = False,
    detector: DetectBy = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    licence: DataLicence = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads while --int8 measures; default: all cores.")
    ] = None,
    commercial: Annotated[
        bool,
        typer.Option(
            "--commercial", help="Refuse a model that has learnt from data whose terms exclude commercial use."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Export a model folder to ONNX and check that both predict the same."""
    wanted = detection(detect, detector)
    from fervit.api import export_onnx, load_as_seen
    from fervit.inference.model_files import find_model

    if not int8 or find_model(model).is_dir():  # 8 bits from an ONNX file need no PyTorch
        require_torch("export")
    dataset: str | Dataset | None = data
    with stoppable(lambda: f"{out} is as it was"):
        naming = label_map if data is None and not int8 else None  # then it is about the model
        if (label_map and naming is None) or drop_labels or splits or wanted or licence is not None:
            if data is None:
                raise ConfigError(
                    "--label-map, --drop-labels, --splits, --licence and --detect are about --data: add it"
                )
            reading: LoadKeywords = {"label_map": label_map, "drop_labels": drop_labels, "splits": splits}
            reading |= {"detect": wanted, "licence": licence}
            dataset = load_as_seen(data, model, **reading)
        exported = export_onnx(
            model,
            out,
            int8=int8,
            data=dataset,
            threads=threads,
            label_map=naming,
            overwrite=overwrite,
            commercial=commercial,
        )
    typer.echo(as_text(exported, model))
    if commercial:
        typer.echo(describe_licences(exported.trained_on))


def describe_licences(licences: "Sequence[Licence]") -> str:
    """Return what `--commercial` prints of a model that it lets pass."""
    from fervit.licences import unknown_terms

    if not licences:
        return "what it was trained on was not noted: whether it may be used commercially is for you to find out"
    lines = [f"trained on {licence.described()}" for licence in licences]
    if names := ", ".join(licence.name for licence in unknown_terms(licences)):
        lines.append(f"the terms of {names} are unknown: whether they allow commercial use is for you to find out")
    return "\n".join(lines)


def as_text(exported: "Exported", model: Path) -> str:
    """Return what `fervit export` prints."""
    found = exported.int8 or f"largest difference in probability from {model}: {exported.difference:.1e}"
    return f"{exported.path}: {exported.size / 1e6:.1f} MB; {found}"
