"""Result files of `fervit predict`: what they hold, what they never overwrite, and how a run resumes."""

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.commands import error_of, predict
from tests.helpers.results import sources, sources_of
from tests.helpers.videos import write_faceless_video

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line(folder: Path, tiny_onnx: Path) -> None:
    assert (
        error_of(predict(folder, "--model", tiny_onnx, "--json", FULL))
        == "cannot write /dev/full: No space left on device"
    )


def test_a_result_file_in_a_missing_folder_is_one_clear_line(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "rows.jsonl"
    assert "cannot write" in error_of(predict(folder, "--model", tiny_onnx, "--json", out))


def test_json_never_overwrites_an_image(folder: Path, tiny_onnx: Path) -> None:
    photo = folder / "astro naut.jpg"
    before = photo.read_bytes()
    assert "would overwrite" in error_of(predict(photo, "--model", tiny_onnx, "--json", photo))
    assert photo.read_bytes() == before


@pytest.mark.parametrize("kind", ["--json", "--csv", "--parquet"])
def test_a_run_that_fails_leaves_earlier_results_alone(
    folder: Path, tiny_onnx: Path, tmp_path: Path, kind: str
) -> None:
    earlier = tmp_path / "earlier"
    earlier.write_text("mine\n")
    options = ("--model", tiny_onnx, kind, earlier)
    assert "exists already: go on in it with --skip-done" in error_of(predict(folder / "astro naut.jpg", *options))
    assert "truncated" in error_of(predict(folder / "cut.jpg", *options, "--overwrite"))
    assert earlier.read_text() == "mine\n"
    assert "it is a folder" in error_of(predict(folder / "astro naut.jpg", "--model", tiny_onnx, kind, tmp_path))


def test_tables_have_a_row_for_every_face_and_every_image_without(
    folder: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    table, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    result = predict(folder, "--model", tiny_onnx, "--csv", table, "--parquet", parquet)
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
        Image.new("RGB", (60, 50), (40 * k, 0, 0)).save(photos / (f"{k},\n.png" if k % 2 else f"{k}\r.png"))
    named = [*sorted(photos.iterdir())[:3], "--model", tiny_onnx, "--detector", "none", f"--{kind}", table]
    assert predict(*named).exit_code == 0
    if kind != "parquet":
        table.write_bytes(table.read_bytes()[:-20])  # killed in the middle of the third; the second might not be whole
    result = predict(photos, *named[3:], "--skip-done")
    assert result.exit_code == 0, result.output
    assert f"{3 if kind == 'parquet' else 1} of 6 images were done before" in result.stderr
    assert sorted(sources(table)) == sorted(str(path) for path in photos.iterdir())
    before = table.read_bytes()
    assert predict(photos, *named[3:], "--skip-done").exit_code == 0
    assert sources(table) == sources_of(before, table.suffix)


def test_other_columns_are_not_appended_to(tmp_path: Path, tiny_onnx: Path, folder: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n1,2\n")
    assert "other columns" in error_of(predict(folder, "--model", tiny_onnx, "--csv", table, "--skip-done"))
    assert table.read_text() == "a,b\n1,2\n"
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"a": 1}\nfoo\n')
    assert "no results of `predict`" in error_of(predict(folder, "--model", tiny_onnx, "--json", lines, "--skip-done"))
    assert lines.read_text() == '{"a": 1}\nfoo\n'
    assert "needs --json" in error_of(predict(folder, "--model", tiny_onnx, "--skip-done"))


def test_on_a_resume_each_file_gets_what_it_lacks_and_nothing_twice(tmp_path: Path, tiny_onnx: Path) -> None:
    pytest.importorskip("pyarrow")
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(5):
        Image.new("RGB", (60, 50), (40 * k, 0, 0)).save(photos / f"{k}.png")
    names = [str(path) for path in sorted(photos.iterdir())]
    tables = {kind: tmp_path / f"rows.{kind}" for kind in ("json", "csv", "parquet")}
    options = [part for kind, table in tables.items() for part in (f"--{kind}", table)]
    options += ["--model", tiny_onnx, "--detector", "none"]
    assert predict(*names[:3], *options).exit_code == 0
    tables["csv"].write_bytes(tables["csv"].read_bytes()[:-20])  # JSON loses its third, CSV two, Parquet none
    result = predict(photos, *options, "--skip-done")
    assert result.exit_code == 0, result.output
    assert "1 of 5 images were done before" in result.stderr
    assert {kind: sorted(sources(table)) for kind, table in tables.items()} == dict.fromkeys(tables, names)


def test_a_resume_keeps_the_row_of_a_broken_last_image(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    named = [folder / "astro naut.jpg", folder / "cut.jpg"]
    options = ["--model", tiny_onnx, "--csv", table]
    assert predict(*named, *options).exit_code == 0
    before = table.read_bytes()
    result = predict(*named, *options, "--skip-done")
    assert result.exit_code == 0, result.output
    assert "1 image, 0 faces, 1 could not be read" in result.stderr
    assert table.read_bytes() == before
    assert "truncated" in error_of(predict(folder / "cut.jpg", *options, "--skip-done"))  # here it is the only input
    assert table.read_bytes() == before


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_disk_that_fills_up_within_a_row_is_one_clear_line(
    folder: Path, tiny_onnx: Path, tmp_path: Path, kind: str
) -> None:
    resource = pytest.importorskip("resource")
    table = tmp_path / f"rows.{kind}"
    arguments = (folder, "--model", tiny_onnx, f"--{kind}", table, "--overwrite")
    assert predict(*arguments).exit_code == 0
    size = table.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 5, limits[1]))
    try:
        result = predict(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error_of(result) == f"cannot write {table}: File too large"
    assert table.stat().st_size == size - 5


LONG = "a" * 300


def test_a_name_that_no_file_can_have_is_one_clear_line_or_an_error_row(
    folder: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    model, photo, table = ("--model", tiny_onnx), folder / "astro naut.jpg", tmp_path / "rows.csv"
    for name in (f"{LONG}.jpg", f"{LONG}.mp4"):
        assert "too long" in error_of(predict(tmp_path / name, *model)).lower()
    result = predict(tmp_path / f"{LONG}.jpg", photo, *model, "--csv", table)
    assert result.exit_code == 0, result.output
    broken, face = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline=""))
    assert "too long" in broken["error"].lower() and not face["error"]
    clip = write_faceless_video(tmp_path / "clip.webm")
    for option, end in (("--csv", ""), ("--timeline", ".png"), ("--annotate", ".mp4"), ("--annotate", "")):
        assert "cannot write" in error_of(predict(clip, *model, option, tmp_path / f"{LONG}{end}"))


def test_no_output_overwrites_an_input_or_another_output(tmp_path: Path, tiny_onnx: Path) -> None:
    clip, photo, other = write_faceless_video(tmp_path / "clip.webm"), tmp_path / "in.png", tmp_path / "other.png"
    Image.new("RGB", (48, 48), "grey").save(photo)
    other.hardlink_to(photo)
    model = tmp_path / "model.onnx"
    model.write_bytes(tiny_onnx.read_bytes())
    new, copy = tmp_path / "new.png", tmp_path / "copy.webm"
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (
        (photo, "--timeline", photo),
        (photo, "--timeline", other),
        (photo, "--csv", model),
        ("--timeline", new, "--csv", new),
        ("--timeline", new, "--json", tmp_path / "." / "new.png"),
        ("--annotate", copy, "--csv", copy),
        ("--annotate", tmp_path / "copies", "--csv", tmp_path / "copies"),
        (photo, "--csv", tmp_path / "rows", "--parquet", tmp_path / "rows"),
    ):
        assert "would overwrite" in error_of(predict(clip, *arguments, "--model", model)), arguments
    assert "expected a folder" in error_of(predict(clip, photo, "--annotate", other, "--model", model))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--annotate"])
def test_only_json_goes_to_stdout(
    folder: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--json -" in error_of(predict(folder, "--model", tiny_onnx, option, "-"))
    assert not (tmp_path / "-").exists()
