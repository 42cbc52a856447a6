"""`fervit explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import Detector, Device
from fervit.errors import ConfigError, unknown
from fervit.formatting import percent

if TYPE_CHECKING:
    from fervit.evaluation.explanations import Explanation
    from fervit.types import Classifier, Image, ModelSpec

ALL = "all"


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command("explain")(explain_command)


def explain_command(
    model_or_photo: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] PHOTO",
            help="A photo; before it, a model folder, .onnx file, mobilenet or tiny; default: tiny.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write an image for each face into DIR.")] = Path(
        "explained"
    ),
    method: Annotated[str, typer.Option(help="gradient, rollout, occlusion, or all that the model allows.")] = ALL,
    label: Annotated[
        str | None, typer.Option(help="Explain this label instead of the predicted one, such as: why sad?")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="The image is a face crop already: do not detect.")] = False,
    detector: Detector = "auto",
    device: Device = "auto",
) -> None:
    """Show where in a face a model looked for its prediction.

    Maps from gradients and attention need the folder of a Transformer, so without MODEL it is tiny that is explained;
    other models are explained by covering places.
    """
    model, photo = _arguments(model_or_photo)
    from fervit.evaluation.explanations import METHODS, explain, methods_of
    from fervit.files import fitting_name
    from fervit.media.images import read_image

    if method not in (ALL, *METHODS):
        raise ConfigError(unknown("method", method, (ALL, *METHODS)))
    image = read_image(photo)
    classifier = _open(model, device)
    names = methods_of(classifier) if method == ALL else [method]
    for number, face in enumerate(_faces(image, photo, "none" if crop else detector, classifier.spec), start=1):
        maps = [explain(classifier, face, method=name, label=label) for name in names]
        path = _write(face, maps, out, fitting_name(out, photo.stem, f"-face{number}.png"))
        by = f", says {classifier.spec.name}" if classifier.spec.name else ""
        methods = ", ".join(found.method for found in maps)
        typer.echo(f"{path}  {maps[0].label} {percent(maps[0].score, 0)}{by}  ({methods})")


def _arguments(paths: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(paths) == 1:
        return None, paths[0]
    if len(paths) == 2:
        return paths[0], paths[1]
    raise ConfigError(f"expected a photo, or a model and a photo; got {len(paths)} paths")


def _open(model: Path | None, device: str) -> "Classifier":
    """Open a model; without one, the shipped Transformer: its folder where PyTorch can run it, else its ONNX file."""
    from importlib.util import find_spec

    from fervit.inference.loading import open_classifier
    from fervit.inference.model_files import shipped_checkpoint

    if model is None:
        folder = shipped_checkpoint()
        model = folder if find_spec("torch") and find_spec("transformers") else folder.with_suffix(".onnx")
    return open_classifier(model, device=device)


def _faces(image: "Image", photo: Path, detector: str, spec: "ModelSpec") -> "list[Image]":
    from fervit.faces.detectors import make_detector
    from fervit.faces.finder import FaceFinder

    finder = FaceFinder(make_detector(detector), spec)
    return [finder.cut(image, face) for face in finder.require(image, photo)]


def _write(face: "Image", maps: "Sequence[Explanation]", folder: Path, name: str) -> Path:
    from fervit.evaluation.explanations import draw_sheet
    from fervit.files import cannot_write
    from fervit.media.images import write_image

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder / name, error) from error
    write_image(folder / name, draw_sheet(face, maps))
    return folder / name
