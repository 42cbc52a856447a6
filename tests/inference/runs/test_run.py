"""`fervit.predict`: one run over a folder, what its tables hold, and how it is resumed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.errors import ConfigError, FervitError, ImageError
from fervit.inference.recognizer import Recognizer
from fervit.inference.runs.sidecar import read_sidecar, sidecar_of
from tests.helpers import ROOT
from tests.helpers.recordings import BROKEN, FRAMES, square_recognizer, write_study
from tests.helpers.results import json_rows, sources

pytest.importorskip("av")
pytest.importorskip("pyarrow")
KINDS = ("csv", "json", "parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study") / "recordings")


@pytest.fixture
def recognizer(tiny_onnx: Path) -> Recognizer:
    return square_recognizer(tiny_onnx)


def tables_in(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    return {kind: folder / f"rows.{kind}" for kind in KINDS}


def contents(tables: dict[str, Path]) -> dict[str, bytes]:
    return {kind: path.read_bytes() for kind, path in tables.items()}


def run(study: Path, recognizer: Recognizer, tables: dict[str, Path], **options: bool) -> fervit.RunSummary:
    return fervit.predict(study, recognizer, **tables, **options)  # type: ignore[arg-type]


def test_a_folder_is_run_in_name_order_with_a_row_for_every_frame(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    tables = tables_in(tmp_path)
    summary = run(study, recognizer, tables)
    csv, parquet = pandas.read_csv(tables["csv"]), pandas.read_parquet(tables["parquet"])
    names = [str(path.relative_to(study)) for path in sorted(study.rglob("*.*")) if path.suffix != ".txt"]
    assert list(dict.fromkeys(csv.source)) == [str(study / name) for name in names]
    assert csv.columns.tolist() == parquet.columns.tolist() and csv.columns[-1] == "error"
    assert csv.source.tolist() == parquet.source.tolist()
    assert csv.source.tolist() == [s for s in sources(tables["json"]) if not s.endswith("notes.txt")]
    for name, count in FRAMES.items():
        rows = csv[csv.source == str(study / name)]
        assert rows.frame.tolist() == list(range(count))
        assert rows.track.isna().tolist() == [frame in (3, 4) for frame in range(count)]
        assert rows.error.isna().all()
    broken = csv[csv.error.notna()]
    assert broken.source.tolist() == [str(study / name) for name in BROKEN]
    assert broken.label.isna().all() and broken.frame.isna().all()
    assert [item.source for item in summary.unread] == broken.source.tolist()
    *_, first, second = summary.lines()
    assert first.startswith("could not be read: 3 of 8: ") and "is empty (0 bytes)" in first
    assert second == "skipped 1: 1 neither image nor video"


def test_the_file_beside_a_table_tells_of_every_source(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    tables = tables_in(tmp_path)
    run(study, recognizer, tables)
    sidecar = read_sidecar(tables["csv"])
    assert sidecar is not None and sidecar == read_sidecar(tables["parquet"]) and sidecar.complete
    assert sidecar.settings["every"] == 1 and sidecar.settings["model"] == "tiny"
    rows = Counter(sources(tables["csv"]))
    assert {name: record.rows for name, record in sidecar.sources.items()} == rows
    video = sidecar.sources[str(study / "p01.mp4")]
    assert (video.kind, video.frames, video.width, video.height, video.rotation_deg) == ("video", 12, 96, 64, 0)
    assert video.fps == pytest.approx(20) and video.duration_s == pytest.approx(0.6, abs=0.06)
    assert video.last_s == pytest.approx(0.55) and video.bytes == (study / "p01.mp4").stat().st_size
    photo = sidecar.sources[str(study / "none.png")]
    assert (photo.kind, photo.frames, photo.width, photo.error) == ("photo", 1, 64, None)
    assert "hello" not in str(sidecar.sources[str(study / "text.mp4")].error)
    assert [name for name, record in sidecar.sources.items() if record.error] == [str(study / n) for n in BROKEN]


@pytest.mark.slow
def test_a_table_that_was_cut_anywhere_becomes_that_of_an_uninterrupted_run(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    whole = tables_in(tmp_path / "whole")
    run(study, recognizer, whole)
    expected, rng = contents(whole), random.Random(0)
    for number in range(6):
        tables = tables_in(tmp_path / str(number))
        for kind, data in expected.items():
            size = len(data) if kind == "parquet" else rng.randrange(len(data))
            tables[kind].write_bytes(data[:size])
            if number != 5 or kind != "json":  # without the file beside it, a last source is not known to be whole
                shutil.copy(sidecar_of(whole[kind]), sidecar_of(tables[kind]))
        if number == 4:
            tables["parquet"].unlink()
        run(study, recognizer, tables, skip_done=True)
        assert contents(tables) == expected, number
        assert not any(path.name.startswith(".") for path in tables["csv"].parent.iterdir())


def test_a_run_goes_on_in_the_video_in_which_it_was_stopped(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    whole, tables = tables_in(tmp_path / "whole"), tables_in(tmp_path / "stopped")
    run(study, recognizer, whole)
    seen = []

    def stop(result: object) -> None:
        seen.append(result)
        if len(seen) == 18:  # within the second video
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fervit.predict(study, recognizer, **tables, on_result=stop)  # type: ignore[arg-type]
    sidecar = read_sidecar(tables["csv"])
    assert sidecar is not None and not sidecar.complete
    assert str(study / "p01.mp4") in sidecar.sources and str(study / "p02.mp4") not in sidecar.sources
    assert str(study / "p02.mp4") in sources(tables["csv"])
    before = len(seen)
    summary = fervit.predict(study, recognizer, **tables, skip_done=True, on_result=seen.append)  # type: ignore[arg-type]
    assert contents(tables) == contents(whole)
    assert summary.done_before == 4 and len(seen) - before == 10 + 1 + 1 + 8  # p02, text, face, p03
    assert {r.source: r.rows for r in summary.records} == Counter(sources(tables["csv"]))
    again = run(study, recognizer, tables, skip_done=True)
    assert contents(tables) == contents(whole) and again.done_before == 8 and again.answered


def test_a_file_that_changed_is_done_again_and_other_settings_are_refused(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    shutil.copytree(study, folder)
    table = tmp_path / "rows.csv"
    fervit.predict(folder, recognizer, csv=table)
    shutil.copy(folder / "p01.mp4", folder / "text.mp4")
    fervit.predict(folder, recognizer, csv=table, skip_done=True)
    assert Counter(sources(table))[str(folder / "text.mp4")] == FRAMES["p01.mp4"]
    before = table.read_bytes()
    with pytest.raises(ConfigError, match=r"was made with every = 1, and this run has 2"):
        fervit.predict(folder, recognizer, csv=table, skip_done=True, every=2)
    with pytest.raises(ConfigError, match=r"exists already: go on in it with --skip-done"):
        fervit.predict(folder, recognizer, csv=table)
    assert table.read_bytes() == before
    fervit.predict(folder, recognizer, csv=table, overwrite=True, every=2)
    assert len(sources(table)) < len(before.splitlines()) - 1


def test_what_lies_beside_a_table_must_be_what_was_written_there(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    fervit.predict(study / "p01.mp4", recognizer, csv=table)
    for text in ("", "[]", '{"sources": [{}]}', "{"):
        sidecar_of(table).write_text(text)
        with pytest.raises(ConfigError, match="is not what `fervit predict` writes beside a table"):
            fervit.predict(study / "p01.mp4", recognizer, csv=table, skip_done=True)


def test_patterns_choose_the_files_of_a_folder_and_its_own_tables_are_no_inputs(
    study: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    shutil.copytree(study, folder)
    table = folder / "rows.json"
    for _ in range(2):
        summary = fervit.predict(
            folder, recognizer, json=table, include=["P0*.MP4"], exclude=["session*"], skip_done=True
        )
    assert [record.source for record in summary.records] == [str(folder / name) for name in ("p01.mp4", "p02.mp4")]
    left_out = {str(row["source"]): row["skipped"] for row in json_rows(table.read_text()) if "skipped" in row}
    assert left_out[str(folder / "session 2" / "p03.mp4")] == "excluded"
    assert left_out[str(folder / "none.png")] == "not included"
    assert len(left_out) == 7 and not any("rows.json" in name for name in left_out)
    with pytest.raises(ImageError, match=r"no images in .* not included"):
        fervit.predict(folder, recognizer, include=["*.avi"])
    with pytest.raises(ConfigError, match="a list of patterns as include"):
        fervit.predict(folder, recognizer, include="*.avi")


def test_a_folder_in_which_nothing_can_be_read_has_rows_and_is_an_error(recognizer: Recognizer, tmp_path: Path) -> None:
    folder, table = tmp_path / "recordings", tmp_path / "rows.csv"
    folder.mkdir()
    (folder / "empty.mp4").touch()
    with pytest.raises(FervitError, match="the only input could not be read"):
        fervit.predict(folder, recognizer, csv=table)
    assert sources(table) == [str(folder / "empty.mp4")]
    (folder / "text.mp4").write_text("hello")
    with pytest.raises(FervitError, match="none of the 2 videos could be read"):
        fervit.predict(folder, recognizer, csv=table, overwrite=True)


def write_film(path: Path, count: int, rate: int, size: tuple[int, int] = (64, 48)) -> Path:
    """Write grey frames as MPEG-4, of any rate and `(width, height)`."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), 9 * index % 150, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_sound_only_1000_frames_a_second_and_a_film_that_ends_early(recognizer: Recognizer, tmp_path: Path) -> None:
    import av

    folder, table = tmp_path / "recordings", tmp_path / "rows.csv"
    folder.mkdir()
    fast = write_film(folder / "fast.mp4", 40, 1000)
    early = write_film(folder / "early.mkv", 200, 25)
    early.write_bytes(early.read_bytes()[: early.stat().st_size // 3])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    run = fervit.predict(folder, recognizer, csv=table)
    records = {Path(record.source).name: record for record in run.records}
    assert (records["fast.mp4"].frames, records["fast.mp4"].fps) == (40, 1000)
    assert "holds sound only" in str(records["sound.mp4"].error) and run.unread == [records["sound.mp4"]]
    assert "though its header says 8.0 s" in str(records["early.mkv"].warning)
    assert records["early.mkv"].error is None and 10 < records["early.mkv"].frames < 150
    assert any(line.startswith("read in part, as it seems: 1: ") for line in run.lines())
    assert Counter(sources(table))[str(fast)] == 40


@pytest.mark.slow
def test_8k_is_read_and_what_is_larger_has_an_error(recognizer: Recognizer, tmp_path: Path) -> None:
    large = write_film(tmp_path / "8k.mp4", 1, 25, (7680, 4320))
    larger = write_film(tmp_path / "larger.mp4", 1, 25, (8000, 6000))
    first, second = fervit.predict([large, larger], recognizer, csv=tmp_path / "rows.csv").records
    assert (first.width, first.height, first.error) == (7680, 4320, None)
    assert "48 megapixels" in str(second.error)


def test_progress_grows_to_the_whole(study: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    steps: list[tuple[float, float]] = []
    fervit.predict(study, recognizer, csv=tmp_path / "rows.csv", progress=lambda *step: steps.append(step))
    done = [step[0] for step in steps]
    assert done == sorted(done) and done[-1] == steps[-1][1] == pytest.approx(sum(FRAMES.values()) + 5, abs=2)


def test_a_keyword_that_is_none_is_refused_with_the_nearest_one(study: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'skip_done'"):
        fervit.predict(study, skip_don=True)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="expected one of skip_done"):
        fervit.predict(study, skip_done=True, overwrite=True)


PROGRAM = """
import sys, time
from pathlib import Path
import fervit
from tests.helpers.recordings import square_recognizer
study, model, out = map(Path, sys.argv[1:])
wait = lambda result: (print('row', flush=True), time.sleep(0.02))
fervit.predict(study, square_recognizer(model), csv=out / 'rows.csv', json=out / 'rows.json',
               parquet=out / 'rows.parquet', skip_done=True, on_result=wait)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_runs_that_are_killed_three_times_end_with_the_tables_of_one_that_is_not(
    study: Path, recognizer: Recognizer, tiny_onnx: Path, tmp_path: Path
) -> None:
    whole, tables = tables_in(tmp_path / "whole"), tables_in(tmp_path / "killed")
    run(study, recognizer, whole)
    command = [sys.executable, "-c", PROGRAM, str(study), str(tiny_onnx), str(tmp_path / "killed")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    for rows in (7, 16, 5):  # within the first video, the second, and what follows it
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(rows):
                process.stdout.readline()
            time.sleep(0.005 * rows)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    run(study, recognizer, tables, skip_done=True)
    assert contents(tables) == contents(whole)


FORKING = """
import os, sys, time
from pathlib import Path
import fervit, fervit.inference.runs.run, fervit.inference.runs.sidecar, fervit.inference.tables
import pyarrow.parquet
from tests.helpers.recordings import square_recognizer
# Parquet files and what lies beside tables are replaced so often that many of the kills come while they are.
fervit.inference.tables.SAVE_EVERY_S = fervit.inference.runs.sidecar.SAVE_EVERY_S = 0.02
fervit.inference.tables.SAVE_FRACTION = fervit.inference.runs.sidecar.SAVE_FRACTION = 1.0
study, model = map(Path, sys.argv[1:])
for line in sys.stdin:
    child = os.fork()
    if not child:
        out = Path(line.strip())
        wait = lambda result: (print('row', flush=True), time.sleep(0.003))
        fervit.predict(study, square_recognizer(model), csv=out / 'rows.csv', json=out / 'rows.json',
                       parquet=out / 'rows.parquet', on_result=wait)
        os._exit(0)
    print(child, flush=True)
    print('ended', os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_runs_that_are_killed_at_ten_random_moments_are_resumed_to_the_tables_of_one_that_is_not(
    study: Path, recognizer: Recognizer, tiny_onnx: Path, tmp_path: Path
) -> None:
    whole = tables_in(tmp_path / "whole")
    run(study, recognizer, whole)
    results, rng, kept = sum(FRAMES.values()) + 5, random.Random(22), list[int]()
    command = [sys.executable, "-c", FORKING, str(study), str(tiny_onnx)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for number in range(10):
            tables = tables_in(tmp_path / f"killed-{number}")
            process.stdin.write(f"{tables['csv'].parent}\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            for _ in range(rng.randrange(results - 5)):
                assert process.stdout.readline() == "row\n"
            time.sleep(rng.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            while (line := process.stdout.readline()) == "row\n":  # those that came before the kill
                continue
            assert line == f"ended {int(signal.SIGKILL)}\n"
            kept.append(len(sources(tables["csv"])) if tables["csv"].exists() else 0)
            run(study, recognizer, tables, skip_done=True)
            assert contents(tables) == contents(whole), number
    assert len(set(kept)) > 5 and max(kept) > 20  # moments all over the run
