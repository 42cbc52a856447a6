"""Episodes as intervals for annotation tools: EAF documents of ELAN, and tab-separated events for BORIS."""

import datetime
import io
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from fervit.analysis.frames import write_text
from fervit.analysis.recording import Recording
from fervit.analysis.statistics import PersonStatistics
from fervit.errors import ConfigError, quoted
from fervit.files import as_path

if TYPE_CHECKING:
    from fervit.analysis.study import Study

SUFFIXES = (".tsv", ".eaf")
"""Files of events, by the ending of their name."""
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
TYPE, VOCABULARY = "expression", "expressions"  # of the tiers of an EAF document
# The first five are what BORIS (8.x and 9.x, Observations > Import) asks of a spreadsheet, in any order.
COLUMNS = ("time", "subject", "code", "modifier", "comment", "source")


def check_events(path: str | Path) -> Path:
    """Return the path of a file for events.

    Raises:
        ConfigError: its name ends in none of `SUFFIXES`.
    """
    path = as_path(path, "events", ConfigError)
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"expected events to end in {' or '.join(SUFFIXES)}, got {quoted(str(path))}")
    return path


def write_events(study: "Study", path: str | Path) -> None:
    """Write all episodes of a study as BORIS's events (`.tsv`), or of its only video as a document of ELAN (`.eaf`).

    Raises:
        ConfigError: the name has another ending, the file cannot be written, or an `.eaf` is asked for several videos.
    """
    path = check_events(path)
    if path.suffix.lower() == ".tsv":
        write_text(path, boris(study))
        return
    if len(study.videos) != 1:
        raise ConfigError(
            f"an .eaf takes one video, got {len(study.videos)}: name a .tsv, or write one for each with fervit study"
        )
    write_text(path, elan(study, study.videos[0]))


def boris(study: "Study") -> str:
    """Return all episodes as tab-separated events, a row for each start and each end, as BORIS imports them.

    In BORIS expressions are the behaviours (state events) and people the subjects. It takes one observation at a
    time: rows of one `source`.
    """
    lines = ["\t".join(COLUMNS)]
    for video in study.videos:
        events = []
        for one in study.of(video):
            for episode in one.episodes:
                name = study.expressions[episode.label]
                # Ends before starts of the same moment: a state ends before the next one begins.
                events += [
                    (round(episode.start_s, 3), 1, one.person.name, name, "start"),
                    (round(episode.end_s, 3), 0, one.person.name, name, "stop"),
                ]
        for time_s, _, subject, name, kind in sorted(events):
            lines.append("\t".join(map(_cell, (f"{time_s:.3f}", subject, name, "", kind, video.source))))
    return "\n".join(lines) + "\n"


def elan(study: "Study", video: Recording) -> str:
    """Return the episodes of a video as a document of ELAN (EAF 3.0), with a tier for each person.

    The document links the video by its name and by its path, relative to where both lie.
    """
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "fervit",
            "DATE": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": SCHEMA,
        },
    )
    people = study.of(video)
    _header(root, video, sum(len(one.episodes) for one in people))
    times = sorted({ms for one in people for episode in one.episodes for ms in _span(episode.start_s, episode.end_s)})
    slots = {ms: f"ts{k}" for k, ms in enumerate(times, 1)}
    order = ElementTree.SubElement(root, "TIME_ORDER")
    for ms, slot in slots.items():
        ElementTree.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(ms)})
    _tiers(root, people, study.expressions, slots)
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {
            "CONTROLLED_VOCABULARY_REF": VOCABULARY,
            "GRAPHIC_REFERENCES": "false",
            "LINGUISTIC_TYPE_ID": TYPE,
            "TIME_ALIGNABLE": "true",
        },
    )
    ElementTree.SubElement(
        root, "LANGUAGE", {"LANG_DEF": "http://cdb.iso.org/lg/CDB-00130975-001", "LANG_ID": "und", "LANG_LABEL": "any"}
    )
    vocabulary = ElementTree.SubElement(root, "CONTROLLED_VOCABULARY", {"CV_ID": VOCABULARY})
    ElementTree.SubElement(vocabulary, "DESCRIPTION", {"LANG_REF": "und"})
    for k, name in enumerate(study.expressions):
        entry = ElementTree.SubElement(vocabulary, "CV_ENTRY_ML", {"CVE_ID": f"cveid{k}"})
        ElementTree.SubElement(entry, "CVE_VALUE", {"DESCRIPTION": "", "LANG_REF": "und"}).text = _xml(name)
    ElementTree.indent(root)
    file = io.StringIO()
    ElementTree.ElementTree(root).write(file, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{file.getvalue()}\n'


def _header(root: ElementTree.Element, video: Recording, count: int) -> None:
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    if "://" not in video.source:  # the stream of a camera is no file that ELAN could open
        path = Path(video.source)
        address = path.as_uri() if path.is_absolute() else f"./{path.as_posix()}"
        kind = mimetypes.guess_type(path.name)[0] or "video/mp4"
        described = {"MEDIA_URL": address, "MIME_TYPE": kind, "RELATIVE_MEDIA_URL": f"./{path.name}"}
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", {key: _xml(value) for key, value in described.items()})
    ElementTree.SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"}).text = str(count)


def _tiers(
    root: ElementTree.Element, people: Sequence[PersonStatistics], expressions: Sequence[str], slots: dict[int, str]
) -> None:
    number = 0
    for one in people:
        named = {"LINGUISTIC_TYPE_REF": TYPE, "PARTICIPANT": _xml(one.person.name), "TIER_ID": _xml(one.person.name)}
        tier = ElementTree.SubElement(root, "TIER", named)
        for episode in one.episodes:
            number += 1
            start, end = _span(episode.start_s, episode.end_s)
            places = {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": slots[start], "TIME_SLOT_REF2": slots[end]}
            annotation = ElementTree.SubElement(tier, "ANNOTATION")
            aligned = ElementTree.SubElement(annotation, "ALIGNABLE_ANNOTATION", places)
            ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = _xml(expressions[episode.label])


def _span(start_s: float, end_s: float) -> tuple[int, int]:
    """Return an episode in whole ms; ELAN takes none without a length."""
    start = max(0, round(1000 * start_s))
    return start, max(start + 1, round(1000 * end_s))


def _xml(value: str) -> str:
    """Return a text without what no XML document may hold: control characters and halves of surrogate pairs."""
    return "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in value)


def _cell(value: str) -> str:
    """Return a text without the characters that end a cell or a row."""
    return " ".join(value.split())
