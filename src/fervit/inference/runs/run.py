"""`fervit.predict`: many photos and videos into tables, in one run that can be resumed."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypedDict, Unpack

from fervit.errors import ConfigError, ImageError, VideoError, quoted, unknown
from fervit.files import as_path
from fervit.inference.inputs import File, Inputs, StandardInput, describe_skipped, find_inputs
from fervit.inference.loading import load
from fervit.inference.people import People, check_one_face, read_people
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import FrameResult, ImageResult, Skipped
from fervit.inference.runs.files import Ended, Event, Reached, RunOptions, Source, run_files, settings_of
from fervit.inference.runs.outputs import ResultWriter, Targets, Writing
from fervit.inference.runs.progress import Workload
from fervit.inference.runs.sidecar import SourceRecord, sidecar_of
from fervit.inference.runs.workers import Workers
from fervit.media.images import source_name
from fervit.media.video import VideoInfo
from fervit.runtime.ort import cores

MOST_NAMED = 5  # files that could not be read, in the summary


class PredictKeywords(TypedDict, total=False):
    """The options of `predict`.

    Attributes:
        include: patterns such as `*.mp4`; of a folder, only the files that fit one are taken.
        exclude: patterns of the files in folders that are left out.
        skip_done: go on in the tables of an earlier run.
        overwrite: replace the tables of an earlier run.
        every: look only at every so many frames of a video.
        detect_every: frames from one detection to the next.
        smooth_s: time constant of the smoothing of each track's probabilities.
        patience_s: a face that is lost for no longer keeps its track.
        one_face: of each frame of a video, the `largest`, most `central`, or in the whole video `longest` seen face.
        people: who the tracks are: a table with the columns source, track and person, or what `read_people` returns.
        batch_size: faces of photos that are classified at once.
        workers: files that are looked at at a time, in processes of their own; a recognizer of one thread each, as
            `fervit.load(threads=1)`, suits as many workers as cores.
        on_result: is given every result, once it is written.
        progress: is given how many frames are done, and of how many.
    """

    include: Sequence[str]
    exclude: Sequence[str]
    skip_done: bool
    overwrite: bool
    every: int
    detect_every: int
    smooth_s: float
    patience_s: float
    one_face: str | None
    people: People | str | Path | None
    batch_size: int
    workers: int
    on_result: Callable[[ImageResult | FrameResult], None]
    progress: Callable[[float, float], None]


@dataclass
class RunSummary:
    """What a run did.

    Attributes:
        records: what was found out about each source, those of an earlier run too where that is known.
        skipped: what lay in the folders and was left out.
        done_before: how many sources an earlier run had finished.
        read: how many sources this run read.
        unread: those that this run could not read, or not to their end.
    """

    records: list[SourceRecord] = field(default_factory=list)
    skipped: Sequence[Skipped] = ()
    done_before: int = 0
    read: int = 0
    unread: list[SourceRecord] = field(default_factory=list)

    def add(self, record: SourceRecord) -> None:
        """Count a finished source."""
        self.records.append(record)
        if record.error is None:
            self.read += 1
        else:
            self.unread.append(record)

    @property
    def answered(self) -> bool:
        """Whether any source was read, now or before, if only in part."""
        return bool(self.read or self.done_before or any(record.frames for record in self.unread))

    def lines(self) -> Iterator[str]:
        """Yield lines for people: what could not be read, what is odd, what was skipped, and why."""
        if self.unread:
            count = self.read + len(self.unread)
            reasons = [" ".join(str(record.error).split()) for record in self.unread[:MOST_NAMED]]
            more = len(self.unread) - len(reasons)
            reasons += [f"and {more} more, see the rows with an error"] if more else []
            yield f"could not be read: {len(self.unread)} of {count}: {'; '.join(reasons)}"
        odd = [record.warning for record in self.records if record.warning]
        if odd:
            others = [f"and {len(odd) - MOST_NAMED} more"] if len(odd) > MOST_NAMED else []
            yield f"read in part, as it seems: {len(odd)}: {'; '.join([*odd[:MOST_NAMED], *others])}"
        if self.skipped:
            yield describe_skipped(self.skipped)


def predict(
    inputs: str | Path | Iterable[str | Path],
    recognizer: Recognizer | None = None,
    *,
    csv: str | Path | None = None,
    json: str | Path | None = None,
    parquet: str | Path | None = None,
    **options: Unpack[PredictKeywords],
) -> RunSummary:
    """Predict the expression of every face in photos, videos and folders of both, and write one row a face.

    A frame or photo without a face has a row too, and so has a file that could not be read, with its `error`. Beside
    each table, `TABLE.sources.json` tells what was read and how; by it, `skip_done` continues a run that was stopped,
    and the tables become those of an uninterrupted one.

    >>> import fervit
    >>> run = fervit.predict("recordings/", csv="rows.csv", skip_done=True)  # doctest: +SKIP
    >>> [record.source for record in run.unread]  # doctest: +SKIP
    ['recordings/p07.mp4']

    Args:
        inputs: paths of files and folders, patterns such as `*.mp4`, or addresses of cameras.
        recognizer: what finds and classifies faces; `fervit.load()` where there is none.
        csv: a table to write.
        json: JSON lines to write.
        parquet: a table to write.
        **options: the fields of `PredictKeywords`.

    Returns:
        What was read, what was not, and why.

    Raises:
        ConfigError: an option is unknown or out of range, a table exists already, was made with other settings, or
            cannot be written.
        ImageError: nothing could be read; or there is no such file, or nothing to read in a folder.
        VideoError: the same, of videos.
    """
    check_options(options)
    targets = targets_of(csv, json, parquet)
    run = RunOptions(**{each.name: options[each.name] for each in fields(RunOptions) if each.name in options})  # type: ignore[literal-required]
    files = find_inputs(
        _named(inputs),
        include=options.get("include", ()),
        exclude=options.get("exclude", ()),
        outputs=written_files(targets),
    )
    skip_done = options.get("skip_done", False)
    people = options.get("people")
    people = read_people(people) if isinstance(people, str | Path) else people
    run = replace(run, people=people, images="on_result" in options)
    check_one_face(run.one_face, cameras=bool(files.cameras))
    targets.check(files.paths)
    if not skip_done and not options.get("overwrite", False):
        targets.check_new()
    if not isinstance(recognizer, Recognizer | None):
        raise ConfigError(f"expected a recognizer, such as `fervit.load` returns, got {quoted(recognizer)}")
    recognizer = recognizer or load(threads=threads_of(run.workers))
    how = writing_of(files, run, recognizer, resume=skip_done)
    with ResultWriter(targets, recognizer.spec.labels, how) as out:
        return _run(recognizer, files, run, out, options)


def _named(inputs: object) -> list[str | File]:
    """Return the inputs as a list of paths and addresses.

    Raises:
        ImageError: something else is among them, or nothing.
    """
    if (not isinstance(inputs, Iterable) and not isinstance(inputs, Path)) or isinstance(inputs, bytes):
        raise ImageError(f"expected the path of a file or folder, or several, got {quoted(inputs)}")
    items: list[object] = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    for item in items:
        if not isinstance(item, str | Path | StandardInput):
            raise ImageError(f"expected paths of files or folders, got {quoted(item)} among them")
    if not items:
        raise ImageError("expected the path of a file or folder, got none")
    return [item for item in items if isinstance(item, str | Path | StandardInput)]


def _run(
    recognizer: Recognizer, files: Inputs, run: RunOptions, out: ResultWriter, options: PredictKeywords
) -> RunSummary:
    todo = not_done(files, out)
    summary = started_summary(files, todo, out)
    progress, on_result = options.get("progress"), options.get("on_result")
    workload = Workload(todo, moving(files), run.every) if progress else None
    infos = workload.infos if workload else None
    with contextlib.closing(recorded(recognizer, files, todo, run, out, infos)) as events:
        for event in events:
            if isinstance(event, Ended):
                summary.add(event.record)
            result = event.result if isinstance(event, Ended) else event
            if on_result and isinstance(result, ImageResult | FrameResult):
                on_result(result)
            if progress and workload:
                progress(workload.update(event), workload.total)
    if not summary.answered:
        raise files.none_read()
    out.note(files.skipped)
    return summary


def check_options(options: PredictKeywords) -> None:
    """Refuse keywords that are none, and a run that would both go on and start anew.

    Raises:
        ConfigError: see above.
    """
    for name in options:
        if name not in PredictKeywords.__annotations__:
            raise ConfigError(unknown("option", name, PredictKeywords.__annotations__))
    if options.get("skip_done") and options.get("overwrite"):
        raise ConfigError("expected one of skip_done, which goes on in a table, and overwrite, which replaces it")
    for name in ("include", "exclude"):
        patterns: object = options.get(name, ())
        if (
            isinstance(patterns, str)
            or not isinstance(patterns, Sequence)
            or not all(isinstance(pattern, str) for pattern in patterns)
        ):
            raise ConfigError(f"expected a list of patterns as {name}, got {quoted(patterns)}")


def writing_of(
    files: Inputs, run: RunOptions, recognizer: Recognizer, *, resume: bool, command: str = "", others: int = 0
) -> Writing:
    """Return how the tables of a run are written: a run over videos or a folder has a file beside them.

    A resumed run may go on within a video, but for one with outputs beside its tables, which need all frames, and for
    the longest face, which is known only at the end.
    """
    sidecar = files.searched or len(files.photos) < files.count
    return Writing(
        resume=resume,
        sidecar=sidecar,
        settings=settings_of(recognizer, run),
        command=command,
        others=others,
        within=frozenset() if others or run.one_face == "longest" else frozenset(map(source_name, files.videos)),
    )


def written_files(targets: Targets) -> list[Path]:
    """Return the result files and what lies beside them, which are no inputs."""
    return [path for table in targets.files for path in (table, sidecar_of(table))]


def moving(files: Inputs) -> list[Source]:
    """Return the videos and cameras."""
    return [*files.videos, *files.cameras]


def not_done(files: Inputs, out: ResultWriter) -> list[Source]:
    """Return what is left to do, in the order of the run: a video that was begun, files as they were named, cameras."""
    todo = [file for file in (*files.files, *files.cameras) if source_name(file) not in out.done]
    begun = None if out.begun is None else out.begun.source
    return sorted(todo, key=lambda file: source_name(file) != begun)  # its rows are the last in the tables


def started_summary(files: Inputs, todo: Sequence[Source], out: ResultWriter) -> RunSummary:
    """Return the summary of a run that has not begun yet."""
    return RunSummary(list(out.records.values()), files.skipped, done_before=files.count - len(todo))


def recorded(
    recognizer: Recognizer,
    files: Inputs,
    todo: Sequence[Source],
    run: RunOptions,
    out: ResultWriter,
    infos: Mapping[Source, VideoInfo] | None = None,
) -> Generator[Event]:
    """Yield what happens in a run, each event after its rows are written.

    Args:
        recognizer: what finds and classifies faces.
        files: all inputs.
        todo: those that are left to do.
        run: how they are looked at.
        out: where the results go.
        infos: headers of videos that were read before.

    Raises:
        ImageError: the only input could not be read; nothing is written then, but on a resume, whose tables are open.
        VideoError: the same, of a video.
    """
    if run.workers > 1 and len(todo) > 1:
        happening = Workers(recognizer, run).run(todo, moving(files), infos, out.begun)
    else:
        happening = run_files(recognizer, todo, moving(files), run, infos, out.begun)
    with contextlib.closing(happening) as events:
        for event in events:
            if isinstance(event, Reached):
                out.reached(event.unfinished)
                continue
            if isinstance(event, FrameResult):
                out.write(event)
            elif isinstance(event, Ended):
                _record(event, out, alone=files.alone)
            yield event


def threads_of(workers: int) -> int | None:
    """Return how many threads each of several workers takes by default; None is all cores, for a single one."""
    return None if workers == 1 else max(1, cores() // workers)


def _record(event: Ended, out: ResultWriter, *, alone: bool) -> None:
    record = event.record
    broken = record.error is not None and alone
    if event.result is not None and (not broken or record.frames or out.resumed):
        out.write(event.result)
    if not broken or record.frames or out.resumed:
        out.finished(record)
    if broken:
        raise (ImageError if record.kind == "photo" else VideoError)(str(record.error))


def targets_of(csv: str | Path | None, json: str | Path | None, parquet: str | Path | None) -> Targets:
    """Return where results go.

    Raises:
        ConfigError: one is no path.
    """
    paths = {
        name: None if value is None else as_path(value, f"a table for {name}", ConfigError)
        for name, value in (("csv", csv), ("json", json), ("parquet", parquet))
    }
    return Targets(None if paths["json"] is None else str(paths["json"]), paths["csv"], paths["parquet"])
