"""`fervit poker-face`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DETECTORS, check_target
from fervit.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from fervit.types import Image, Preprocess


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(poker_face)


def poker_face(
    model: Annotated[Path, typer.Argument(help="Model folder of a Poker Face ViT (fervit train --recipe pf_vit).")],
    photo: Annotated[Path, typer.Argument(help="A photo; of several faces the largest is taken.")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="Picture to write.")],
    crop: Annotated[bool, typer.Option("--crop", help="The picture is a face crop already: do not detect.")] = False,
    detector: Annotated[str, typer.Option(help=DETECTORS)] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture if it exists.")] = False,
) -> None:
    """Draw a face, what the model rebuilds of it, and the same face without expression."""
    _check_out(out, overwrite=overwrite)
    from fervit.cli.training.train import require_torch

    require_torch("poker-face")
    from fervit.evaluation.poker_face import check_paints, draw_poker_face, make_poker_face
    from fervit.inference.loading import open_classifier
    from fervit.media.images import read_image

    picture = read_image(photo)
    classifier = open_classifier(model)
    check_paints(classifier)
    cut = picture if crop or detector == "none" else _largest_face(picture, photo, detector, classifier.spec.preprocess)
    found = make_poker_face(classifier, cut)
    _write(draw_poker_face(found), out)
    face, rebuilt, poker = (f"{found.labels[row.argmax()]} {100 * row.max():.0f} %" for row in found.probs)
    typer.echo(f"{out}  input {face}, reconstruction {rebuilt}, poker face {poker}")


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.suffix.lower() != ".png":
        raise ConfigError(f"the picture must end in .png, got {out.name}")
    check_target("--out", str(out))
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")


def _largest_face(picture: "Image", photo: Path, detector: str, preprocess: "Preprocess") -> "Image":
    from fervit.faces.detectors import make_detector
    from fervit.media.crops import crop_face

    faces = make_detector(detector).detect([picture])[0]
    if not faces:
        raise ImageError(f"no face found in {photo}; for a picture that is a face crop already, add --crop")
    if len(faces) > 1:
        typer.echo(f"{len(faces)} faces found, the largest is taken", err=True)
    face = max(faces, key=lambda face: face.box.area)
    return crop_face(picture, face.box, preprocess, face.landmarks)


def _write(sheet: "Image", out: Path) -> None:
    from PIL import Image

    try:
        Image.fromarray(sheet).save(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from error
