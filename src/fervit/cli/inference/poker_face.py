"""`fervit poker-face`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import Detector, Device, check_target, require_torch
from fervit.errors import ConfigError
from fervit.formatting import percent

if TYPE_CHECKING:
    from fervit.types import Image, ModelSpec


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(poker_face)


def poker_face(
    model: Annotated[Path, typer.Argument(help="Model folder of a Poker Face ViT (fervit train --recipe pf_vit).")],
    photo: Annotated[Path, typer.Argument(help="A photo; of several faces the largest is taken.")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="Image to write.")],
    crop: Annotated[bool, typer.Option("--crop", help="The image is a face crop already: do not detect.")] = False,
    detector: Detector = "auto",
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the image if it exists.")] = False,
) -> None:
    """Draw a face, what the model rebuilds of it, and the same face without expression."""
    _check_out(out, overwrite=overwrite)
    require_torch("poker-face")
    from fervit.evaluation.poker_face import check_paints, draw_poker_face, make_poker_face
    from fervit.inference.loading import open_classifier
    from fervit.media.images import read_image, write_image

    image = read_image(photo)
    classifier = open_classifier(model, device=device)
    check_paints(classifier)
    found = make_poker_face(classifier, _largest_face(image, photo, "none" if crop else detector, classifier.spec))
    write_image(out, draw_poker_face(found))
    face, rebuilt, poker = (f"{found.labels[row.argmax()]} {percent(row.max(), 0)}" for row in found.probs)
    typer.echo(f"{out}  input {face}, reconstruction {rebuilt}, poker face {poker}")


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.suffix.lower() != ".png":
        raise ConfigError(f"the image must end in .png, got {out.name}")
    check_target("--out", str(out))
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")


def _largest_face(image: "Image", photo: Path, detector: str, spec: "ModelSpec") -> "Image":
    from fervit.faces.detectors import make_detector
    from fervit.faces.finder import FaceFinder

    finder = FaceFinder(make_detector(detector), spec)
    faces = finder.require(image, photo)
    if len(faces) > 1:
        typer.echo(f"{len(faces)} faces found, the largest is taken", err=True)
    return finder.cut(image, max(faces, key=lambda face: face.box.area))
