"""`fervit predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import MODEL, Detector, Device, ModelLabels, Revision, Runtime, Threads, command_line
from fervit.cli.inference.files import predict_files
from fervit.cli.inference.photos import PhotoOptions
from fervit.cli.inference.stdin import with_stdin
from fervit.cli.inference.video import VideoOptions, check_options, write_statistics
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.inference.inputs import Inputs
    from fervit.inference.people import People
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.runs.files import RunOptions
    from fervit.inference.runs.outputs import Targets

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
Patience = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="A face that is lost for no longer keeps its track.")
]
OneFace = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="One person a video: of each frame the largest or most central face, or the one that is seen longest in "
        "the video (largest, central, longest).",
    ),
]
PeopleFile = Annotated[
    Path | None,
    typer.Option("--people", metavar="FILE", help="CSV with source, track, person: names the tracks of videos."),
]
SkipDone = Annotated[
    bool,
    typer.Option("--skip-done", help="Go on in the result files of a run that was stopped: skip what they have whole."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace result files that exist already.")]
Include = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Of folders, take only files such as '*.mp4' or 'p0?/*'. May be repeated."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Leave out a folder's files such as '*_raw.*' or 'pilot/*'. May be repeated."),
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
Workers = Annotated[
    int,
    typer.Option(min=1, help="Look at N files at a time, in processes; --threads is of each, by default cores / N."),
]
Tile = Annotated[bool, typer.Option("--tile", help="Search big images tile by tile too: small faces in group photos.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(predict)


def predict(
    inputs: InputPaths,
    model: Annotated[Path | None, typer.Option(help=MODEL)] = None,
    revision: Revision = None,
    label_map: ModelLabels = None,
    json: JsonFile = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write CSV, one row a face; a frame or image without one has a row too."),
    ] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Parquet, the same rows.")] = None,
    annotate: AnnotateInto = None,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Draw a video's expressions over time: .png, .svg, .pdf, or a folder."),
    ] = None,
    stats: StatsFile = None,
    events: EventsFile = None,
    every: Annotated[int, typer.Option(min=1, help="Look only at every N-th frame of a video.")] = 1,
    detect_every: DetectEvery = 3,
    smooth: Smooth = 0.2,
    patience: Patience = 5.0,
    one_face: OneFace = None,
    people_file: PeopleFile = None,
    include: Include = None,
    exclude: Exclude = None,
    skip_done: SkipDone = False,
    overwrite: Overwrite = False,
    skip_videos: SkipVideos = False,
    crop: Annotated[bool, typer.Option("--crop", help="The images are face crops already: do not detect.")] = False,
    detector: Detector = "auto",
    tile: Tile = False,
    min_confidence: MinConfidence = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 32,
    workers: Workers = 1,
    threads: Threads = None,
    runtime: Runtime = "auto",
    device: Device = "auto",
) -> None:
    """Predict the expression of every face in photos, folders, videos and the streams of cameras.

    What a file is, its content decides. What was left out of folders is counted, and has rows with --json.
    """
    from fervit.faces.detectors import make_detector
    from fervit.inference.inputs import find_inputs
    from fervit.inference.loading import load
    from fervit.inference.runs.files import RunOptions
    from fervit.inference.runs.outputs import Targets
    from fervit.inference.runs.run import threads_of, written_files

    targets = Targets(json, csv, parquet)
    files = find_inputs(
        with_stdin(inputs),
        videos=not skip_videos,
        include=include or [],
        exclude=exclude or [],
        outputs=written_files(targets) + [path for path in (annotate, timeline, stats, events) if path is not None],
    )
    clips = VideoOptions(annotate, timeline, every, detect_every, smooth, stats, events)
    photos = PhotoOptions(annotate, detecting=not (crop or detector == "none"), tiled=tile)
    check_options(files, clips, targets, read=[path for path in (model, people_file) if path is not None])
    people = _people(files, one_face, people_file)
    _check_earlier(
        files, targets, skip_done=skip_done, overwrite=overwrite, statistics=stats is not None or events is not None
    )
    recognizer = load(
        model,
        detector=make_detector("none" if crop else detector, tile=tile and not crop),
        threads=threads or threads_of(workers),
        runtime=_runtime(runtime, files),
        device=device,
        min_confidence=min_confidence,
        revision=revision,
        label_map=label_map,
    )
    run = RunOptions(
        every,
        detect_every,
        smooth,
        batch_size,
        patience,
        one_face,
        people,
        workers=workers,
        images=annotate is not None,
    )
    _predict(recognizer, files, targets, run, photos, clips, resume=skip_done)


def _check_earlier(files: "Inputs", targets: "Targets", *, skip_done: bool, overwrite: bool, statistics: bool) -> None:
    """Refuse what would write over an earlier run's rows, or cannot go on in them."""
    if skip_done and statistics:
        raise ConfigError(
            "--stats and --events are about the rows of one run, and --skip-done leaves out those of before: run "
            "fervit study on the finished table"
        )
    if skip_done and overwrite:
        raise ConfigError("--skip-done goes on in a result file, --overwrite replaces it: expected one of them")
    if skip_done and (files.cameras or not targets.files):
        raise ConfigError(
            "--skip-done goes on in the result files of a run over files: it needs --json, --csv or --parquet, and no "
            "camera"
        )
    if not skip_done and not overwrite:
        targets.check_new()


def _people(files: "Inputs", one_face: str | None, path: Path | None) -> "People | None":
    """Return who the tracks are; refuse what cannot be meant, before any work."""
    from fervit.inference.people import check_one_face, read_people

    check_one_face(one_face, cameras=bool(files.cameras))
    if (one_face or path) and not (files.videos or files.cameras):
        raise ConfigError(
            f"{'--one-face' if one_face else '--people'} is for videos, and there is none among the inputs"
        )
    return None if path is None else read_people(path)


def _runtime(name: str, files: "Inputs") -> str:
    """Return the runtime: for a few photos, `auto` takes the one that starts at once."""
    return "onnxruntime" if name == "auto" and len(files.photos) == files.count < AUTO_FROM else name


def _predict(
    recognizer: "Recognizer",
    files: "Inputs",
    targets: "Targets",
    run: "RunOptions",
    photos: PhotoOptions,
    clips: VideoOptions,
    *,
    resume: bool,
) -> None:
    from fervit.analysis.study import Collector
    from fervit.inference.runs.failures import Failures
    from fervit.inference.runs.outputs import STDOUT, ResultWriter
    from fervit.inference.runs.run import writing_of

    others = sum(path is not None for path in (clips.annotate, clips.timeline, clips.stats, clips.events))
    outputs = len(targets.files) + (targets.json == STDOUT) + others
    failures = Failures(outputs, lambda text: typer.echo(text, err=True))
    how = writing_of(files, run, recognizer, resume=resume, command=command_line(), others=others)
    with ResultWriter(targets, recognizer.spec.labels, how, failures) as out:
        collector = out.collector = None if clips.stats is None and clips.events is None else Collector()
        try:
            summary, counts = predict_files(recognizer, files, out, run, photos, clips)
        finally:  # what was done until Ctrl-C is reported too
            if collector is not None:
                write_statistics(clips, out, collector)
        out.note(files.skipped)
        for line in (*summary.lines(), *filter(None, [run.people and run.people.unseen()])):
            typer.echo(line, err=True)
    counts.print(photos)
