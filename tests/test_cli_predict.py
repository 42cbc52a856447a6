"""`fervit predict`."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fervit.cli import app
from fervit.errors import FervitError
from fervit.images import read_image

FULL = Path("/dev/full")


@pytest.fixture
def folder(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder with a photo of one face, one of none, a broken one, and a text."""
    photos = tmp_path / "my photos"
    (photos / "ünder").mkdir(parents=True)
    Image.fromarray(astronaut).save(photos / "astro naut.jpg")
    Image.new("RGB", (90, 70), "teal").save(photos / "ünder" / "plain ☀.png")
    (photos / "cut.jpg").write_bytes((photos / "astro naut.jpg").read_bytes()[:3000])
    (photos / "notes.txt").write_text("no picture")
    return photos


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def error_of(result: Result) -> str:
    assert isinstance(result.exception, FervitError), result.output
    return str(result.exception)


def test_a_folder_prints_a_line_a_face_and_counts_what_failed(folder: Path, tiny_onnx: Path) -> None:
    result = run(folder, "--model", tiny_onnx)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert "1 face" in lines[0]
    assert "error" in lines[1]
    assert lines[2].endswith("no face")
    assert "3 pictures, 1 face, 1 could not be read" in result.stderr


def test_json_on_stdout_is_json_alone(folder: Path, tiny_onnx: Path) -> None:
    result = run(folder, "--model", tiny_onnx, "--json", "-")
    face, broken, empty = rows(result.stdout)
    assert face["source"] == str(folder / "astro naut.jpg")
    assert set(face) == {"source", "box", "face_score", "label", "score", "probs"}
    assert set(broken) == {"source", "error"}
    assert empty == {"source": str(folder / "ünder" / "plain ☀.png"), "faces": 0}


def test_json_goes_to_a_file_and_leaves_stdout_empty(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = run(folder, "--model", tiny_onnx, "--json", out)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(rows(out.read_text(encoding="utf-8"))) == 3


def test_json_never_overwrites_a_picture(folder: Path, tiny_onnx: Path) -> None:
    photo = folder / "astro naut.jpg"
    before = photo.read_bytes()
    assert "would overwrite" in error_of(run(photo, "--model", tiny_onnx, "--json", photo))
    assert photo.read_bytes() == before


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line(folder: Path, tiny_onnx: Path) -> None:
    assert (
        error_of(run(folder, "--model", tiny_onnx, "--json", FULL)) == "cannot write /dev/full: No space left on device"
    )


def test_a_result_file_in_a_missing_folder_is_one_clear_line(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "rows.jsonl"
    assert "cannot write" in error_of(run(folder, "--model", tiny_onnx, "--json", out))


def test_annotated_copies_have_names_of_their_own(folder: Path, tiny_onnx: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for _ in range(2):
        result = run(folder / "astro naut.jpg", folder / "ünder", "--model", tiny_onnx, "--annotate", folder)
        assert result.exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    new = sorted(path.name for path in folder.rglob("*") if path.is_file() and path not in before)
    assert new == ["astro naut-2.jpg", "astro naut-3.jpg", "plain ☀-2.png", "plain ☀.png"]
    assert read_image(folder / "astro naut-2.jpg").shape == (512, 512, 3)


def test_crops_are_not_detected(tmp_path: Path, tiny_onnx: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(30):
        Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)).save(tmp_path / f"{k:02}.png")
    result = run(tmp_path, "--crop", "--model", tiny_onnx, "--json", "-", "--batch-size", 7, "--threads", 1)
    assert result.exit_code == 0
    answers = rows(result.stdout)
    assert [Path(str(row["source"])).name for row in answers] == [f"{k:02}.png" for k in range(30)]
    assert all(row["box"] == [0, 0, 48, 48] for row in answers)
    assert "30/30" in result.stderr


def test_no_face_anywhere_hints_at_crop(tmp_path: Path, tiny_onnx: Path) -> None:
    Image.new("RGB", (48, 48), "grey").save(tmp_path / "a.png")
    result = run(tmp_path / "a.png", "--model", tiny_onnx)
    assert result.exit_code == 0
    assert "--crop" in result.stderr


def test_mistakes_are_one_line_each(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = ("--model", tiny_onnx)
    assert "no such file or folder" in error_of(run(tmp_path / "absent.jpg", *model))
    assert "no pictures in" in error_of(run(tmp_path / "empty", *model))
    assert "truncated" in error_of(run(folder / "cut.jpg", *model))
    assert "is not a picture" in error_of(run(folder / "notes.txt", *model))
    assert "none of the 2 pictures" in error_of(run(folder / "cut.jpg", folder / "notes.txt", *model))
    assert "choices: auto" in error_of(run(folder, *model, "--detector", "yolo"))
    assert "no model at" in error_of(run(folder, "--model", tmp_path / "absent.onnx"))


@pytest.mark.parametrize("kind", ["--json", "--csv", "--parquet"])
def test_a_run_that_fails_leaves_earlier_results_alone(
    folder: Path, tiny_onnx: Path, tmp_path: Path, kind: str
) -> None:
    earlier = tmp_path / "earlier"
    earlier.write_text("mine\n")
    assert "truncated" in error_of(run(folder / "cut.jpg", "--model", tiny_onnx, kind, earlier))
    assert earlier.read_text() == "mine\n"
    assert "it is a folder" in error_of(run(folder / "astro naut.jpg", "--model", tiny_onnx, kind, tmp_path))


def test_copies_of_photos_go_into_a_folder(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    for name, message in (("o.mp4", "takes one video, got 0"), ("o.avi", "writes .mp4 or .webm, or into a folder")):
        assert message in error_of(run(folder, "--model", tiny_onnx, "--annotate", tmp_path / name))
        assert not (tmp_path / name).exists()


def test_one_good_photo_among_named_ones_is_enough(folder: Path, tiny_onnx: Path) -> None:
    assert run(folder / "cut.jpg", folder / "astro naut.jpg", "--model", tiny_onnx).exit_code == 0


def test_tables_have_a_row_for_every_face_and_every_picture_without(
    folder: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    table, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    result = run(folder, "--model", tiny_onnx, "--csv", table, "--parquet", parquet)
    assert result.exit_code == 0
    assert result.stdout == ""
    frame = pandas.read_csv(table)
    assert frame.error.isna().tolist() == [True, False, True]
    assert frame.label.isna().tolist() == [False, True, True]
    assert frame.source[0].endswith("astro naut.jpg")
    pandas.testing.assert_frame_equal(frame, pandas.read_parquet(parquet), check_dtype=False)


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_a_broken_off_run_goes_on_where_it_stopped(tmp_path: Path, tiny_onnx: Path, kind: str) -> None:
    pytest.importorskip("pyarrow")
    photos, table = tmp_path / "photos", tmp_path / f"rows.{kind}"
    photos.mkdir()
    for k in range(6):
        Image.new("RGB", (60, 50), (40 * k, 0, 0)).save(photos / f"{k},\n.png")
    named = [*sorted(photos.iterdir())[:3], "--model", tiny_onnx, "--detector", "none", f"--{kind}", table]
    assert run(*named).exit_code == 0
    if kind != "parquet":
        table.write_bytes(table.read_bytes()[:-20])  # killed in the middle of the third; the second might not be whole
    result = run(photos, *named[3:], "--skip-done")
    assert result.exit_code == 0, result.output
    assert f"{3 if kind == 'parquet' else 1} of 6 pictures were done before" in result.stderr
    assert sorted(sources(table)) == sorted(str(path) for path in photos.iterdir())
    before = table.read_bytes()
    assert run(photos, *named[3:], "--skip-done").exit_code == 0
    assert sources(table) == sources_of(before, table.suffix)


def sources(table: Path) -> list[str]:
    return sources_of(table.read_bytes(), table.suffix)


def sources_of(data: bytes, suffix: str) -> list[str]:
    if suffix == ".json":
        return [str(row["source"]) for row in rows(data.decode())]
    if suffix == ".csv":
        return [row["source"] for row in csv.DictReader(io.StringIO(data.decode(), newline=""))]
    import pyarrow.parquet

    return list(pyarrow.parquet.read_table(io.BytesIO(data)).column("source").to_pylist())


def test_other_columns_are_not_appended_to(tmp_path: Path, tiny_onnx: Path, folder: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n1,2\n")
    assert "other columns" in error_of(run(folder, "--model", tiny_onnx, "--csv", table, "--skip-done"))
    assert table.read_text() == "a,b\n1,2\n"
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"a": 1}\nfoo\n')
    assert "no results of `predict`" in error_of(run(folder, "--model", tiny_onnx, "--json", lines, "--skip-done"))
    assert lines.read_text() == '{"a": 1}\nfoo\n'
    assert "needs --json" in error_of(run(folder, "--model", tiny_onnx, "--skip-done"))
