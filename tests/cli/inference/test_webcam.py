"""`fervit webcam`; a double stands for the camera."""

import json
import os
import sys
from pathlib import Path

import pytest

from fervit.errors import ConfigError
from tests.helpers.camera import Camera
from tests.helpers.commands import error_of, run
from tests.helpers.receiver import receiver
from tests.helpers.results import json_rows


@pytest.mark.skipif(any(Path("/dev").glob("video*")), reason="there is a camera here")
def test_no_camera_is_one_clear_line(tiny_onnx: Path, tmp_path: Path) -> None:
    result = run("webcam", "--headless", "--model", tiny_onnx, "--device", 3)
    assert "no camera at 3" in error_of(result)
    earlier = tmp_path / "rows.csv"
    earlier.write_text("mine")
    run("webcam", "--headless", "--model", tiny_onnx, "--device", 3, "--csv", earlier)
    assert earlier.read_text() == "mine"


@pytest.mark.slow
def test_headless_prints_a_json_line_a_frame_and_keeps_rows_when_it_is_unplugged(
    camera: type[Camera], tiny_onnx: Path, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    result = run("webcam", "--headless", "--model", tiny_onnx, "--csv", table)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows
    assert all(set(row) == {"frame", "time_s", "faces"} for row in rows)
    assert [row["faces"][0]["track"] for row in rows] == [1] * len(rows)
    assert len(table.read_text().splitlines()) == 1 + len(rows)


@pytest.mark.skipif(sys.platform != "linux" or "DISPLAY" in os.environ, reason="there may be a screen")
def test_no_screen_points_to_headless(tiny_onnx: Path) -> None:
    result = run("webcam", "--model", tiny_onnx)
    assert isinstance(result.exception, ConfigError)
    assert "--headless" in str(result.exception)


def test_json_on_stdout_is_one_row_a_face_as_predict_writes_it(camera: type[Camera], tiny_onnx: Path) -> None:
    result = run("webcam", "--headless", "--model", tiny_onnx, "--json", "-")
    assert result.exit_code == 0, result.output
    rows = json_rows(result.stdout)
    assert len(rows) > 1 and all(row["source"] == "camera 0" and row["track"] == 1 for row in rows)


@pytest.mark.slow
def test_no_output_and_no_message_shows_what_is_secret_in_addresses(
    stream: str, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("no_proxy", "*")
    device = stream.replace("//", "//ann:hunter2@") + "?key=s3cret"
    tables = [part for kind in ("csv", "json", "parquet") for part in (f"--{kind}", tmp_path / f"rows.{kind}")]
    with receiver([500, 403]) as requests:
        http = requests.address.replace("//", "//bob:hunter3@") + "?token=s3cret"
        arguments = ["webcam", "--headless", "--model", tiny_onnx, "--device", device, "--http", http, *tables]
        monkeypatch.setattr(sys, "argv", ["fervit", *map(str, arguments)])
        result = run(*arguments)
    assert "not delivered to http://***@" in error_of(result)
    written = [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(written) == 6  # three tables, and what lies beside each
    told = result.output + result.stderr + str(result.exception) + "".join(capfd.readouterr())
    for secret in ("hunter2", "hunter3", "s3cret"):
        assert secret not in told + json.dumps(requests.bodies)
        assert not any(secret.encode() in data for data in written)
    assert "***@" in told
    for words in (["--device", "rtsp://ann:hunter2@127.0.0.1:9/live"], ["--http", "ftp://ann:hunter2@host/"]):
        result = run("webcam", "--headless", "--model", tiny_onnx, *words)
        assert "***@" in error_of(result) and "hunter2" not in str(result.exception) + result.output
