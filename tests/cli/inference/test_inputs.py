"""What `fervit predict` takes: folders of everything, patterns, standard input."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fervit.cli import app
from tests.helpers.commands import error_of, predict
from tests.helpers.results import json_rows


def piped(data: bytes, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=data)


@pytest.mark.slow
def test_a_folder_run_tells_what_it_skipped_and_runs_its_videos(folder: Path, clip: Path, tiny_onnx: Path) -> None:
    clip.rename(folder / "film.without-an-ending")
    (folder / ".hidden.jpg").touch()
    rows, table = folder.parent / "rows.jsonl", folder.parent / "rows.csv"
    result = predict(folder, "--model", tiny_onnx, "--json", rows, "--csv", table)
    assert result.exit_code == 0, result.output
    assert "skipped 2: 1 hidden, 1 neither image nor video" in result.stderr
    skipped = [row for row in json_rows(rows.read_text(encoding="utf-8")) if "skipped" in row]
    assert skipped == [
        {"source": str(folder / ".hidden.jpg"), "skipped": "hidden"},
        {"source": str(folder / "notes.txt"), "skipped": "neither image nor video"},
    ]
    assert "notes.txt" not in table.read_text(encoding="utf-8")
    assert "30 frames" in result.stdout
    result = predict(folder, "--model", tiny_onnx, "--skip-videos")
    assert "1 video" in result.stderr and "30 frames" not in result.stdout


@pytest.mark.slow
def test_a_second_run_with_skip_done_repeats_no_row(folder: Path, tiny_onnx: Path) -> None:
    (folder / ".hidden.jpg").touch()
    rows = folder.parent / "rows.jsonl"
    for _ in range(3):
        assert predict(folder, "--model", tiny_onnx, "--json", rows, "--skip-done").exit_code == 0
    sources = [row["source"] for row in json_rows(rows.read_text(encoding="utf-8"))]
    assert len(sources) == len(set(sources)) == 5


def test_an_animated_image_is_run_as_a_video(tmp_path: Path, tiny_onnx: Path) -> None:
    first, *others = (Image.fromarray(np.full((40, 60, 3), 50 * k, np.uint8)) for k in range(4))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=100)
    result = predict(tmp_path / "a.gif", "--model", tiny_onnx, "--json", "-")
    assert [row["frame"] for row in json_rows(result.stdout)] == [0, 1, 2, 3]


def test_a_photo_on_standard_input(tiny_onnx: Path, folder: Path, tmp_path: Path) -> None:
    data = (folder / "astro naut.jpg").read_bytes()
    result = piped(data, "-", "--model", tiny_onnx, "--json", "-", "--annotate", tmp_path / "copies")
    assert result.exit_code == 0, result.output
    assert [row["source"] for row in json_rows(result.stdout)] == ["-"]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["standard-input.png"]


def test_a_video_on_standard_input(tiny_onnx: Path, clip: Path) -> None:
    result = piped(clip.read_bytes(), "-", "--model", tiny_onnx)
    assert result.exit_code == 0, result.output
    assert "-: 30 frames, 1.5 s" in result.stdout


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_a_list_of_paths_on_standard_input(tiny_onnx: Path, folder: Path, end: str) -> None:
    names = [folder / "astro naut.jpg", folder / "ünder" / "plain ☀.png"]
    result = piped("".join(f"{name}{end}" for name in names).encode(), "-", "--model", tiny_onnx, "--json", "-")
    assert result.exit_code == 0, result.output
    assert [row["source"] for row in json_rows(result.stdout)] == [str(name) for name in names]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"\x07\x08binary", "neither an image nor a video nor a list"), (b"a.jpg\n", "no such file")],
)
def test_what_standard_input_cannot_hold_is_one_line(tiny_onnx: Path, data: bytes, message: str) -> None:
    assert message in error_of(piped(data, "-", "--model", tiny_onnx))
    assert "read once" in error_of(piped(data, "-", "-", "--model", tiny_onnx))


def test_a_pattern_in_quotes(tiny_onnx: Path, folder: Path) -> None:
    result = predict(folder / "*.jpg", "--model", tiny_onnx, "--json", "-")
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.slow
def test_a_stream_is_read_until_it_ends_and_its_password_is_never_shown(
    tiny_onnx: Path, tmp_path: Path, stream: str
) -> None:
    address = stream.replace("http://", "http://admin:hunter2@") + "?token=hunter2"
    rows, copies = tmp_path / "rows.jsonl", tmp_path / "copies"
    result = predict(address, "--model", tiny_onnx, "--json", rows, "--annotate", copies)
    assert result.exit_code == 0, result.output
    assert json.loads(rows.read_text().splitlines()[0])["source"].endswith("/video?token=***")
    assert "http://***@127.0.0.1" in result.stdout
    assert "hunter2" not in result.output + result.stderr + rows.read_text()
    assert [path.name for path in copies.iterdir()] == ["camera.mp4"]


def test_a_video_that_cannot_be_read_has_a_row_too(folder: Path, tiny_onnx: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"hello")
    result = predict(folder, "--model", tiny_onnx, "--json", "-")
    assert result.exit_code == 0
    [row] = [row for row in json_rows(result.stdout) if str(row["source"]).endswith("broken.mp4")]
    assert "not a video" in str(row["error"]) and "not a video" in result.stderr
