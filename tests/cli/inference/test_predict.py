"""`fervit predict`."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.cli import main
from fervit.faces import detectors
from fervit.media.images import read_image
from tests.helpers.commands import error_of, predict
from tests.helpers.results import json_rows


def test_a_folder_prints_a_line_a_face_and_counts_what_failed(folder: Path, tiny_onnx: Path) -> None:
    result = predict(folder, "--model", tiny_onnx)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert "1 face" in lines[0]
    assert "error" in lines[1]
    assert lines[2].endswith("no face")
    assert "3 images, 1 face, 1 could not be read" in result.stderr


def test_json_on_stdout_is_json_alone(folder: Path, tiny_onnx: Path) -> None:
    result = predict(folder, "--model", tiny_onnx, "--json", "-")
    face, broken, empty, skipped = json_rows(result.stdout)
    assert face["source"] == str(folder / "astro naut.jpg")
    assert set(face) == {"source", "box", "face_score", "label", "score", "probs"}
    assert set(broken) == {"source", "error"}
    assert empty == {"source": str(folder / "ünder" / "plain ☀.png"), "faces": 0}
    assert skipped == {"source": str(folder / "notes.txt"), "skipped": "neither image nor video"}


def test_json_goes_to_a_file_and_leaves_stdout_empty(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = predict(folder, "--model", tiny_onnx, "--json", out)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(json_rows(out.read_text(encoding="utf-8"))) == 4


def test_annotated_copies_have_names_of_their_own(folder: Path, tiny_onnx: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for _ in range(2):
        result = predict(folder / "astro naut.jpg", folder / "ünder", "--model", tiny_onnx, "--annotate", folder)
        assert result.exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    new = sorted(path.name for path in folder.rglob("*") if path.is_file() and path not in before)
    assert new == ["astro naut-2.jpg", "astro naut-3.jpg", "plain ☀-2.png", "plain ☀.png"]
    assert read_image(folder / "astro naut-2.jpg").shape == (512, 512, 3)


def test_crops_are_not_detected(tmp_path: Path, tiny_onnx: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(30):
        Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)).save(tmp_path / f"{k:02}.png")
    result = predict(tmp_path, "--crop", "--model", tiny_onnx, "--json", "-", "--batch-size", 7, "--threads", 1)
    assert result.exit_code == 0
    printed = json_rows(result.stdout)
    assert [Path(str(row["source"])).name for row in printed] == [f"{k:02}.png" for k in range(30)]
    assert all(row["box"] == [0, 0, 48, 48] for row in printed)
    assert "30/30" in result.stderr


def test_no_face_anywhere_hints_at_crop(tmp_path: Path, tiny_onnx: Path) -> None:
    Image.new("RGB", (48, 48), "grey").save(tmp_path / "a.png")
    result = predict(tmp_path / "a.png", "--model", tiny_onnx)
    assert result.exit_code == 0
    assert "--crop" in result.stderr


def test_mistakes_are_one_line_each(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = ("--model", tiny_onnx)
    assert "no such file or folder" in error_of(predict(tmp_path / "absent.jpg", *model))
    assert "no images in" in error_of(predict(tmp_path / "empty", *model))
    assert "truncated" in error_of(predict(folder / "cut.jpg", *model))
    assert "is not an image" in error_of(predict(folder / "notes.txt", *model))
    assert "none of the 2 images" in error_of(predict(folder / "cut.jpg", folder / "notes.txt", *model))
    assert "choices: auto" in error_of(predict(folder, *model, "--detector", "yolo"))
    assert "no model at" in error_of(predict(folder, "--model", tmp_path / "absent.onnx"))


def test_copies_of_photos_go_into_a_folder(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    for name, message in (("o.mp4", "takes one video, got 0"), ("o.avi", "writes .mp4 or .webm, or into a folder")):
        assert message in error_of(predict(folder, "--model", tiny_onnx, "--annotate", tmp_path / name))
        assert not (tmp_path / name).exists()


def test_one_good_photo_among_named_ones_is_enough(folder: Path, tiny_onnx: Path) -> None:
    assert predict(folder / "cut.jpg", folder / "astro naut.jpg", "--model", tiny_onnx).exit_code == 0


def test_names_that_the_terminal_cannot_say_are_escaped_and_json_is_utf8(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (48, 48), "grey").save("фото.jpg")

    def shown(*options: str) -> bytes:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "argv", ["fervit", "predict", "фото.jpg", "--model", str(tiny_onnx), *options])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        stdout.flush()
        return bytes(stdout.buffer.getvalue())

    assert shown().startswith(rb"\u0444\u043e\u0442\u043e.jpg")
    assert json_rows(shown("--json", "-").decode()) == [{"source": "фото.jpg", "faces": 0}]


def test_a_large_photo_without_a_face_suggests_tiles_and_a_small_one_crops(tmp_path: Path, tiny_onnx: Path) -> None:
    Image.new("RGB", (1600, 900), "grey").save(tmp_path / "large.png")
    Image.new("RGB", (160, 90), "grey").save(tmp_path / "small.png")
    large = predict(tmp_path / "large.png", "--model", tiny_onnx, "--detector", "haar").stderr
    assert "no face found in 1 large photo; to search for small faces, which takes longer, add --tile" in large
    assert "--crop" not in large
    tiled = predict(tmp_path / "large.png", "--model", tiny_onnx, "--detector", "haar", "--tile").stderr
    assert "--tile" not in tiled
    small = predict(tmp_path / "small.png", "--model", tiny_onnx, "--detector", "haar").stderr
    assert "add --crop" in small
    assert "--tile" not in small


def test_a_detector_that_stands_in_is_in_every_row_and_once_on_stderr(
    folder: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detectors, "best_detector", lambda: "haar")
    detectors._tell_of_fallback.cache_clear()
    result = predict(folder, "--model", tiny_onnx, "--json", "-")
    face, broken, empty = (row for row in json_rows(result.stdout) if "skipped" not in row)
    assert face["detector"] == broken["detector"] == empty["detector"] == "haar"
    assert len(caplog.records) == 1
