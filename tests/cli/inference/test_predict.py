"""`fervit predict`."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import fervit.cli.inference.video
from fervit.cli import app, main
from fervit.errors import ConfigError, FervitError, MissingExtra
from fervit.inference.timeline import Timeline
from fervit.media.images import read_image
from fervit.media.video_writer import VideoWriter

FULL = Path("/dev/full")


@pytest.fixture
def folder(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder with a photo of one face, one of none, a broken one, and a text."""
    photos = tmp_path / "my photos"
    (photos / "ünder").mkdir(parents=True)
    Image.fromarray(astronaut).save(photos / "astro naut.jpg")
    Image.new("RGB", (90, 70), "teal").save(photos / "ünder" / "plain ☀.png")
    (photos / "cut.jpg").write_bytes((photos / "astro naut.jpg").read_bytes()[:3000])
    (photos / "notes.txt").write_text("no image")
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
    assert "3 images, 1 face, 1 could not be read" in result.stderr


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


def test_json_never_overwrites_an_image(folder: Path, tiny_onnx: Path) -> None:
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
    assert "no images in" in error_of(run(tmp_path / "empty", *model))
    assert "truncated" in error_of(run(folder / "cut.jpg", *model))
    assert "is not an image" in error_of(run(folder / "notes.txt", *model))
    assert "none of the 2 images" in error_of(run(folder / "cut.jpg", folder / "notes.txt", *model))
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


def test_tables_have_a_row_for_every_face_and_every_image_without(
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
        Image.new("RGB", (60, 50), (40 * k, 0, 0)).save(photos / (f"{k},\n.png" if k % 2 else f"{k}\r.png"))
    named = [*sorted(photos.iterdir())[:3], "--model", tiny_onnx, "--detector", "none", f"--{kind}", table]
    assert run(*named).exit_code == 0
    if kind != "parquet":
        table.write_bytes(table.read_bytes()[:-20])  # killed in the middle of the third; the second might not be whole
    result = run(photos, *named[3:], "--skip-done")
    assert result.exit_code == 0, result.output
    assert f"{3 if kind == 'parquet' else 1} of 6 images were done before" in result.stderr
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
    assert run(*names[:3], *options).exit_code == 0
    tables["csv"].write_bytes(tables["csv"].read_bytes()[:-20])  # JSON loses its third, CSV two, Parquet none
    result = run(photos, *options, "--skip-done")
    assert result.exit_code == 0, result.output
    assert "1 of 5 images were done before" in result.stderr
    assert {kind: sorted(sources(table)) for kind, table in tables.items()} == dict.fromkeys(tables, names)


def test_a_resume_keeps_the_row_of_a_broken_last_image(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    named = [folder / "astro naut.jpg", folder / "cut.jpg"]
    options = ["--model", tiny_onnx, "--csv", table]
    assert run(*named, *options).exit_code == 0
    before = table.read_bytes()
    result = run(*named, *options, "--skip-done")
    assert result.exit_code == 0, result.output
    assert "1 image, 0 faces, 1 could not be read" in result.stderr
    assert table.read_bytes() == before
    assert "truncated" in error_of(run(folder / "cut.jpg", *options, "--skip-done"))  # here it is the only input
    assert table.read_bytes() == before


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_disk_that_fills_up_within_a_row_is_one_clear_line(
    folder: Path, tiny_onnx: Path, tmp_path: Path, kind: str
) -> None:
    resource = pytest.importorskip("resource")
    table = tmp_path / f"rows.{kind}"
    arguments = (folder, "--model", tiny_onnx, f"--{kind}", table)
    assert run(*arguments).exit_code == 0
    size = table.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 5, limits[1]))
    try:
        result = run(*arguments)
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
        assert "too long" in error_of(run(tmp_path / name, *model)).lower()
    result = run(tmp_path / f"{LONG}.jpg", photo, *model, "--csv", table)
    assert result.exit_code == 0, result.output
    broken, face = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline=""))
    assert "too long" in broken["error"].lower() and not face["error"]
    clip = video(tmp_path / "clip.webm")
    for option, end in (("--csv", ""), ("--timeline", ".png"), ("--annotate", ".mp4"), ("--annotate", "")):
        assert "cannot write" in error_of(run(clip, *model, option, tmp_path / f"{LONG}{end}"))


def video(path: Path) -> Path:
    """Write a video of three frames without a face."""
    with VideoWriter(path, rate=20) as sink:
        for k in range(3):
            sink.write(np.full((48, 64, 3), 60 * k, np.uint8), k / 20)
    return path


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
        return bytes(stdout.buffer.getvalue())  # type: ignore[attr-defined]

    assert shown().startswith(rb"\u0444\u043e\u0442\u043e.jpg")
    assert rows(shown("--json", "-").decode()) == [{"source": "фото.jpg", "faces": 0}]


def test_one_unreadable_video_leaves_the_photos_their_rows(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    broken, table = tmp_path / "broken.mp4", tmp_path / "rows.csv"
    broken.write_text("hello")
    options = ("--model", tiny_onnx, "--csv", table)
    result = run(broken, folder / "astro naut.jpg", *options)
    assert result.exit_code == 0, result.output
    assert "not a video" in result.stderr
    assert sources(table) == [str(folder / "astro naut.jpg")]
    assert "none of the 2 inputs" in error_of(run(broken, folder / "cut.jpg", *options))
    assert sources(table) == [str(folder / "cut.jpg")]
    result = run(video(tmp_path / "clip.webm"), folder / "cut.jpg", *options)  # a broken photo beside a good video
    assert result.exit_code == 0, result.output
    assert "1 image, 0 faces, 1 could not be read" in result.stderr
    assert sources(table) == [str(folder / "cut.jpg")]


def test_no_output_overwrites_an_input_or_another_output(tmp_path: Path, tiny_onnx: Path) -> None:
    clip, photo, other = video(tmp_path / "clip.webm"), tmp_path / "in.png", tmp_path / "other.png"
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
        assert "would overwrite" in error_of(run(clip, *arguments, "--model", model)), arguments
    assert "expected a folder" in error_of(run(clip, photo, "--annotate", other, "--model", model))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_timeline_without_matplotlib_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fervit.cli.inference.video, "find_spec", lambda name: None)
    result = run(video(tmp_path / "clip.webm"), "--timeline", tmp_path / "t.png", "--model", tmp_path / "absent.onnx")
    assert isinstance(result.exception, MissingExtra), result.output
    assert "fervit[video]" in str(result.exception)


def test_a_timeline_that_cannot_be_saved_costs_no_summary(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Timeline, path: Path, *, title: str = "") -> None:
        raise ConfigError(f"cannot write {path}")

    monkeypatch.setattr(Timeline, "save", full)
    result = run(video(tmp_path / "clip.webm"), "--timeline", tmp_path / "t.png", "--model", tiny_onnx)
    assert "cannot write" in error_of(result)
    assert "3 frames" in result.stdout


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--annotate"])
def test_only_json_goes_to_stdout(
    folder: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--json -" in error_of(run(folder, "--model", tiny_onnx, option, "-"))
    assert not (tmp_path / "-").exists()
