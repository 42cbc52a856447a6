"""The file beside a table that says what was read, how, and how far: one entry a source."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fervit import __version__
from fervit.errors import ConfigError, DataError, quoted, reason
from fervit.files import as_path, read_json, replacing

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


@dataclass
class Sidecar:
    """All that the file beside a table holds.

    Attributes:
        settings: whatever changes the rows, such as the model's name and `every`; a resumed run needs the same.
        command: the command line, or empty.
        sources: the finished sources by name, in the order of their rows.
        complete: the run came to its end.
        version: fervit's.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    sources: dict[str, SourceRecord] = field(default_factory=dict)
    complete: bool = False
    version: str = __version__

    def unchanged(self) -> dict[str, int]:
        """Return the number of rows of every source, but for those whose file has another size by now."""
        return {name: record.rows for name, record in self.sources.items() if not _resized(record)}

    def to_json(self) -> str:
        """Return the file's text, one source a line."""
        lines = ",\n".join(json.dumps(asdict(record), ensure_ascii=False) for record in self.sources.values())
        head = {
            "fervit": self.version,
            "command": self.command,
            "settings": dict(self.settings),
            "complete": self.complete,
        }
        text = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
        return f'{text},\n "sources": [\n{lines}\n]}}\n'


def _resized(record: SourceRecord) -> bool:
    if record.bytes is None:
        return False
    try:
        return Path(record.source).stat().st_size != record.bytes
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

    def add(self, record: SourceRecord) -> None:
        """Add a finished source; a video is saved at once, photos once a second."""
        self.sidecar.sources.pop(record.source, None)  # one that is done again stands where its rows stand
        self.sidecar.sources[record.source] = record
        if time.monotonic() - self._saved_s >= (self._pause_s if record.kind == "photo" else self._pause_s - 1):
            self.save()

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
        self._saved_s = time.monotonic()
        self._pause_s = max(SAVE_EVERY_S, (self._saved_s - start_s) / SAVE_FRACTION)

    def close(self, *, complete: bool) -> None:
        """Write the files for the last time."""
        self.sidecar.complete = complete
        self.save()
