"""`fervit.study`: statistics of a study of videos, from the rows that `fervit predict` wrote of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fervit.analysis.episodes import MIN_EPISODE_S
from fervit.analysis.frames import (
    TABLES,
    as_frame,
    check_statistics,
    columns_of_table,
    write_csv,
    write_json,
    write_parquet,
)
from fervit.analysis.recording import GAP_S, Recording, Rows, make_recording
from fervit.analysis.rows import Row, flat_rows, tables_of, text
from fervit.analysis.statistics import BLOCK_S, PersonStatistics, StudyOptions, rounded, video_row
from fervit.errors import ConfigError, DataError, reason, unknown
from fervit.formatting import counted

if TYPE_CHECKING:
    from fervit.inference.results import FrameResult, ImageResult, Skipped


@dataclass(frozen=True, eq=False)
class Study:
    """The videos of a study, and their statistics as data frames.

    Each table is a pandas or polars data frame, whichever is installed (pandas where both are), else a list of dicts;
    `rows(name)` is always the latter.

    Attributes:
        videos: the recordings, in the order of their rows.
        expressions: the model's labels, and `uncertain` where rows have it.
        options: lengths and seed behind the figures.
        errors: why a video could not be read, by source.
        notes: sentences about what was left out or assumed.
    """

    videos: tuple[Recording, ...]
    expressions: tuple[str, ...]
    options: StudyOptions
    errors: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def people(self) -> tuple[PersonStatistics, ...]:
        """Everybody in every video, by video and then by first frame."""
        return tuple(
            PersonStatistics(video, person, self.expressions, self.options)
            for video in self.videos
            for person in video.people
        )

    @property
    def per_person(self) -> Any:
        """The long form: a row for each video, person and expression, ready for a mixed model."""
        return self._frame("per_person")

    @property
    def wide(self) -> Any:
        """The wide form: a row for each video and person, with columns such as `fraction_happy`."""
        return self._frame("wide")

    @property
    def per_video(self) -> Any:
        """A row for each video: how long faces were in view, gaps, cuts, and all faces' time by expression."""
        return self._frame("per_video")

    @property
    def episodes(self) -> Any:
        """A row for each episode, with its start and end in s."""
        return self._frame("episodes")

    @property
    def transitions(self) -> Any:
        """A row for each video, person and pair of expressions: how often one was followed by the other."""
        return self._frame("transitions")

    def rows(self, table: str) -> list[dict[str, object]]:
        """Return a table as a list of dicts.

        Raises:
            ConfigError: there is no such table.
        """
        makers = {
            "per_person": lambda: [row for one in self.people for row in one.rows()],
            "wide": self._wide,
            "per_video": self._per_video,
            "episodes": self._episodes,
            "transitions": self._transitions,
        }
        if table not in makers:
            raise ConfigError(unknown("table", table, TABLES))
        return makers[table]()

    def to_csv(self, path: str | Path, table: str = "per_person") -> None:
        """Write a table as CSV.

        Raises:
            ConfigError: there is no such table, or the file cannot be written.
        """
        write_csv(path, self.rows(table), columns_of_table(table, self.expressions))

    def to_parquet(self, path: str | Path, table: str = "per_person") -> None:
        """Write a table as Parquet.

        Raises:
            MissingExtra: pyarrow is not installed.
            ConfigError: there is no such table, or the file cannot be written.
        """
        write_parquet(path, self.rows(table), columns_of_table(table, self.expressions))

    def to_json(self, path: str | Path) -> None:
        """Write all tables, the options, errors and notes as one JSON object.

        Raises:
            ConfigError: the file cannot be written.
        """
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, object]:
        """Return all tables, the options, errors and notes."""
        about: dict[str, object] = {
            "options": dict(vars(self.options)),
            "expressions": list(self.expressions),
            "errors": self.errors,
            "notes": list(self.notes),
        }
        return about | {name: self.rows(name) for name in TABLES}

    def save(self, path: str | Path) -> None:
        """Write statistics as the ending of a file's name says: the long form as CSV or Parquet, or all as JSON.

        Raises:
            MissingExtra: Parquet is wanted and pyarrow is not installed.
            ConfigError: the name has another ending, or the file cannot be written.
        """
        write = {".csv": self.to_csv, ".json": self.to_json, ".parquet": self.to_parquet}
        write[check_statistics(path).suffix.lower()](path)

    def _frame(self, table: str) -> Any:
        return as_frame(self.rows(table), columns_of_table(table, self.expressions))

    def video(self, source: str) -> Recording:
        """Return a video by its name in the rows.

        Raises:
            ConfigError: the study has no such video.
        """
        for video in self.videos:
            if video.source == source:
                return video
        raise ConfigError(unknown("video", source, [video.source for video in self.videos]))

    def of(self, video: Recording) -> list[PersonStatistics]:
        """Return the people of a video."""
        return [one for one in self.people if one.video is video]

    def _wide(self) -> list[dict[str, object]]:
        rows = []
        for one in self.people:
            long = one.rows()
            row = {name: long[0][name] for name in ("source", "person", "track", "video_s", "visible_s")}
            row["visible_fraction"] = long[0]["visible_fraction"]
            for figure in ("fraction", "mean_prob", "seconds", "episodes", "episode_mean_s", "first_s"):
                row |= {f"{figure}_{part['expression']}": part[figure] for part in long}
            rows.append(row)
        return rows

    def _per_video(self) -> list[dict[str, object]]:
        rows = [
            {**video_row(video, self.of(video), self.expressions), "error": self.errors.get(video.source)}
            for video in self.videos
        ]
        nothing = dict.fromkeys(columns_of_table("per_video", self.expressions))
        read = {video.source for video in self.videos}
        return rows + [{**nothing, "source": s, "error": why} for s, why in self.errors.items() if s not in read]

    def _episodes(self) -> list[dict[str, object]]:
        return [
            {
                "source": one.video.source,
                "person": one.person.name,
                "expression": self.expressions[episode.label],
                "start_s": rounded(episode.start_s),
                "end_s": rounded(episode.end_s),
                "seconds": rounded(episode.seconds),
                "mean_prob": rounded(episode.mean_prob),
            }
            for one in self.people
            for episode in one.episodes
        ]

    def _transitions(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for one in self.people:
            for start, counts in zip(self.expressions, one.transitions, strict=True):
                for end, count in zip(self.expressions, counts, strict=True):
                    probability = rounded(float(count / counts.sum())) if counts.sum() else None
                    rows.append(
                        {
                            "source": one.video.source,
                            "person": one.person.name,
                            "from": start,
                            "to": end,
                            "count": int(count),
                            "probability": probability,
                        }
                    )
        return rows


class Collector:
    """Takes rows or results one at a time, and makes a study of them."""

    def __init__(self) -> None:
        self._videos: dict[str, Rows] = {}
        self._classes: tuple[str, ...] = ()
        self._expressions: list[str] = []
        self._errors: dict[str, str] = {}
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._photos = self._skipped = 0

    @property
    def sources(self) -> frozenset[str]:
        """The videos that there are rows of."""
        return frozenset(self._videos)

    def add(self, row: Row) -> None:
        """Add a row.

        Raises:
            DataError: it has no source or no time, or the labels of another model.
        """
        source = text(row.get("source"))
        if source is None:
            raise DataError("expected rows with a source, got one without")
        if (error := text(row.get("error"))) is not None:
            self._errors.setdefault(source, error)
        time_s, frame = row.get("time_s"), row.get("frame")
        if row.get("skipped"):
            self._skipped += 1
        elif text(time_s) is None and text(frame) is None:  # of a photo, or of a file that could not be read
            self._photos += error is None
        else:
            self._learn(row)
            video = self._videos.setdefault(source, Rows(source))
            try:
                video.add(row, self._expressions, self._classes)
            except (TypeError, ValueError) as wrong:
                raise DataError(f"a row of {source} has a cell that is no number: {reason(wrong)}") from wrong

    def add_result(self, result: "FrameResult | ImageResult | Skipped") -> None:
        """Add what a recognizer found in a frame, or that a file was left out or could not be read."""
        for row in flat_rows([result]):
            self.add(row)

    def study(self, options: StudyOptions | None = None) -> Study:
        """Return the study of all rows so far.

        Raises:
            DataError: there is no row of a video.
        """
        options = options or StudyOptions()
        if not self._videos:
            causes = [f"{source}: {error}" for source, error in self._errors.items()]
            photos = f"{self._photos} rows of photos" if self._photos else "no rows"
            raise DataError(f"expected rows of a video, got {causes[0] if causes else photos}")
        videos = tuple(make_recording(rows, len(self._classes), gap_s=options.gap_s) for rows in self._videos.values())
        return Study(videos, tuple(self._expressions), options, dict(self._errors), tuple(self._notes(videos)))

    def _learn(self, row: Row) -> None:
        """Take the labels from the first row with probabilities, and hold the others to them."""
        keys = tuple(row)
        if keys not in self._known:
            self._known[keys] = tuple(key[2:] for key in keys if key.startswith("p_"))
        found = self._known[keys]
        if found and not self._classes:
            self._classes, self._expressions = found, list(found)
        if found and found != self._classes and set(found) != set(self._classes):
            raise DataError(
                f"expected rows of one model, got the labels {', '.join(self._classes)} and {', '.join(found)}: make a "
                "study of each"
            )

    def _notes(self, videos: Sequence[Recording]) -> list[str]:
        notes = [f"{source}: {error}" for source, error in self._errors.items()]
        if self._photos:
            notes.append(f"{counted(self._photos, 'row')} of photos left out: they have no time")
        if self._skipped:
            notes.append(f"{counted(self._skipped, 'file')} had been left out by fervit predict")
        for video in videos:
            notes += [
                f"{video.source}: {person.name} stands twice in {counted(person.doubles, 'frame')}; the larger "
                "face_score counts"
                for person in video.people
                if person.doubles
            ]
        return notes


def study(
    tables: object,
    *,
    min_episode_s: float = MIN_EPISODE_S,
    block_s: float = BLOCK_S,
    gap_s: float = GAP_S,
    seed: int = 0,
) -> Study:
    """Return the statistics of a study of videos, as `fervit study` writes them.

    >>> import fervit
    >>> table = fervit.study("rows.csv").per_person  # doctest: +SKIP
    >>> table.pivot(index="source", columns="expression", values="fraction")  # doctest: +SKIP

    Args:
        tables: CSV, JSON or Parquet files of `fervit predict`, by path, one or several; a pandas or polars data frame
            of such rows; rows as dicts (`table_rows`); or the results of `Recognizer.video`.
        min_episode_s: the shortest episode, and the shortest interruption that ends one, s.
        block_s: length of the blocks of time that the intervals resample, s; it should outlast most episodes.
        gap_s: the longest that a frame stands, s, where the next one is late; what follows counts as missing.
        seed: of the intervals.

    Returns:
        data frames `per_person` (long: a row for each video, person and expression), `wide`, `per_video`, `episodes`
        and `transitions`; `to_csv`, `to_json` and `to_parquet`.

    Raises:
        DataError: a table cannot be read, has no rows of videos, or is of another model; or a video is in two tables.
        ConfigError: a length or the seed is out of range.
        MissingExtra: a Parquet file is given and pyarrow is not installed.
    """
    options = StudyOptions(min_episode_s, block_s, gap_s, seed)
    collector = Collector()
    for name, rows in tables_of(tables):
        before = collector.sources
        for row in rows:
            collector.add(row)
            if (source := text(row.get("source"))) in before:
                raise DataError(
                    f"{name} has rows of {source}, and so has another table: name the table of one run only"
                )
    return collector.study(options)
