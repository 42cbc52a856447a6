"""`fervit.study`: tables in every form give one study; what cannot be one is said."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.analysis import frames
from fervit.analysis.rows import tables_of
from fervit.errors import ConfigError, DataError
from fervit.inference.results import FrameResult, ImageResult
from fervit.inference.tables import CsvTable, JsonTable, ParquetTable, Table
from fervit.types import Box, Face, Frame, Prediction
from tests.helpers.studies import LABELS, Row, video

TEXT = "sssssshhhhhh"


def results(text: str = TEXT, source: str = "a.mp4") -> list[FrameResult]:
    """The results of a video whose rows are those of `video(text)`."""
    image = np.zeros((1, 1, 3), np.uint8)
    found = []
    for k, letter in enumerate(text):
        probs = np.where(np.array([label[0] for label in LABELS]) == letter, 0.8, 0.1)
        faces = [Prediction(Face(Box(0, 0, 9, 9), 0.9), LABELS, probs, 1)] if letter != "-" else []
        found.append(FrameResult(source, Frame(k, k / 10, image), faces))
    return found


def written(path: Path, text: str = TEXT) -> Path:
    """Write a table as `fervit predict` does."""
    made: dict[str, Callable[[], Table]] = {
        ".json": lambda: JsonTable(path),
        ".csv": lambda: CsvTable(path, LABELS, errors=True),
        ".parquet": lambda: ParquetTable(path, LABELS, errors=True),
    }
    table = made[path.suffix]()
    for result in results(text):
        table.write(result)
    table.close()
    return path


def test_rows_results_files_and_data_frames_give_the_same_study(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    expected = fervit.study(video(TEXT)).rows("per_person")
    assert len(expected) == 3
    assert fervit.study(results()).rows("per_person") == expected
    assert fervit.study(pandas.DataFrame(video(TEXT))).rows("per_person") == expected
    for suffix in (".csv", ".json", ".parquet"):
        path = written(tmp_path / f"rows{suffix}")
        assert fervit.study(path).rows("per_person") == expected, suffix
        assert fervit.study(str(path)).rows("per_person") == expected, suffix
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "rows.json").read_bytes())
    assert fervit.study(tmp_path / "copy.jsonl").rows("per_person") == expected


def test_json_lines_tell_of_frames_without_a_face(tmp_path: Path) -> None:
    (row,) = fervit.study(written(tmp_path / "rows.json", "ss--ss")).rows("per_video")
    assert (row["video_s"], row["face_s"], row["frames"]) == (0.6, 0.4, 6)


def test_several_tables_are_one_study_but_no_video_stands_in_two(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.csv"), tmp_path / "b.json"
    second.write_text((written(tmp_path / "rows.json")).read_text().replace("a.mp4", "b.mp4"))
    assert [video.source for video in fervit.study([first, second]).videos] == ["a.mp4", "b.mp4"]
    with pytest.raises(DataError, match=r"rows\.json has rows of a\.mp4, and so has another table"):
        fervit.study([first, tmp_path / "rows.json"])


def test_a_person_is_who_the_rows_say_else_each_track_is_one() -> None:
    named = video("ssss", person="Ann") + video("hhhh", track=2, start=1.0, person="Ann")
    assert {row["person"] for row in fervit.study(named).rows("per_person")} == {"Ann"}
    rows = fervit.study(video("ssss") + video("hhhh", track=2)).rows("per_person")
    assert [row["person"] for row in rows] == ["track 1"] * 3 + ["track 2"] * 3


def test_the_video_has_all_faces_time_and_a_video_without_a_face_has_a_row() -> None:
    rows = video("ssss--") + video("hhhh--", track=2) + video("----", source="b.mp4")
    first, second = fervit.study(rows).rows("per_video")
    assert (first["people"], first["face_s"], first["video_s"]) == (2, 0.4, 0.6)
    assert (first["fraction_sad"], first["fraction_happy"], first["visible_fraction"]) == (0.5, 0.5, 0.666667)
    assert (second["people"], second["face_s"], second["fraction_sad"]) == (0, 0.0, None)


def test_a_study_without_any_face_has_tables_without_rows_for_people() -> None:
    found = fervit.study(video("----"))
    assert list(found.per_person.columns) == list(frames.columns_of_table("per_person", ()))
    assert len(found.per_person) == 0
    assert len(found.per_video) == 1


def test_videos_that_could_not_be_read_photos_and_skipped_files_are_told() -> None:
    rows: list[Row] = [
        *video("ssss"),
        {"source": "b.mp4", "error": "no video stream"},
        {"source": "c.jpg", "label": "sad"},
        {"source": ".d", "skipped": "hidden"},
    ]
    found = fervit.study(rows)
    assert found.errors == {"b.mp4": "no video stream"}
    assert found.notes == (
        "b.mp4: no video stream",
        "1 row of photos left out: they have no time",
        "1 file had been left out by fervit predict",
    )
    assert found.rows("per_video")[1]["error"] == "no video stream"
    with pytest.raises(DataError, match=r"expected rows of a video, got b\.mp4: no video stream"):
        fervit.study([ImageResult("b.mp4", error="no video stream")])


def test_the_wide_form_has_a_column_for_each_figure_and_expression() -> None:
    (row,) = fervit.study(video(TEXT)).rows("wide")
    assert (row["fraction_sad"], row["seconds_happy"], row["episodes_neutral"]) == (0.5, 0.6, 0)
    assert (row["first_s_happy"], row["episode_mean_s_neutral"]) == (0.6, None)
    assert list(row) == list(frames.columns_of_table("wide", LABELS))


@pytest.mark.parametrize("table", frames.TABLES)
def test_every_table_has_the_columns_and_types_that_are_promised(table: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = fervit.study([*video(TEXT), *video("----", source="b.mp4")])
    rows, columns = found.rows(table), frames.columns_of_table(table, LABELS)
    assert all(list(row) == list(columns) for row in rows)
    assert all(value is None or isinstance(value, columns[name]) for row in rows for name, value in row.items())
    assert list(getattr(found, table).columns) == list(columns)
    found.to_parquet(tmp_path / "t.parquet", table)
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == rows
    found.to_csv(tmp_path / "t.csv", table)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.reader(file))
    assert read == [list(columns), *([("" if value is None else str(value)) for value in row.values()] for row in rows)]


def test_json_has_all_tables_and_what_was_assumed(tmp_path: Path) -> None:
    found = fervit.study(video(TEXT), block_s=2)
    found.save(tmp_path / "s.json")
    read = json.loads((tmp_path / "s.json").read_text())
    assert read["options"] == {"min_episode_s": 0.5, "block_s": 2, "gap_s": 1.0, "seed": 0}
    assert all(read[table] == found.rows(table) for table in frames.TABLES)


def test_without_pandas_tables_are_of_polars_and_without_both_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fervit.study(video(TEXT))

    class Polars:
        @staticmethod
        def DataFrame(rows: list[Row], *, schema: dict[str, type]) -> tuple[int, list[str]]:
            return len(rows), list(schema)

    def only(*names: str) -> Callable[[str], object]:
        return lambda name: object() if name in names else None

    monkeypatch.setitem(sys.modules, "polars", Polars)
    monkeypatch.setattr(frames, "find_spec", only("polars"))
    assert found.per_person == (3, list(frames.columns_of_table("per_person", LABELS)))
    monkeypatch.setattr(frames, "find_spec", only())
    assert found.per_person == found.rows("per_person")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (3, "expected tables of fervit predict, a data frame, rows or results, got 3"),
        ([3], "expected rows of fervit predict, got 3 among them"),
        ([], "expected rows of a video, got no rows"),
        ([{"label": "sad"}], "expected rows with a source"),
        ([{"source": "a.mp4", "frame": 0}], "has no time_s"),
        ([{**video("s")[0], "time_s": "soon"}], "has a cell that is no number"),
        ([{**video("s")[0], "p_sad": None}], "has the label 'sad', but not every probability"),
        ([{"source": "a.jpg", "label": "sad", "error": None}], "expected rows of a video, got 1 rows of photos"),
        ([*video("s"), {**video("s")[0], "p_angry": 0.1}], "expected rows of one model, got the labels"),
        ("rows.txt", r"expected a table whose name ends in \.csv, \.json, \.jsonl, \.parquet, got 'rows\.txt'"),
        ("there_is_none.csv", r"cannot read there_is_none\.csv: No such file"),
    ],
)
def test_what_is_no_table_of_videos_is_said_in_one_line(tables: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        fervit.study(tables)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "x,y\n1,2\n"), ("a.json", "[1\n"), ("a.json", "[1]\n"), ("a.parquet", "no"), ("a.csv", "")],
)
def test_a_file_with_other_content_is_named(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name} is no table of fervit predict: "):
        fervit.study(tmp_path / name)


@pytest.mark.parametrize("option", [{"block_s": 0}, {"gap_s": -1}, {"min_episode_s": "x"}, {"seed": 0.5}])
def test_lengths_and_seeds_out_of_range_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"expected {next(iter(option))} to be"):
        fervit.study(video("s"), **option)  # type: ignore[arg-type]


def test_unknown_tables_and_videos_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'episodes'"):
        fervit.study(video("s")).rows("episode")
    with pytest.raises(ConfigError, match=r"unknown video 'b\.mp4'"):
        fervit.study(video("s")).video("b.mp4")


def test_a_data_frame_is_one_table() -> None:
    pandas = pytest.importorskip("pandas")
    assert [name for name, _ in tables_of(pandas.DataFrame(video("s")))] == ["the data frame"]
