"""Timelines, contact sheets and the folder of a study."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

import fervit
from fervit.analysis.contact import draw_contact_sheet
from fervit.analysis.outputs import file_stems
from fervit.analysis.strips import all_faces, strip_of
from fervit.analysis.study import Study
from fervit.analysis.timeline import draw_timeline
from fervit.errors import ConfigError
from fervit.media.style import fonts
from fervit.reports.figures.files import figure_bytes
from tests.helpers.studies import Row, video

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib")


def texts(figure: "Figure") -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def crowd(count: int) -> list[Row]:
    """Return tracks 1 to `count`, each a second shorter than the one before."""
    return [row for k in range(count) for row in video("s" * 10 * (count - k), track=k + 1)]


def test_a_strip_is_empty_where_the_face_is_away() -> None:
    found = fervit.study(video("ss--hh"))
    strip = strip_of(found.videos[0], found.videos[0].people[0])
    at = {round(time, 3): strip.probs[strip.times == time].sum(axis=1).round(6).tolist() for time in strip.times}
    assert at == {0.0: [0, 1], 0.1: [1], 0.2: [1, 0], 0.4: [0, 1], 0.5: [1], 0.6: [1, 0]}
    assert (np.diff(strip.times) >= 0).all()


def test_a_long_strip_is_averaged_over_time() -> None:
    found = fervit.study(video("sh" * 500))
    strip = strip_of(found.videos[0], found.videos[0].people[0], points=50)
    assert len(strip.times) <= 60
    assert strip.probs[1:-1] == pytest.approx(np.tile([0.45, 0.45, 0.1], (len(strip.times) - 2, 1)))


def test_all_faces_are_the_mean_of_those_in_a_frame() -> None:
    (recording,) = fervit.study(video("ss--") + video("-hh-", track=2)).videos
    mean = all_faces(recording)
    assert mean is not None
    assert mean.places.tolist() == [0, 1, 2]
    assert mean.probs == pytest.approx(np.array([[0.8, 0.1, 0.1], [0.45, 0.45, 0.1], [0.1, 0.8, 0.1]]))


def test_the_timeline_draws_the_longest_tracks_and_names_the_rest() -> None:
    found = texts(draw_timeline(fervit.study(crowd(4)), "a.mp4", most=2))
    assert [text for text in found if text.startswith("track")] == ["track 1", "track 2"]
    assert "all faces" in found
    assert "not drawn: track 3 (2.0 s), track 4 (1.0 s)" in found


def test_gaps_and_cuts_are_in_the_legend_where_there_are_any() -> None:
    rows = [*video("ssss-"), *video("ssss", start=9.0)]
    rows = [{**row, "frame": k, "cut": k == 2} for k, row in enumerate(rows)]
    assert {"gap", "cut"} <= set(texts(draw_timeline(fervit.study(rows), "a.mp4")))
    assert not {"gap", "cut"} & set(texts(draw_timeline(fervit.study(video("ssss")), "a.mp4")))


def test_a_video_without_a_face_has_a_timeline_that_says_so() -> None:
    assert "no face" in texts(draw_timeline(fervit.study(video("----")), "a.mp4"))


def test_the_contact_sheet_names_every_video_and_what_could_not_be_read() -> None:
    rows = [row for k in range(3) for row in video("sh-", source=f"study/p{k}.mp4")]
    rows += [*video("---", source="study/none.mp4"), {"source": "study/bad.mp4", "error": "truncated"}]
    found = texts(draw_contact_sheet(fervit.study(rows)))
    assert {"p0.mp4", "p1.mp4", "p2.mp4", "none.mp4", "could not be read: bad.mp4"} <= set(found)
    assert found.count("face in view 67 %") == 3
    fewer = texts(draw_contact_sheet(fervit.study(rows), most=1))
    assert any(text.startswith("3 more videos are not drawn") for text in fewer)


@pytest.mark.slow
def test_the_folder_of_a_study_has_tables_events_and_figures(tmp_path: Path) -> None:
    rows = video("sssss$".replace("$", "h"), source="x/a.mp4") + video("hhhhhh", source="y/a.mp4")
    done: list[tuple[int, int]] = []
    files = fervit.write_study(
        fervit.study(rows), tmp_path / "out", figures=".svg", progress=lambda part, of: done.append((part, of))
    )
    names = {str(path.relative_to(tmp_path / "out")) for path in files}
    assert names >= {"per_person.csv", "wide.csv", "study.json", "events.tsv", "contact_sheet.svg"}
    assert names >= {"events/x_a.eaf", "events/y_a.eaf", "timelines/x_a.svg", "timelines/y_a.svg"}
    assert all(path.stat().st_size for path in files)
    assert done[-1] == (len(files), len(files))
    assert ElementTree.parse(tmp_path / "out" / "timelines" / "x_a.svg").getroot().tag.endswith("svg")


def labelled(labels: tuple[str, ...]) -> Study:
    """Return a study of a video whose labels are these."""
    probs = {f"p_{name}": 1 / len(labels) for name in labels}
    return fervit.study(
        [{"source": "v", "frame": k, "time_s": k / 10, "track": 1, "label": labels[0], **probs} for k in range(3)]
    )


def test_a_figure_with_labels_that_no_font_has_shows_their_places_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "SYSTEM", ())
    found = labelled(("楽しい", "müde"))
    with caplog.at_level(logging.WARNING, "fervit"):
        for figure in (draw_timeline(found, "v"), draw_contact_sheet(found)):
            figure_bytes(figure, ".png")  # matplotlib would warn of a missing glyph, which is an error here
    assert [record.getMessage() for record in caplog.records if "#0 for 楽しい" in record.getMessage()]


def test_the_legend_of_the_figure_has_every_label_as_it_is_written() -> None:
    figure = draw_timeline(labelled(("_leer", "$x^2$", "fro\u0308hlich")), "v")
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:3] == ["_leer", r"\$x^2\$", "fr\u00f6hlich"]
    figure_bytes(figure, ".svg")


def test_figures_of_another_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown ending of figures '\.gif'"):
        fervit.write_study(fervit.study(video("s")), tmp_path, figures=".gif")


def test_videos_of_one_name_get_files_of_their_own() -> None:
    assert file_stems(["a/p.mp4", "a/p.mov", "a/P.mp4"]) == ["p", "p-2", "P-3"]
    assert file_stems(["rtsp://10.0.0.2/live?x=1"]) == ["live_x=1"]
