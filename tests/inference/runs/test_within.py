"""A run that was stopped within a video goes on there, and its tables are those of one that was never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fervit
import fervit.inference.runs.sidecar
from fervit.errors import ConfigError
from fervit.inference.recognizer import Recognizer
from fervit.inference.runs.sidecar import read_sidecar, sidecar_of
from fervit.inference.tables import Result
from tests.helpers import ROOT
from tests.helpers.recordings import square_recognizer
from tests.helpers.videos import moving, write_video

pytest.importorskip("av")
pytest.importorskip("pyarrow")
KINDS = ("csv", "json", "parquet")
FRAMES = 70  # at 20 frames/s


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("within") / "recordings"
    folder.mkdir()
    write_video(folder / "p01.mp4", moving(FRAMES, away=[3, 4, *range(30, 36)]))
    write_video(folder / "p02.mp4", moving(9))
    return folder


@pytest.fixture(autouse=True)
def every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save at every second of a video, however little time the seconds of this small one take."""
    monkeypatch.setattr(fervit.inference.runs.sidecar, "SAVE_FRACTION", 1e9)


@pytest.fixture
def recognizer(tiny_onnx: Path) -> Recognizer:
    return square_recognizer(tiny_onnx)


def tables_in(folder: Path, kinds: tuple[str, ...] = KINDS) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    return {kind: folder / f"rows.{kind}" for kind in kinds}


def contents(tables: dict[str, Path]) -> dict[str, bytes]:
    return {kind: path.read_bytes() for kind, path in tables.items()}


def stopped(study: Path, recognizer: Recognizer, tables: dict[str, Path], after: int, **options: object) -> None:
    """Run over a study and stop after so many results, as with Ctrl-C."""
    left = iter(range(after - 1))

    def stop(_: Result) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fervit.predict(study, recognizer, **tables, on_result=stop, **options)  # type: ignore[arg-type]


def gone_on(study: Path, recognizer: Recognizer, tables: dict[str, Path], **options: object) -> list[Result]:
    """Go on, and return the results that were still to come."""
    seen: list[Result] = []
    run = fervit.predict(study, recognizer, **tables, skip_done=True, on_result=seen.append, **options)  # type: ignore[arg-type]
    assert [record.frames for record in run.records] == [FRAMES, 9] and run.answered
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"one_face": "largest", "smooth_s": 1.0}], ids=["usual", "one face"])
def test_it_goes_on_after_the_last_whole_second(
    study: Path, recognizer: Recognizer, tmp_path: Path, options: dict[str, object]
) -> None:
    whole = tables_in(tmp_path / "whole")
    fervit.predict(study, recognizer, **whole, **options)  # type: ignore[arg-type]
    for after in (5, 31, 68):
        tables = tables_in(tmp_path / str(after))
        stopped(study, recognizer, tables, after, **options)
        seen = gone_on(study, recognizer, tables, **options)
        assert contents(tables) == contents(whole), after
        repeated = len(seen) - (FRAMES + 9 - after)
        assert 0 <= repeated <= 28, after  # a second, and the batch of eight frames in which it ends
        before, later = read_sidecar(whole["csv"]), read_sidecar(tables["csv"])
        assert before is not None and later is not None and before.sources == later.sources
        assert later.complete and later.unfinished is None


def test_it_may_be_stopped_again_and_again(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    whole, tables = tables_in(tmp_path / "whole"), tables_in(tmp_path / "stopped")
    fervit.predict(study, recognizer, **whole)  # type: ignore[arg-type]
    for after in (20, 2, 30, 33):
        stopped(study, recognizer, tables, after, skip_done=True)
    assert len(gone_on(study, recognizer, tables)) < 40
    assert contents(tables) == contents(whole)


@pytest.mark.slow
def test_a_video_begins_anew_where_it_must(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    whole = tables_in(tmp_path / "whole")
    fervit.predict(study, recognizer, **whole)  # type: ignore[arg-type]

    def lose_rows(tables: dict[str, Path]) -> None:
        tables["json"].write_bytes(tables["json"].read_bytes()[:5000])

    def lose_a_table(tables: dict[str, Path]) -> None:
        tables["parquet"].unlink()

    def lose_what_lies_beside(tables: dict[str, Path]) -> None:
        for table in tables.values():
            sidecar_of(table).unlink()

    for number, damage in enumerate((lose_rows, lose_a_table, lose_what_lies_beside)):
        tables = tables_in(tmp_path / str(number))
        stopped(study, recognizer, tables, 60)
        damage(tables)
        assert len(gone_on(study, recognizer, tables)) == FRAMES + 9
        assert contents(tables) == contents(whole)


def test_the_longest_face_is_known_at_the_end_only(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    tables = tables_in(tmp_path, ("csv",))
    stopped(study, recognizer, tables, 60, one_face="longest")
    sidecar = read_sidecar(tables["csv"])
    assert sidecar is not None and sidecar.unfinished is None
    assert len(gone_on(study, recognizer, tables, one_face="longest")) == FRAMES + 9


def test_a_video_that_has_changed_begins_anew(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    folder, tables = tmp_path / "recordings", tables_in(tmp_path, ("csv",))
    shutil.copytree(study, folder)
    stopped(folder, recognizer, tables, 60)
    (folder / "p01.mp4").write_bytes((folder / "p01.mp4").read_bytes() + b"\0" * 8)
    assert len(gone_on(folder, recognizer, tables)) == FRAMES + 9


def test_where_it_was_is_checked(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    tables = tables_in(tmp_path, ("csv",))
    stopped(study, recognizer, tables, 60)
    beside = sidecar_of(tables["csv"])
    values = json.loads(beside.read_text())
    assert values["unfinished"]["source"] == str(study / "p01.mp4") and values["unfinished"]["last_s"] >= 1.95
    del values["unfinished"]["resume"]["means"]
    beside.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="is not what `fervit predict` writes beside a table"):
        fervit.predict(study, recognizer, csv=tables["csv"], skip_done=True)


def test_another_file_than_the_one_that_was_begun_leaves_no_half_of_it(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    tables = tables_in(tmp_path, ("csv", "json"))
    stopped(study, recognizer, tables, 60)
    fervit.predict(study / "p02.mp4", recognizer, **tables, skip_done=True)  # type: ignore[arg-type]
    assert b"p01.mp4" not in tables["csv"].read_bytes() + tables["json"].read_bytes()


PROGRAM = """
import sys, time
from pathlib import Path
import fervit, fervit.inference.runs.sidecar
from tests.helpers.recordings import square_recognizer
fervit.inference.runs.sidecar.SAVE_FRACTION = 1e9
study, model, out = map(Path, sys.argv[1:])
wait = lambda result: (print('row', flush=True), time.sleep(0.01))
fervit.predict(study, square_recognizer(model), csv=out / 'rows.csv', json=out / 'rows.json',
               parquet=out / 'rows.parquet', skip_done=True, on_result=wait)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_run_that_is_killed_within_a_video_goes_on_in_it(
    study: Path, recognizer: Recognizer, tiny_onnx: Path, tmp_path: Path
) -> None:
    whole, tables = tables_in(tmp_path / "whole"), tables_in(tmp_path / "killed")
    fervit.predict(study, recognizer, **whole)  # type: ignore[arg-type]
    command = [sys.executable, "-c", PROGRAM, str(study), str(tiny_onnx), str(tmp_path / "killed")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    for rows in (27, 25, 10):
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(rows):
                process.stdout.readline()
            time.sleep(0.001 * rows)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    assert len(gone_on(study, recognizer, tables)) < FRAMES  # 62 or more were looked at, a second was lost thrice
    assert contents(tables) == contents(whole)
