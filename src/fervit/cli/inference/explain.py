"""`fervit explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DETECTORS
from fervit.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from fervit.types import Classifier, Image

ALL = "all"


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(explain)


def explain(
    model_or_photo: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] PHOTO",
            help="A photo; before it, a model folder, .onnx file, mobilenet or tiny; default: tiny.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write a picture for each face into DIR.")] = Path(
        "explained"
    ),
    method: Annotated[str, typer.Option(help="gradient, rollout, occlusion, or all that the model allows.")] = ALL,
    label: Annotated[
        str | None, typer.Option(help="Explain this answer instead of the model's own, such as: why sad?")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="The picture is a face crop already: do not detect.")] = False,
    detector: Annotated[str, typer.Option(help=DETECTORS)] = "auto",
) -> None:
    """Show where in a face a model looked for its answer.

    Maps from gradients and attention need the folder of a Transformer, so without MODEL it is tiny that is explained;
    other models are asked with places covered.
    """
    model, photo = _arguments(model_or_photo)
    from fervit.evaluation.explanations import METHODS, methods_of

    if method not in (ALL, *METHODS):
        from fervit.errors import unknown

        raise ConfigError(unknown("method", method, (ALL, *METHODS)))
    from fervit.evaluation.explanations import draw_sheet
    from fervit.evaluation.explanations import explain as run
    from fervit.faces.detectors import make_detector
    from fervit.media.crops import crop_face
    from fervit.media.images import read_image

    picture = read_image(photo)
    classifier = _open(model)
    names = methods_of(classifier) if method == ALL else [method]
    faces = make_detector("none" if crop else detector).detect([picture])[0]
    if not faces:
        raise ImageError(f"no face found in {photo}; for a picture that is a face crop already, add --crop")
    for number, face in enumerate(faces, start=1):
        whole = crop or detector == "none"
        cut = picture if whole else crop_face(picture, face.box, classifier.spec.preprocess, face.landmarks)
        maps = [run(classifier, cut, method=name, label=label) for name in names]
        path = _write(draw_sheet(cut, maps), out, f"{photo.stem}-face{number}.png")
        by = f", says {classifier.spec.name}" if classifier.spec.name else ""
        typer.echo(f"{path}  {maps[0].label} {100 * maps[0].score:.0f} %{by}  ({', '.join(e.method for e in maps)})")


def _arguments(paths: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(paths) == 1:
        return None, paths[0]
    if len(paths) == 2:
        return paths[0], paths[1]
    raise ConfigError(f"expected a photo, or a model and a photo; got {len(paths)} paths")


def _open(model: Path | None) -> "Classifier":
    """Open a model; without one, the shipped Transformer: its folder where PyTorch can run it, else its ONNX file."""
    from importlib.util import find_spec

    from fervit.inference.loading import open_classifier
    from fervit.inference.model_files import shipped_checkpoint

    if model is None:
        folder = shipped_checkpoint()
        model = folder if find_spec("torch") and find_spec("transformers") else folder.with_suffix(".onnx")
    return open_classifier(model)


def _write(sheet: "Image", folder: Path, name: str) -> Path:
    from PIL import Image

    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet).save(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return path
