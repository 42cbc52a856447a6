"""`fervit study`, and the statistics and events of `fervit predict`."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.analysis import frames
from fervit.cli import app
from fervit.errors import FervitError
from tests.helpers.studies import video
from tests.helpers.videos import write_video

runner = CliRunner()


def table(path: Path, text: str = "sssssshhhhhhh") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in video(text)))
    return path


def test_tables_statistics_and_events_are_written_and_people_are_printed(tmp_path: Path) -> None:
    rows = table(tmp_path / "rows.json")
    names = {name: str(tmp_path / name) for name in ("s.csv", "e.eaf", "out")}
    done = runner.invoke(
        app,
        [
            *("study", str(rows), "--stats", names["s.csv"], "--events", names["e.eaf"], "--out", names["out"]),
            *("--figures", "none", "--min-episode", "0.1"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "a.mp4  track 1  happy 54 %, sad 46 %  " in done.stdout
    with (tmp_path / "s.csv").open(newline="") as file:
        assert [row["fraction"] for row in csv.DictReader(file)] == ["0.461538", "0.538462", "0.0"]
    assert "<ANNOTATION_VALUE>sad" in (tmp_path / "e.eaf").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["events", "events.tsv", "study.json", *(f"{name}.csv" for name in frames.TABLES)]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stats", "s.xlsx"], r"expected statistics to end in \.csv, \.json, \.parquet"),
        (["--events", "e.txt"], r"expected events to end in \.tsv or \.eaf"),
        (["--out", "rows.json"], r"--out .*rows\.json is a file: expected a folder"),
        (["--stats", "none/s.csv"], "there is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(options: list[str], message: str, tmp_path: Path) -> None:
    rows = table(tmp_path / "rows.json")
    with pytest.raises(FervitError, match=message):
        runner.invoke(app, ["study", str(rows), options[0], str(tmp_path / options[1])], catch_exceptions=False)


def test_predict_writes_statistics_and_events_of_a_video(tmp_path: Path, clip: Path, astronaut: np.ndarray) -> None:
    write_video(clip, [(astronaut, k / 10) for k in range(8)])
    options = ["--every", "2", "--runtime", "onnxruntime", "--csv", str(tmp_path / "rows.csv")]
    options += ["--stats", str(tmp_path / "s.json"), "--events", str(tmp_path / "e.tsv")]
    done = runner.invoke(app, ["predict", str(clip), *options])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "s.json").read_text())
    assert {row["person"] for row in found["per_person"]} == {"track 1"}
    again = runner.invoke(app, ["study", str(tmp_path / "rows.csv"), "--stats", str(tmp_path / "again.json")])
    assert again.exit_code == 0, again.output
    repeated = json.loads((tmp_path / "again.json").read_text())
    # CSV holds the same probabilities; the two differ in the last decimals at most.
    assert [row["fraction"] for row in repeated["per_person"]] == [row["fraction"] for row in found["per_person"]]
    assert (tmp_path / "e.tsv").read_text().startswith("time\tsubject\tcode\t")


def test_statistics_are_of_videos(tmp_path: Path, astronaut: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(astronaut).save(tmp_path / "a.png")
    with pytest.raises(FervitError, match=r"--stats .*s\.csv takes videos, got 1 photos"):
        runner.invoke(
            app, ["predict", str(tmp_path / "a.png"), "--stats", str(tmp_path / "s.csv")], catch_exceptions=False
        )
