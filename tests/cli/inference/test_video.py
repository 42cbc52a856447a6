"""Videos in `fervit predict`: tables, annotated copies, timelines, and one line for each mistake."""

from pathlib import Path

import pytest

import fervit.cli.inference.video
import fervit.media.camera
import fervit.media.video
import fervit.media.video_writer
from fervit.errors import ConfigError, MissingExtra
from fervit.media.video import read_frames
from tests.helpers.commands import error_of, predict
from tests.helpers.results import sources
from tests.helpers.videos import Square, moving, write_faceless_video, write_video


def test_a_timeline_without_matplotlib_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fervit.cli.inference.video, "find_spec", lambda name: None)
    result = predict(
        write_faceless_video(tmp_path / "clip.webm"),
        "--timeline",
        tmp_path / "t.png",
        "--model",
        tmp_path / "absent.onnx",
    )
    assert isinstance(result.exception, MissingExtra), result.output
    assert "fervit[video]" in str(result.exception)


def test_a_timeline_that_cannot_be_saved_costs_no_summary(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(figure: object, path: Path) -> None:
        raise ConfigError(f"cannot write {path}")

    monkeypatch.setattr("fervit.reports.figures.files.write_figure", full)
    result = predict(
        write_faceless_video(tmp_path / "clip.webm"), "--timeline", tmp_path / "t.png", "--model", tiny_onnx
    )
    assert "cannot write" in error_of(result)
    assert "3 frames" in result.stdout


def test_one_unreadable_video_leaves_the_photos_their_rows(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    broken, table = tmp_path / "broken.mp4", tmp_path / "rows.csv"
    broken.write_text("hello")
    options = ("--model", tiny_onnx, "--csv", table, "--overwrite")
    result = predict(broken, folder / "astro naut.jpg", *options)
    assert result.exit_code == 0, result.output
    assert "not a video" in result.stderr
    assert sources(table) == [str(broken), str(folder / "astro naut.jpg")]
    assert "none of the 2 inputs" in error_of(predict(broken, folder / "cut.jpg", *options))
    assert sources(table) == [str(broken), str(folder / "cut.jpg")]
    clip = write_faceless_video(tmp_path / "clip.webm")
    result = predict(clip, folder / "cut.jpg", *options)  # a broken photo beside a good video
    assert result.exit_code == 0, result.output
    assert "1 image, 0 faces, 1 could not be read" in result.stderr
    assert "could not be read: 1 of 2: " in result.stderr
    assert sources(table) == [*[str(clip)] * 3, str(folder / "cut.jpg")]


@pytest.mark.slow
def test_a_clip_is_annotated_and_tabled(clip: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.setitem(fervit.faces.detectors.DETECTORS, "haar", Square)
    out = clip.parent / "out"
    out.mkdir()
    files = {name: out / f"rows.{name}" for name in ("json", "csv", "parquet")}
    arguments = [part for name, path in files.items() for part in (f"--{name}", path)]
    figure, copy = out / "t.png", out / "copy.mp4"
    result = predict(
        clip,
        "--model",
        tiny_onnx,
        "--detector",
        "haar",
        *arguments,
        "--annotate",
        copy,
        "--timeline",
        figure,
    )
    assert result.exit_code == 0, result.output
    assert "30 frames, 1.5 s, 1 face track" in result.stdout
    csv, parquet = pandas.read_csv(files["csv"]), pandas.read_parquet(files["parquet"])
    expected = [
        "source",
        "frame",
        "time_s",
        "cut",
        "track",
        "person",
        "x1",
        "y1",
        "x2",
        "y2",
        "face_score",
        "label",
        "score",
    ]
    labels = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert list(csv.columns) == list(parquet.columns) == [*expected, *(f"p_{label}" for label in labels), "error"]
    assert csv.track.notna().sum() == 26 and csv.frame.tolist() == list(range(30))  # the face is away in four
    pandas.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert len(list(read_frames(copy))) == 30
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(files["json"].read_text().splitlines()) == 30
    result = predict(clip, "--model", tiny_onnx, "--detector", "haar", "--annotate", clip.parent)
    assert (clip.parent / "clip-2.mp4").exists(), result.output


def test_a_video_without_faces_says_so(tmp_path: Path, tiny_onnx: Path) -> None:
    pytest.importorskip("av")
    path = write_video(tmp_path / "a.mp4", moving(5, away=range(5)))
    result = predict(path, "--model", tiny_onnx, "--csv", tmp_path / "a.csv", "--timeline", tmp_path / "a.png")
    assert result.exit_code == 0
    assert "5 frames, 0.2 s, no face" in result.stdout
    assert (tmp_path / "a.csv").read_text().startswith("source,frame,time_s,cut,track,person,")


@pytest.mark.slow
def test_videos_mistakes_are_one_line_each(clip: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    model = ("--model", tiny_onnx)
    assert "would overwrite" in error_of(predict(clip, *model, "--annotate", clip))
    assert "ends in .png" in error_of(predict(clip, *model, "--timeline", tmp_path / "t.txt"))
    assert "no folder" in error_of(predict(clip, *model, "--timeline", tmp_path / "none" / "t.png"))
    assert "0 seconds or more" in error_of(predict(clip, *model, "--smooth", "inf"))
    assert "would overwrite" in error_of(predict(clip, *model, "--csv", clip))
    assert "takes one video" in error_of(predict(clip, tmp_path / "text.mp4", *model, "--annotate", tmp_path / "o.mp4"))
    assert "--skip-done" in error_of(predict(clip, *model, "--skip-done"))
    both_ways = ("--skip-done", "--overwrite", "--csv", tmp_path / "o.csv")
    assert "one of them" in error_of(predict(clip, *model, *both_ways))
    assert "not a video" in error_of(predict(tmp_path / "text.mp4", *model))
    both = predict(tmp_path / "text.mp4", clip, *model)
    assert both.exit_code == 0
    assert "not a video" in both.stderr


def test_a_folder_of_timelines_has_one_of_each_video(tmp_path: Path, tiny_onnx: Path, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a/clip", "b/clip", "b/other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_faceless_video(tmp_path / f"{name}.webm")
    clips, figures = [tmp_path / "a", tmp_path / "b", folder / "astro naut.jpg"], tmp_path / "timelines"
    options = ("--model", tiny_onnx, "--timeline", figures, "--csv", tmp_path / "rows.csv")
    result = predict(*clips, *options)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in figures.iterdir()) == ["clip-2.png", "clip.png", "other.png"]
    assert f"timeline: {figures / 'clip-2.png'}" in result.stderr
    message = error_of(predict(*clips, "--model", tiny_onnx, "--timeline", tmp_path / "t.png"))
    assert message == f"--timeline {tmp_path / 't.png'} takes one video, got 3 and 1 photo: name a folder for one each"


def test_figures_and_copies_that_all_fail_leave_the_table_whole(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ConfigError("no room")

    for k in range(4):
        write_faceless_video(tmp_path / f"{k}.webm")
    monkeypatch.setattr("fervit.reports.figures.files.write_figure", full)
    monkeypatch.setattr(fervit.media.video_writer.VideoWriter, "write", full)
    table, out = tmp_path / "rows.csv", ("--timeline", tmp_path / "figures", "--annotate", tmp_path / "copies")
    result = predict(tmp_path, "--model", tiny_onnx, *out, "--csv", table)
    assert error_of(result).startswith("5 outputs could not be written, first: ")  # four copies, the figures
    assert sources(table) == [str(tmp_path / f"{k}.webm") for k in range(4) for _ in range(3)]
