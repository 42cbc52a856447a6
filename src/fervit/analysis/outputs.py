"""What a study leaves in a folder: tables, events, timelines, the contact sheet."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fervit.analysis.contact import draw_contact_sheet, short_names
from fervit.analysis.events import boris, elan
from fervit.analysis.frames import TABLES, write_text
from fervit.analysis.strips import require_matplotlib
from fervit.analysis.timeline import PEOPLE_SHOWN, draw_timeline
from fervit.errors import ConfigError, unknown
from fervit.files import FIGURE_SUFFIXES, cannot_write, fitting_name
from fervit.reports.figures.files import write_figure

if TYPE_CHECKING:
    from fervit.analysis.study import Study


def write_study(
    study: "Study",
    folder: str | Path,
    *,
    figures: str | None = ".png",
    most: int = PEOPLE_SHOWN,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write everything about a study into a folder; files of an earlier study of these videos are replaced.

    These are `per_person.csv` (long), `wide.csv`, `per_video.csv`, `episodes.csv`, `transitions.csv`, `study.json` (all
    of these), `events.tsv` (BORIS), `contact_sheet.png`, and for each video `events/NAME.eaf` (ELAN) and
    `timelines/NAME.png`.

    Args:
        study: the study.
        folder: it is made where it is not there.
        figures: the ending of the figures' names, or None for no figures.
        most: how many people a timeline draws.
        progress: called with how many of the files are written, and how many there will be.

    Returns:
        the files, in the order in which they were written.

    Raises:
        ConfigError: a file cannot be written, or figures of another ending are wanted.
        MissingExtra: matplotlib is not installed.
    """
    if figures is not None:
        if figures not in FIGURE_SUFFIXES:
            raise ConfigError(unknown("ending of figures", figures, FIGURE_SUFFIXES))
        require_matplotlib("drawing timelines")
    folder = Path(folder)
    jobs = list(_jobs(study, folder, figures, most))
    try:
        for name in ("events", *(["timelines"] if figures is not None else [])):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    for done, (path, write) in enumerate(jobs):
        progress(done, len(jobs))
        write(path)
    progress(len(jobs), len(jobs))
    return [path for path, _ in jobs]


def _jobs(
    study: "Study", folder: Path, figures: str | None, most: int
) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Yield each file and what writes it."""
    for table in TABLES:
        yield folder / f"{table}.csv", lambda path, table=table: study.to_csv(path, table)  # type: ignore[misc]
    yield folder / "study.json", study.to_json
    yield folder / "events.tsv", lambda path: write_text(path, boris(study))
    stems = file_stems([video.source for video in study.videos])
    for video, stem in zip(study.videos, stems, strict=True):
        path = folder / "events" / fitting_name(folder, stem, ".eaf")
        yield path, lambda path, video=video: write_text(path, elan(study, video))  # type: ignore[misc]
    if figures is None:
        return
    yield folder / f"contact_sheet{figures}", lambda path: write_figure(draw_contact_sheet(study), path)
    for video, stem in zip(study.videos, stems, strict=True):
        path = folder / "timelines" / fitting_name(folder, stem, figures)
        yield (
            path,
            lambda path, source=video.source: write_figure(draw_timeline(study, source, most=most), path),  # type: ignore[misc]
        )


def file_stems(sources: list[str]) -> list[str]:
    """Return a file's stem for each video: its name, with the folders that tell it apart, and a number where needed.

    >>> file_stems(["study/a/p01.mp4", "study/b/p01.mp4", "study/b/p01.mov"])
    ['a_p01', 'b_p01', 'b_p01-2']
    """
    taken: set[str] = set()
    stems = []
    for name in short_names(sources, most=None):
        folder, _, file = name.rpartition("/")
        plain = "_".join([*filter(None, folder.split("/")), file.rpartition(".")[0] or file])
        base = "".join("_" if c in '\\:*?"<>|' else c for c in plain).lstrip(".") or "video"
        stem, number = base, 1
        while stem.casefold() in taken:  # many file systems take a and A for one
            number += 1
            stem = f"{base}-{number}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems
