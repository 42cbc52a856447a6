"""`fervit predict --one-face` and `--people`."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import fervit.faces.detectors
from fervit.media.video import read_frames
from fervit.types import Box, Face
from tests.helpers.commands import error_of, predict
from tests.helpers.videos import Square, moving, write_faceless_video, write_video


class Two(Square):
    """A detector double: the bright squares of the upper and of the lower half."""

    def _find(self, image: np.ndarray) -> list[Face]:
        upper, lower = super()._find(image[:41]), super()._find(image[41:])
        moved = [Face(Box(f.box.x1, f.box.y1 + 41, f.box.x2, f.box.y2 + 41), f.score) for f in lower]
        return upper + moved


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video of 24 frames: a large square from the 8th on, and all the time a small one."""
    pytest.importorskip("av")
    monkeypatch.setitem(fervit.faces.detectors.DETECTORS, "haar", Two)
    frames = moving(24, away=range(8))
    for image, _ in frames:
        image[46:60, 4:18] = 220
    return write_video(tmp_path / "p01.mp4", frames)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tall(row: dict[str, str]) -> int:
    return round(float(row["y2"]) - float(row["y1"]))


@pytest.mark.parametrize(("which", "heights"), [("largest", [14] * 8 + [20] * 16), ("longest", [14] * 24)])
def test_one_face_a_frame_is_kept_in_tables_and_in_the_annotated_copy(
    pair: Path, tiny_onnx: Path, tmp_path: Path, which: str, heights: list[int]
) -> None:
    table, copy = tmp_path / "rows.csv", tmp_path / "copy.mp4"
    model = ("--model", tiny_onnx, "--detector", "haar")
    result = predict(pair, *model, "--one-face", which, "--csv", table, "--annotate", copy)
    assert result.exit_code == 0, result.output
    found = rows(table)
    assert [int(row["frame"]) for row in found] == list(range(24))
    assert [tall(row) for row in found] == pytest.approx(heights, abs=1)
    assert {row["person"] for row in found} == {"p01"}
    images = [frame.image for frame in read_frames(copy)]
    assert len(images) == 24
    assert images[20].mean() > 40  # the frame itself, also where it was read a second time


def test_tracks_have_the_names_of_the_table_and_what_matched_none_is_told(
    pair: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    people, table = tmp_path / "people.csv", tmp_path / "rows.json"
    people.write_text("source,track,person\np01.mp4,1,Ann\np01.mp4,7,Bob\n")
    result = predict(pair, "--model", tiny_onnx, "--detector", "haar", "--people", people, "--json", table)
    assert result.exit_code == 0, result.output
    assert "no face was seen of p01.mp4 track 7" in result.stderr
    found = [json.loads(line) for line in table.read_text().splitlines()]
    assert {(row["track"], row.get("person")) for row in found} == {(1, "Ann"), (2, None)}


def test_what_cannot_be_meant_is_refused_before_any_work(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    video, absent = write_faceless_video(tmp_path / "clip.webm"), tmp_path / "absent.onnx"
    model = ("--model", absent)
    assert "did you mean 'central'" in error_of(predict(video, *model, "--one-face", "centre"))
    assert "a camera has no end" in error_of(predict("rtsp://10.0.0.2/live", *model, "--one-face", "longest"))
    assert "--one-face is for videos" in error_of(predict(folder / "astro naut.jpg", *model, "--one-face", "largest"))
    assert "cannot be read as a table of people" in error_of(predict(video, *model, "--people", tmp_path / "none.csv"))
    people = tmp_path / "people.csv"
    people.write_text("source,track,person\n")
    assert "would overwrite" in error_of(predict(video, *model, "--people", people, "--csv", people, "--overwrite"))
