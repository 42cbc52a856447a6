"""`fervit.watch`: a camera's rows, written and sent frame by frame. A double stands for the camera."""

import csv
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fervit
import fervit.media.camera
from fervit.errors import ConfigError, VideoError
from fervit.inference.recognizer import Recognizer
from fervit.inference.runs.sidecar import read_sidecar, sidecar_of
from tests.helpers.camera import Camera, MjpegHandler
from tests.helpers.receiver import receiver
from tests.helpers.recordings import square_recognizer
from tests.helpers.results import json_rows


@pytest.fixture
def recognizer(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Recognizer:
    monkeypatch.setenv("no_proxy", "*")
    return square_recognizer(tiny_onnx)


def test_every_frame_is_on_the_disk_before_the_next_one_is_looked_at(
    camera: type[Camera], recognizer: Recognizer, tmp_path: Path
) -> None:
    table, lines = tmp_path / "rows.csv", tmp_path / "rows.json"
    results = fervit.watch(0, recognizer, csv=table, json=lines)
    assert not table.exists()  # nothing is made before the camera has given a frame
    for count, result in enumerate(results, 1):
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert len({row["frame"] for row in rows}) == count
        assert rows[-1]["source"] == "camera 0" and int(rows[-1]["frame"]) == result.frame.index
        assert json_rows(lines.read_text())[-1]["frame"] == result.frame.index
        if count == 3:
            break
    results.close()
    sidecar = read_sidecar(table)
    assert sidecar is not None and sidecar.complete
    [record] = sidecar.sources.values()
    assert (record.kind, record.source, record.frames, record.error) == ("camera", "camera 0", 3, None)
    started = datetime.fromisoformat(str(record.started))
    assert 0 <= (datetime.now(UTC) - started).total_seconds() < 60
    with pytest.raises(ConfigError, match=r"rows.csv exists already: replace it with --overwrite"):
        fervit.watch(0, recognizer, csv=table)
    assert len(list(fervit.watch(0, recognizer, csv=table, overwrite=True))) >= 2


def test_rows_are_sent_while_the_camera_runs_and_are_those_of_the_table(
    camera: type[Camera], recognizer: Recognizer, tmp_path: Path
) -> None:
    lines = tmp_path / "rows.json"
    with receiver() as requests:
        results = fervit.watch("0", recognizer, json=lines, http=requests.address)
        next(results)
        for _ in results:
            if requests.bodies:  # the first came while the camera runs
                break
        assert requests.rows
        list(results)
    assert requests.rows == json_rows(lines.read_text())
    assert requests.bodies[0]["source"] == "camera 0"
    assert datetime.fromisoformat(str(requests.bodies[0]["started"])).tzinfo is not None


def test_a_receiver_that_is_away_leaves_the_tables_whole_and_is_an_error_at_the_end(
    camera: type[Camera], recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fervit.inference.runs.receiver, "CLOSING_S", 0.1)
    table, told, count = tmp_path / "rows.csv", list[str](), 0
    with pytest.raises(ConfigError, match=r"rows were not delivered to http://127\.0\.0\.1:9/"):
        for _ in fervit.watch(0, recognizer, csv=table, http="http://127.0.0.1:9/", tell=told.append):
            count += 1
    assert len(table.read_text().splitlines()) == 1 + count > 2
    assert len(told) == 1 and "trying again" in told[0]
    sidecar = read_sidecar(table)
    assert sidecar is not None and sidecar.complete


def test_ctrl_c_ends_a_run_with_whole_tables_and_what_was_sent(
    camera: type[Camera], recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect, calls = recognizer.finder.detect, []

    def interrupted(image: object) -> object:
        calls.append(image)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return detect(image)  # type: ignore[arg-type]

    monkeypatch.setattr(recognizer.finder, "detect", interrupted)
    table = tmp_path / "rows.parquet"
    pytest.importorskip("pyarrow")
    with receiver() as requests, pytest.raises(KeyboardInterrupt):
        list(fervit.watch(0, recognizer, parquet=table, http=requests.address))
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(table).column("frame").to_pylist() == [row["frame"] for row in requests.rows]
    assert len({row["frame"] for row in requests.rows}) == 3


@pytest.mark.parametrize("again", [True, False])
def test_a_device_file_is_opened_again_after_it_was_unplugged(
    camera: type[Camera],
    recognizer: Recognizer,
    monkeypatch: pytest.MonkeyPatch,
    again: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fervit.media.camera, "PAUSES_S", (0.01,))
    opened: list[object] = []

    def is_opened(self: Camera) -> bool:
        opened.append(self)
        return len(opened) in (1, 3)  # the second attempt comes too early, the third finds it again

    monkeypatch.setattr(Camera, "isOpened", is_opened)
    monkeypatch.setattr(Camera, "count", 3)
    indices = [r.frame.index for r in fervit.watch("/dev/video2", recognizer, reconnect_s=0.2 if again else 0)]
    assert indices == sorted(set(indices))
    said = [record.getMessage() for record in caplog.records]
    if again:
        assert len(opened) > 3 and max(indices) >= 3
        assert said == [
            "camera /dev/video2: lost; connecting again",
            "camera /dev/video2: back after 0 s",
            "camera /dev/video2: lost; connecting again",
            "camera /dev/video2: gone, and not back within 0.2 s",
        ]
    else:
        assert len(opened) == 1 and max(indices) < 3 and said == ["camera /dev/video2: gone"]


@pytest.mark.slow
def test_a_stream_that_comes_back_goes_on_in_the_same_table(
    stream: str, recognizer: Recognizer, tmp_path: Path
) -> None:
    address, table = stream.replace("//", "//ann:hunter2@") + "?key=1234", tmp_path / "rows.csv"
    command = f"fervit webcam --device {address}"
    list(fervit.watch(address, recognizer, csv=table, command=command))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    frames = [int(row["frame"]) for row in rows]
    assert MjpegHandler.served == 2 and frames == sorted(set(frames)) and len(frames) >= 4
    assert {row["source"] for row in rows} == {stream.replace("//", "//***@") + "?key=***"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_table_may_be_a_pipe_beside_which_nothing_is_written(
    camera: type[Camera], recognizer: Recognizer, tmp_path: Path
) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.extend(pipe.read_text().splitlines()))
    reader.start()
    count = len(list(fervit.watch(0, recognizer, json=pipe)))
    reader.join()
    assert len(read) == count and json.loads(read[0])["source"] == "camera 0"
    assert not sidecar_of(pipe).exists()


def test_what_cannot_be_meant_is_refused_before_the_camera_is_opened(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected an address for rows"):
        fervit.watch(0, recognizer, http="localhost:9000")
    with pytest.raises(ConfigError, match="did you mean 'reconnect_s'"):
        fervit.watch(0, recognizer, reconect_s=3)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="a camera has no end"):
        fervit.watch(0, recognizer, one_face="longest")
    with pytest.raises(ConfigError, match="expected a recognizer"):
        fervit.watch(0, "mobilenet")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no folder"):
        fervit.watch(0, recognizer, csv=tmp_path / "none" / "rows.csv")
    with pytest.raises(VideoError, match=r"for a file, use `fervit predict FILE`"):
        fervit.watch(tmp_path / "clip.mp4", recognizer)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="0 seconds or more to connect again"):
        next(fervit.watch(0, recognizer, reconnect_s=-1))
