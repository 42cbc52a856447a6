"""The file beside a table that says what was read, how, and how far: one entry a source."""

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fervit import __version__
from fervit.errors import ConfigError, DataError, quoted, reason
from fervit.files import as_path, read_json, replacing, sync_file
from fervit.inference.videos.points import ResumePoint

ENDING = ".sources.json"
SAVE_EVERY_S = 1.0  # what a `kill -9` may cost of a run over photos
SAVE_FRACTION = 0.05  # of the run's time at most, however many sources there are


@dataclass(frozen=True)
class SourceRecord:
    """What a run found out about one source, once it is finished.

    Attributes:
        source: as in the rows.
        kind: `photo`, `video` or `camera`; empty for one that an earlier run without this file finished.
        rows: how many it has in each table.
        frames: frames looked at; 1 for a photo, 0 for a file that could not be read.
        duration_s: length of a video by its header, or up to the end of its last frame where that has none.
        fps: frames/s of a video on average, by its header.
        last_s: time of the last frame looked at.
        width: px of the first frame as it is shown, upright and with square pixels.
        height: px of it.
        rotation_deg: by how much a video is turned clockwise to be shown, where its header says so.
        bytes: size of the file.
        error: why it, or the rest of it, could not be read.
        warning: what is odd about what was read, such as that it ends before its header says.
        started: when time 0 of a camera was, in UTC as of ISO 8601.
    """

    source: str
    kind: str = ""
    rows: int = 0
    frames: int = 0
    duration_s: float | None = None
    fps: float | None = None
    last_s: float | None = None
    width: int | None = None
    height: int | None = None
    rotation_deg: int | None = None
    bytes: int | None = None
    error: str | None = None
    warning: str | None = None
    started: str | None = None


@dataclass(frozen=True, eq=False)
class Unfinished:
    """How far the rows of a video that is not finished are safely on the disk, and what the next ones depend on.

    Attributes:
        source: as in the rows.
        rows: how many it has by then, in each table.
        frames: frames looked at.
        last_s: time of the last of them.
        size: `(width, height)` of the first, px.
        bytes: size of the file.
        resume: from where it goes on.
    """

    source: str
    rows: int
    frames: int
    last_s: float
    size: tuple[int, int]
    bytes: int | None
    resume: ResumePoint

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `from_dict` reads back."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return values | {"size": list(self.size), "resume": self.resume.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Unfinished":
        """Build from a JSON object.

        Raises:
            DataError, KeyError, TypeError, ValueError: it is none that `to_dict` made.
        """
        width, height = values["size"]
        return cls(
            str(values["source"]),
            int(values["rows"]),
            int(values["frames"]),
            float(values["last_s"]),
            (int(width), int(height)),
            None if values["bytes"] is None else int(values["bytes"]),
            ResumePoint.from_dict(values["resume"]),
        )


@dataclass
class Sidecar:
    """All that the file beside a table holds.

    Attributes:
        settings: whatever changes the rows, such as the model's name and `every`; a resumed run needs the same.
        command: the command line, or empty.
        sources: the finished sources by name, in the order of their rows.
        complete: the run came to its end.
        version: fervit's.
        unfinished: the video that is being looked at.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    sources: dict[str, SourceRecord] = field(default_factory=dict)
    complete: bool = False
    version: str = __version__
    unfinished: Unfinished | None = None

    def unchanged(self) -> dict[str, int]:
        """Return the number of rows of every source, but for those whose file has another size by now."""
        return {name: record.rows for name, record in self.sources.items() if not _resized(name, record.bytes)}

    def begun(self, names: Collection[str]) -> Unfinished | None:
        """Return the video to go on in, if it is one of these and its file has the same size as before."""
        found = self.unfinished
        if found is None or found.source not in names or found.bytes is None or _resized(found.source, found.bytes):
            return None
        return found

    def to_json(self) -> str:
        """Return the file's text, one source a line."""
        lines = ",\n".join(json.dumps(asdict(record), ensure_ascii=False) for record in self.sources.values())
        head = {
            "fervit": self.version,
            "command": self.command,
            "settings": dict(self.settings),
            "complete": self.complete,
        }
        if self.unfinished is not None:
            head["unfinished"] = self.unfinished.to_dict()
        text = ",\n".join(
            f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()
        )
        return f'{{\n{text},\n "sources": [\n{lines}\n]}}\n'


def _resized(source: str, size: int | None) -> bool:
    if size is None:
        return False
    try:
        return Path(source).stat().st_size != size
    except (OSError, ValueError):  # it is gone, or was never a file: its rows stay
        return False


def sidecar_of(table: Path) -> Path:
    """Return the name of the file beside a table: `rows.csv.sources.json` for `rows.csv`."""
    return table.with_name(table.name + ENDING)


def read_sidecar(table: str | Path) -> Sidecar | None:
    """Return what lies beside a table, or None where there is nothing.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    path = sidecar_of(as_path(table, "a table", ConfigError))
    try:
        if not path.exists():
            return None
        found = read_json(path)
        known = {each.name for each in fields(SourceRecord)}
        records = [SourceRecord(**{k: v for k, v in item.items() if k in known}) for item in found["sources"]]
        if not all(isinstance(record.source, str) and isinstance(record.rows, int) for record in records):
            raise TypeError("a source without its name or its number of rows")
        return Sidecar(
            dict(found["settings"]),
            str(found["command"]),
            {record.source: record for record in records},
            bool(found["complete"]),
            str(found["fervit"]),
            None if found.get("unfinished") is None else Unfinished.from_dict(found["unfinished"]),
        )
    except (DataError, OSError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not what `fervit predict` writes beside a table ({reason(error)}): move it away, or start anew "
            "with --overwrite"
        ) from error


def check_same(old: Sidecar, settings: Mapping[str, Any], table: Path) -> None:
    """Refuse to append rows that were made in another way than those before.

    Raises:
        ConfigError: a setting differs.
    """
    for name, value in settings.items():
        if name in old.settings and old.settings[name] != value:
            raise ConfigError(
                f"{table} was made with {name} = {quoted(old.settings[name])}, and this run has {quoted(value)}: use "
                "the same settings, name another file, or start anew with --overwrite"
            )


class SidecarWriter:
    """Keeps the files beside a run's tables up to date, never ahead of the tables.

    Args:
        tables: the tables.
        sidecar: what an earlier run left, or the head of a new one.

    Attributes:
        paths: the files.
    """

    def __init__(self, tables: Sequence[Path], sidecar: Sidecar):
        self.paths, self.sidecar = [sidecar_of(table) for table in tables], sidecar
        self._saved_s, self._pause_s = -float("inf"), SAVE_EVERY_S
        self._reached = -1  # whole seconds of the present video that are saved
        self._cost_s = 0.0

    def add(self, record: SourceRecord) -> None:
        """Add a finished source; a video is saved at once, photos once a second."""
        self.sidecar.sources.pop(record.source, None)  # one that is done again stands where its rows stand
        self.sidecar.sources[record.source] = record
        self.sidecar.unfinished, self._reached = None, -1
        if time.monotonic() - self._saved_s >= (self._pause_s if record.kind == "photo" else self._pause_s - 1):
            self.save()

    def reach(self, unfinished: Unfinished, sync: Callable[[], None]) -> None:
        """Save how far a video is, once a second of its time, or as often as costs a twentieth of the run's time.

        Args:
            unfinished: how far it is.
            sync: brings the tables' rows so far onto the disk; called before anything tells of them.

        Raises:
            OSError: something cannot be written.
        """
        start_s, second = time.monotonic(), math.floor(unfinished.last_s)
        if second == self._reached or start_s - self._saved_s < self._cost_s / SAVE_FRACTION:
            return
        sync()
        self.sidecar.unfinished, self._reached = unfinished, second
        self.save()
        self._cost_s = time.monotonic() - start_s

    def save(self) -> None:
        """Write the files.

        Raises:
            OSError: one cannot be written.
        """
        start_s = time.monotonic()
        text = self.sidecar.to_json()
        for path in self.paths:
            with replacing(path) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
                sync_file(part)
        self._saved_s = time.monotonic()
        self._pause_s = max(SAVE_EVERY_S, (self._saved_s - start_s) / SAVE_FRACTION)

    def close(self, *, complete: bool) -> None:
        """Write the files for the last time."""
        self.sidecar.complete = complete
        if complete:
            self.sidecar.unfinished = None
        self.save()
