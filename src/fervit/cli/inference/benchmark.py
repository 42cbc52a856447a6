"""`fervit benchmark`."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import MODEL, Detector, Device, Threads

if TYPE_CHECKING:
    from fervit.inference.recognizer import Recognizer
    from fervit.types import Face, Image

MOST = 200  # images or frames of the input; more change no figure
BATCHES = (1, 8, 32)
Source = tuple[Callable[[], list["Image"]], Callable[[], object]]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(benchmark)


def benchmark(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help=MODEL)] = None,
    input: Annotated[
        Path | None, typer.Option(metavar="X", help="A photo, a folder of photos or a video, for all stages.")
    ] = None,
    detector: Detector = "auto",
    runtime: Annotated[str, typer.Option(help="onnxruntime, openvino, or auto.")] = "auto",
    device: Device = "auto",
    threads: Threads = None,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; the median counts.")] = 5,
) -> None:
    """Measure every stage on this machine: decode, detect, crop, classify, draw."""
    from fervit.inference.loading import load

    recognizer = load(model, detector=detector, threads=threads, runtime=runtime, device=device)
    source = None if input is None else _source(recognizer, input)  # first: a wrong path should not cost the timings
    used = getattr(recognizer.classifier, "runtime", "torch")
    place = getattr(recognizer.classifier, "device", "cpu")
    typer.echo(
        f"model {recognizer.spec.name or model}, {used} on {place}, {threads or 'all'} threads, median of {rounds}"
    )
    typer.echo(_line("classify only", "ms a face", "faces/s"))
    for size in BATCHES:
        seconds = _median(_classify(recognizer, size), rounds)
        typer.echo(_line(f"batch {size}", f"{1000 * seconds / size:.2f}", f"{size / seconds:.0f}"))
    if input is not None and source is not None:
        _stages(recognizer, input, source, rounds)


def _classify(recognizer: "Recognizer", size: int) -> Callable[[], object]:
    return lambda: recognizer.classifier.probs(_noise(size), batch_size=size)


def _stages(recognizer: "Recognizer", path: Path, source: "Source", rounds: int) -> None:
    """Time each stage alone, one image after another, then all of them together as `predict` runs them."""
    decode, run_all = source
    images = decode()
    count, (height, width) = len(images), images[0].shape[:2]
    found = [recognizer.finder.detect(image) for image in images]
    typer.echo(f"\n{path}: {count} images, the first {width} x {height}, {sum(map(len, found))} faces")
    typer.echo(_line("stage", "ms an image", "images/s"))

    def report(name: str, seconds: float) -> None:
        typer.echo(_line(name, f"{1000 * seconds / count:.2f}", f"{count / seconds:.0f}"))

    sum_s = 0.0
    for name, stage in {"decode": decode, **_stages_of(recognizer, images, found)}.items():
        seconds = _median(stage, rounds)
        sum_s += seconds if name != "draw" else 0.0
        report(name, seconds)
    report("sum without draw", sum_s)
    report("predict, overlapped", _median(run_all, rounds))


def _stages_of(
    recognizer: "Recognizer", images: "list[Image]", found: "list[list[Face]]"
) -> dict[str, Callable[[], object]]:
    """Return a function for each stage after decoding, with the results of the stages before it."""
    from fervit.media.draw import annotate
    from fervit.types import Prediction

    finder, classifier, labels = recognizer.finder, recognizer.classifier, recognizer.spec.labels

    def crop() -> "list[Image]":
        return [crop for image, faces in zip(images, found, strict=True) for crop in finder.crops(image, faces)]

    crops = crop()
    probs = iter(classifier.probs(crops))
    predictions = [[Prediction(face, labels, next(probs)) for face in faces] for faces in found]
    return {
        "detect": lambda: [finder.detect(image) for image in images],
        "crop": crop,
        "classify": lambda: classifier.probs(crops),
        "draw": lambda: [annotate(*pair) for pair in zip(images, predictions, strict=True)],
    }


def _source(recognizer: "Recognizer", path: Path) -> "Source":
    """Return a function that decodes the input, and one that predicts it end to end.

    Raises:
        ImageError: there is no image, or the first cannot be read.
        VideoError: the video cannot be read.
    """
    from fervit.inference.inputs import find_inputs
    from fervit.media.images import read_image
    from fervit.media.video import probe, read_frames

    found = find_inputs([path], videos=False)
    if found.videos:
        probe(path)
        return (
            lambda: [frame.image for frame in itertools.islice(read_frames(path), MOST)],
            lambda: list(itertools.islice(recognizer.video(path), MOST)),
        )
    files = found.photos[:MOST]
    read_image(files[0])
    return lambda: [read_image(file) for file in files], lambda: list(recognizer.images(files))


def _noise(count: int) -> list["Image"]:
    import numpy as np

    return list(np.random.default_rng(0).integers(0, 256, (count, 48, 48, 3), dtype=np.uint8))


def _median(work: Callable[[], object], rounds: int) -> float:
    """Return the median of the seconds that `work` takes, after one run that does not count."""
    import statistics

    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _line(name: str, *figures: str) -> str:
    return f"  {name:<22}" + "".join(f"{figure:>14}" for figure in figures)
