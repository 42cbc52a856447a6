"""`fervit predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import MODEL, Detector, Runtime, Threads
from fervit.cli.inference.outputs import ResultWriter, Targets
from fervit.cli.inference.photos import PhotoOptions, predict_photos
from fervit.cli.inference.stdin import with_stdin
from fervit.cli.inference.video import VideoOptions, check_options, predict_videos, write_statistics
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.inference.inputs import Inputs
    from fervit.inference.recognizer import Recognizer

AUTO_FROM = 200  # photos; OpenVINO starts a second later and gains 10 ms a face on one core
MinConfidence = Annotated[
    float,
    typer.Option(min=0, max=1, help="Label uncertain below this probability; `fervit evaluate --precision` finds one."),
]


InputPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Photos, videos, folders of both, patterns such as '*.jpg', a camera's address (rtsp://...), or - for "
        "a file or a list of paths on standard input.",
    ),
]
JsonFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write JSON lines, one a face, to FILE; - is stdout.")
]
AnnotateInto = Annotated[
    Path | None,
    typer.Option(metavar="OUT", help="Write copies with boxes and labels into this folder, or one video's as .mp4."),
]
DetectEvery = Annotated[
    int, typer.Option(min=1, help="Detect faces in every N-th frame of a video; interpolate between.")
]
Smooth = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Smooth a video's probabilities over time; 0: not.")
]
SkipDone = Annotated[
    bool, typer.Option("--skip-done", help="Skip images that the result files have already, and append.")
]
SkipVideos = Annotated[bool, typer.Option("--skip-videos", help="Leave out the videos and animated images in folders.")]
StatsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write statistics of videos: .csv or .parquet, a row for each person and "
        "expression, or .json with all; see fervit study.",
    ),
]
EventsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write videos' episodes as .tsv (BORIS), or one video's as .eaf (ELAN)."),
]
Tile = Annotated[bool, typer.Option("--tile", help="Search big images tile by tile too: small faces in group photos.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(predict)


def predict(
    inputs: InputPaths,
    model: Annotated[Path | None, typer.Option(help=MODEL)] = None,
    json: JsonFile = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write CSV, one row a face.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Parquet, one row a face.")] = None,
    annotate: AnnotateInto = None,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw a video's expressions over time, as .png, .svg or .pdf."),
    ] = None,
    stats: StatsFile = None,
    events: EventsFile = None,
    every: Annotated[int, typer.Option(min=1, help="Look only at every N-th frame of a video.")] = 1,
    detect_every: DetectEvery = 3,
    smooth: Smooth = 0.2,
    skip_done: SkipDone = False,
    skip_videos: SkipVideos = False,
    crop: Annotated[bool, typer.Option("--crop", help="The images are face crops already: do not detect.")] = False,
    detector: Detector = "auto",
    tile: Tile = False,
    min_confidence: MinConfidence = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 32,
    threads: Threads = None,
    runtime: Runtime = "auto",
) -> None:
    """Predict the expression of every face in photos, folders, videos and the streams of cameras.

    What a file is, its content decides. What was left out of folders is counted, and has rows with --json.
    """
    from fervit.faces.detectors import make_detector
    from fervit.inference.inputs import find_inputs
    from fervit.inference.loading import load

    files = find_inputs(with_stdin(inputs), videos=not skip_videos)
    targets = Targets(json, csv, parquet)
    clips = VideoOptions(annotate, timeline, every, detect_every, smooth, stats, events)
    photos = PhotoOptions(
        annotate, batch_size, resume=skip_done, detecting=not (crop or detector == "none"), tiled=tile
    )
    check_options(files, clips, targets, read=[] if model is None else [model])
    if skip_done and (files.videos or files.cameras or not targets.files):
        raise ConfigError(
            "--skip-done resumes a run over photos: it needs --json, --csv or --parquet, and no video (--skip-videos)"
        )
    recognizer = load(
        model,
        detector=make_detector("none" if crop else detector, tile=tile and not crop),
        threads=threads,
        runtime=_runtime(runtime, files),
        min_confidence=min_confidence,
    )
    _predict(recognizer, files, targets, photos, clips)


def _runtime(name: str, files: "Inputs") -> str:
    """Return the runtime: for a few photos, `auto` takes the one that starts at once."""
    return "onnxruntime" if name == "auto" and len(files.photos) == files.count < AUTO_FROM else name


def _predict(
    recognizer: "Recognizer", files: "Inputs", targets: Targets, photos: PhotoOptions, clips: VideoOptions
) -> None:
    from fervit.analysis.study import Collector
    from fervit.inference.inputs import describe_skipped

    labels = recognizer.spec.labels
    # A figure, a copy, or a folder of copies: when one of these cannot be written, the next may be.
    others = sum(path is not None for path in (clips.timeline, clips.stats, clips.events))
    others += 0 if clips.annotate is None else 1 if files.alone else 2
    with ResultWriter(targets, labels, errors=bool(files.photos), resume=photos.resume, others=others) as out:
        if clips.stats is not None or clips.events is not None:
            out.collector = Collector()
        videos_read = predict_videos(recognizer, [*files.videos, *files.cameras], clips, out, alone=files.alone)
        write_statistics(clips, out)
        counts = predict_photos(recognizer, files.photos, photos, out, alone=files.alone)
        if counts.total == len(files.photos) and not videos_read + counts.read:  # else some were read before
            raise files.none_read()
        out.note(files.skipped)
        if files.skipped:
            typer.echo(describe_skipped(files.skipped), err=True)
    counts.print(photos)
