"""Files of a run in several processes: the bytes of one process, whatever becomes of them."""

import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fervit
import fervit.inference.runs.sidecar
from fervit.errors import ConfigError
from fervit.inference.people import People
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import FrameResult
from fervit.inference.runs.files import Ended, Reached, RunOptions, Started, run_files
from fervit.inference.runs.worker import COUNTS, HEAD, LAST, OTHER, Done, Failed, Logged, Setup, Task, work
from fervit.inference.tables import Result
from tests.helpers import ROOT
from tests.helpers.recordings import FRAMES, square_recognizer, write_study
from tests.helpers.videos import Ending, moving, write_video

pytest.importorskip("av")
pytest.importorskip("pyarrow")
KINDS = ("csv", "json", "parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("workers") / "recordings")


@pytest.fixture
def recognizer(tiny_onnx: Path) -> Recognizer:
    return square_recognizer(tiny_onnx)


def tables_in(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    return {kind: folder / f"rows.{kind}" for kind in KINDS}


def contents(tables: dict[str, Path]) -> dict[str, bytes]:
    return {kind: path.read_bytes() for kind, path in tables.items()}


def messages(setup: object, *tasks: Task) -> list[tuple[int, object]]:
    """Let a worker of this process do tasks, and return the kinds of its messages and these."""
    sent = [pickle.dumps(item) for item in (setup, *tasks)]
    source = io.BytesIO(b"".join(HEAD.pack(OTHER, len(data)) + data for data in sent))
    out = io.BytesIO()
    work(source, out)
    out.seek(0)

    def read() -> Iterator[tuple[int, object]]:
        while head := out.read(HEAD.size):
            kind, size = HEAD.unpack(head)
            yield kind, pickle.loads(out.read(size))

    return list(read())


def test_a_worker_sends_what_a_run_over_its_files_gives(study: Path, recognizer: Recognizer) -> None:
    path, options = study / "p01.mp4", RunOptions(people=People(study, {("p01.mp4", 1): "Ann", ("x.mp4", 1): "Ben"}))
    found = messages(Setup(recognizer, options, 1), Task((path,), True, {}))
    assert [kind for kind, _ in found].count(COUNTS) == FRAMES["p01.mp4"]
    assert found[-1] == (LAST, Done(frozenset({("p01.mp4", 1)})))
    events = [event for kind, event in found[:-1]]
    expected = list(run_files(recognizer, [path], [path], options))
    assert [type(event) for event in events] == [type(event) for event in expected]
    assert isinstance(events[0], Started) and events[0].info == fervit.media.video.probe(path)
    for event, other in zip(events, expected, strict=True):
        if isinstance(event, FrameResult):
            assert (
                isinstance(other, FrameResult)
                and event.frame.image.size == 0
                and event.frame.time_s == other.frame.time_s
            )
            assert [p.probs.tobytes() for p in event.predictions] == [p.probs.tobytes() for p in other.predictions]
        if isinstance(event, Reached):
            assert isinstance(other, Reached) and event.unfinished.to_dict() == other.unfinished.to_dict()
    assert isinstance(events[-1], Ended) and events[-1] == expected[-1]


def test_a_workers_log_and_its_errors_reach_the_run(
    study: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        logging.getLogger("fervit.media.video").warning("%d broken packets", 3)
        logging.getLogger("fervit.media.video").info("of no interest")
        raise ValueError("odd")

    setup, task = Setup(recognizer, RunOptions(), 1), Task((study / "p01.mp4",), True, {})
    with monkeypatch.context() as patch:
        patch.setattr(fervit.inference.runs.worker, "run_files", run)
        logged, failed = messages(setup, task, task)
    assert logged == (OTHER, Logged("fervit.media.video", logging.WARNING, "3 broken packets"))
    assert failed[0] == LAST and isinstance(failed[1], Failed) and str(failed[1].error) == "odd"
    assert not any("Sender" in type(handler).__name__ for handler in logging.getLogger().handlers)
    [(kind, unread)] = messages("no setup", task)
    assert kind == LAST and isinstance(unread, Failed)


class Local:
    """A detector that cannot be brought into another process."""

    def __reduce__(self) -> str:
        raise TypeError("it holds a camera")

    def detect(self, images: list[np.ndarray]) -> list[list[object]]:
        return [[] for _ in images]


def test_what_cannot_be_brought_into_another_process_is_told(study: Path, recognizer: Recognizer) -> None:
    own = Recognizer(recognizer.classifier, Local())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"cannot be brought into other processes \(.*camera.*\): use one worker"):
        fervit.predict(study, own, workers=2)
    with pytest.raises(ConfigError, match="workers"):
        fervit.predict(study, recognizer, workers=0)


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    one, two = tables_in(tmp_path / "one"), tables_in(tmp_path / "two")
    first, second, steps = list[Result](), list[Result](), list[tuple[float, float]]()
    alone = fervit.predict(study, recognizer, **one, on_result=first.append)  # type: ignore[arg-type]
    options = {"workers": 2, "on_result": second.append, "progress": lambda *step: steps.append(step)}
    both = fervit.predict(study, recognizer, **two, **options)  # type: ignore[arg-type]
    assert contents(two) == contents(one) and both == alone
    assert [result.source for result in second] == [result.source for result in first]
    for result, other in zip(second, first, strict=True):
        if isinstance(result, FrameResult) and isinstance(other, FrameResult):
            assert np.array_equal(result.frame.image, other.frame.image) and result.frame.cut == other.frame.cut
    done = [step[0] for step in steps]
    assert done == sorted(done) and done[-1] == pytest.approx(steps[-1][1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_worker_that_is_ended_from_outside_ends_the_run(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    own = Recognizer(recognizer.classifier, Ending())
    with pytest.raises(ConfigError, match=r"a worker was ended by signal 9 .*p01.mp4: go on with --skip-done"):
        fervit.predict([study / "none.png", study / "p01.mp4"], own, csv=table, workers=2)
    fervit.predict([study / "none.png", study / "p01.mp4"], recognizer, csv=table, skip_done=True)
    expected = tmp_path / "expected.csv"
    fervit.predict([study / "none.png", study / "p01.mp4"], recognizer, csv=expected)
    assert table.read_bytes() == expected.read_bytes()


PROGRAM = """
import sys, time
from pathlib import Path
import fervit, fervit.inference.runs.sidecar
from tests.helpers.recordings import square_recognizer
fervit.inference.runs.sidecar.SAVE_FRACTION = 1e9
study, model, out = map(Path, sys.argv[1:])
wait = lambda result: (print('row', flush=True), time.sleep(0.01))
fervit.predict(study, square_recognizer(model), csv=out / 'rows.csv', json=out / 'rows.json',
               parquet=out / 'rows.parquet', skip_done=True, on_result=wait, workers=2)
"""


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in tasks for child in path.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc")
def test_workers_end_with_a_run_that_is_killed_and_it_goes_on(
    recognizer: Recognizer, tiny_onnx: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number, count in enumerate((60, 9, 30), 1):
        write_video(folder / f"p0{number}.mp4", moving(count, away=[3, 4]))
    whole, tables = tables_in(tmp_path / "whole"), tables_in(tmp_path / "killed")
    fervit.predict(folder, recognizer, **whole)  # type: ignore[arg-type]
    command = [sys.executable, "-c", PROGRAM, str(folder), str(tiny_onnx), str(tmp_path / "killed")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(45):
            process.stdout.readline()
        children = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
    assert len(children) == 2
    end_s = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end_s, "a worker outlived its run"
        time.sleep(0.02)
    seen: list[Result] = []
    fervit.predict(folder, recognizer, **tables, skip_done=True, workers=2, on_result=seen.append)  # type: ignore[arg-type]
    assert contents(tables) == contents(whole)
    assert len(seen) < 99 - 20 and all(isinstance(r, FrameResult) and r.frame.image.size for r in seen)
