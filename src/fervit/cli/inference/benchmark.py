"""`fervit benchmark`."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fervit.cli._shared import DETECTORS, MODEL
from fervit.errors import ImageError

if TYPE_CHECKING:
    import numpy as np

    from fervit.inference.recognizer import Recognizer

MOST = 200  # pictures or frames of the input; more say nothing new
BATCHES = (1, 8, 32)
Source = tuple[Callable[[], list["np.ndarray"]], Callable[[], object]]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(benchmark)


def benchmark(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help=MODEL),
    ] = None,
    input: Annotated[
        Path | None, typer.Option(metavar="X", help="A photo, a folder of photos or a video, for all stages.")
    ] = None,
    detector: Annotated[str, typer.Option(help=DETECTORS)] = "auto",
    runtime: Annotated[str, typer.Option(help="onnxruntime, openvino, or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions; the median counts.")] = 5,
) -> None:
    """Measure every stage on this machine: decode, detect, crop, classify, draw."""
    from fervit.inference.loading import load

    recognizer = load(model, detector=detector, threads=threads, runtime=runtime)
    source = None if input is None else _source(recognizer, input)  # first: a wrong path should not cost the timings
    classifier = recognizer.classifier
    used = getattr(classifier, "runtime", "torch")
    typer.echo(f"model {recognizer.spec.name or model}, {used}, {threads or 'all'} threads, median of {rounds}")
    typer.echo(_line("classify only", "ms a face", "faces/s"))
    for size in BATCHES:
        seconds = _median(lambda size=size: classifier.probs(_noise(size), batch_size=size), rounds)  # type: ignore[misc]
        typer.echo(_line(f"batch {size}", f"{1000 * seconds / size:.2f}", f"{size / seconds:.0f}"))
    if input is not None and source is not None:
        _stages(recognizer, input, source, rounds)


def _stages(recognizer: "Recognizer", path: Path, source: "Source", rounds: int) -> None:
    """Time each stage alone, one picture after another, then all of them together as `predict` runs them."""
    from fervit.media.crops import crop_face, shrink_crop
    from fervit.media.draw import annotate
    from fervit.types import Prediction

    decode, run_all = source
    pictures = decode()
    count = len(pictures)
    found = recognizer.detector.detect(pictures)
    total = sum(map(len, found))
    spec = recognizer.spec

    def cut() -> list[Any]:
        return [
            shrink_crop(crop_face(picture, face.box, spec.preprocess, face.landmarks), spec)
            for picture, faces in zip(pictures, found, strict=True)
            for face in faces
        ]

    crops = cut()
    probs = iter(recognizer.classifier.probs(crops))
    predictions = [[Prediction(face, spec.labels, next(probs)) for face in faces] for faces in found]
    height, width = pictures[0].shape[:2]
    typer.echo(f"\n{path}: {count} pictures, the first {width} x {height}, {total} faces")
    typer.echo(_line("stage", "ms a picture", "pictures/s"))
    stages: dict[str, Callable[[], object]] = {
        "decode": decode,
        "detect": lambda: recognizer.detector.detect(pictures),
        "crop": cut,
        "classify": lambda: recognizer.classifier.probs(crops),
        "draw": lambda: [annotate(*pair) for pair in zip(pictures, predictions, strict=True)],
    }
    sum_s = 0.0
    for name, stage in stages.items():
        seconds = _median(stage, rounds)
        sum_s += seconds if name != "draw" else 0.0
        typer.echo(_line(name, f"{1000 * seconds / count:.2f}", f"{count / seconds:.0f}"))
    typer.echo(_line("sum without draw", f"{1000 * sum_s / count:.2f}", f"{count / sum_s:.0f}"))
    seconds = _median(run_all, rounds)
    typer.echo(_line("predict, overlapped", f"{1000 * seconds / count:.2f}", f"{count / seconds:.0f}"))


def _source(recognizer: "Recognizer", path: Path) -> "Source":
    """Return a function that decodes the input, and one that predicts it end to end.

    Raises:
        ImageError: there is no picture, or the first cannot be read.
        VideoError: the video cannot be read.
    """
    from fervit.media.images import list_images, read_image
    from fervit.media.video import EXTENSIONS, probe, read_frames

    if path.suffix.lower() in EXTENSIONS and not path.is_dir():
        probe(path)
        return (
            lambda: [frame.image for frame in itertools.islice(read_frames(path), MOST)],
            lambda: list(itertools.islice(recognizer.video(path), MOST)),
        )
    files: Sequence[Path] = list_images(path)[:MOST] if path.is_dir() else [path]
    if not files:
        raise ImageError(f"no pictures in {path}")
    read_image(files[0])
    return lambda: [read_image(file) for file in files], lambda: list(recognizer.images(files))


def _noise(count: int) -> list["np.ndarray"]:
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
