"""`fervit demo`: everything once, on a photo and on embedded synthetic faces."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import bar, program, require_torch
from fervit.formatting import percent

if TYPE_CHECKING:
    import numpy as np

FACES = 1050  # 70 % to train on, 15 % to choose the epoch on, 15 % to test on; other people in each
DATA = f"synthetic:{FACES}"
EPOCHS = 5
RECIPE = "paper"


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(demo)


def demo(
    photo: Annotated[
        Path | None, typer.Option(help="A photo with a face; default: the astronaut of scikit-image.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for images, model and report.")] = Path("demo"),
) -> None:
    """Recognise a photo, then fine-tune, evaluate and report on synthetic faces (under 4 minutes on two cores)."""
    require_torch("the demo")
    annotated = _recognise(photo, out)
    typer.echo(f"\n[2/3] Fine-tuning the shipped ViT on {FACES} synthetic faces by the paper's recipe")
    sheet = _fine_tune(out)
    typer.echo("\n[3/3] Evaluating on synthetic faces that it has not seen")
    report = _evaluate(out)
    typer.echo(
        "\nDone. Look at:\n"
        f"  {annotated}\n  {sheet}\n  {report}\n"
        "Next, try:\n"
        f"  {program()} predict YOUR_PHOTO.jpg --annotate {out}\n"
        f"  {program()} data inspect synthetic:700\n"
        f"  {program()} train --recipe tiny --data fer2013.csv --out runs/mine\n"
    )


def _recognise(photo: Path | None, out: Path) -> Path:
    from PIL import Image

    import fervit
    from fervit.files import cannot_write
    from fervit.media.draw import annotate
    from fervit.media.images import read_image

    if photo is None:
        image, name = _astronaut(), "astronaut"
    else:
        image, name = read_image(photo), photo.stem
    typer.echo(f"[1/3] Recognising the expressions in {name} with the shipped model")
    predictions = fervit.load()(image)
    for prediction in predictions:
        typer.echo("  " + ", ".join(f"{label} {percent(p, 0)}" for label, p in prediction.top(3)))
    if not predictions:
        typer.echo("  no face found")
    path = out / f"{name}-annotated.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    Image.fromarray(annotate(image, predictions)).save(path)
    return path


def _astronaut() -> "np.ndarray":
    from fervit.errors import MissingExtra

    try:
        from skimage.data import astronaut
    except ImportError:
        raise MissingExtra("the demo's own photo (or give --photo)", "dev") from None
    photo: np.ndarray = astronaut()
    return photo


def _fine_tune(out: Path) -> Path:
    """Train on the synthetic faces and draw some of them; returns the drawing's path."""
    from fervit import api
    from fervit.cli.training._run import as_text
    from fervit.config.training import load_config
    from fervit.data import load
    from fervit.data.sheet import dataset_sheet
    from fervit.inference.model_files import shipped_checkpoint
    from fervit.models import load_checkpoint
    from fervit.training.progress import ProgressBar

    _, spec = load_checkpoint(shipped_checkpoint())
    sheet = out / "synthetic-faces.png"
    dataset_sheet(load(DATA), columns=12).save(sheet)
    config = load_config(RECIPE, [f"epochs={EPOCHS}", f"image_size={spec.preprocess.image_size}"])
    model = out / "model"
    with ProgressBar(config.epochs, bar(note=True)) as shown:
        figures = api.train(
            config, DATA, model, init="shipped", overwrite=model.exists(), command="fervit demo", callbacks=[shown]
        )
    typer.echo(as_text(figures, model))
    return sheet


def _evaluate(out: Path) -> Path:
    """Measure the model on the synthetic test split; returns the report's path."""
    from fervit.data import PRIVATE_TEST, load
    from fervit.evaluation.measurement import evaluate
    from fervit.inference.loading import open_classifier
    from fervit.reports.report import write_report
    from fervit.reports.text import summary

    classifier = open_classifier(out / "model")
    report = evaluate(classifier, load(DATA), split=PRIVATE_TEST)
    typer.echo(f"  {summary(report)}")
    return write_report(report, out / "report", command="fervit demo", spec=classifier.spec)
