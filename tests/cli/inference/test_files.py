"""`fervit predict` over a folder of videos and photos: what is printed, and how it is resumed."""

from pathlib import Path

import pytest

import fervit.faces.detectors
from fervit.inference.runs.sidecar import read_sidecar
from tests.helpers.commands import error_of, predict
from tests.helpers.recordings import write_study
from tests.helpers.results import sources
from tests.helpers.videos import Square

pytest.importorskip("av")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(fervit.faces.detectors.DETECTORS, "haar", Square)
    return write_study(tmp_path / "recordings")


@pytest.mark.slow
def test_a_study_is_one_run_with_one_bar_a_summary_and_a_file_that_tells_how(study: Path, tiny_onnx: Path) -> None:
    table = study / "rows.csv"
    options = ("--model", tiny_onnx, "--detector", "haar", "--csv", table)
    result = predict(study, *options)
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.stdout.splitlines() if "frames" in line] == [
        str(study / name) for name in ("p01.mp4", "p02.mp4", "session 2/p03.mp4")
    ]
    assert result.stderr.count("100%") == 1 and "predicting" in result.stderr
    assert "could not be read: 3 of 8: " in result.stderr and "is empty (0 bytes)" in result.stderr
    assert "skipped 1: 1 neither image nor video" in result.stderr
    sidecar = read_sidecar(table)
    assert sidecar is not None and len(sidecar.sources) == 8 and sidecar.settings["detector"]
    before = table.read_bytes()
    assert "exists already: go on in it with --skip-done" in error_of(predict(study, *options))
    table.write_bytes(before[:-3000])
    result = predict(study, *options, "--skip-done")
    assert result.exit_code == 0 and "of 8 files were done before" in result.stderr, result.output
    assert table.read_bytes() == before
    assert "8 of 8 files were done before" in predict(study, *options, "--skip-done").stderr


@pytest.mark.slow
def test_patterns_choose_from_folders_and_a_study_of_broken_files_has_rows(
    study: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    options = ("--model", tiny_onnx, "--detector", "haar", "--csv", table, "--overwrite")
    result = predict(study, *options, "--include", "p0*", "--exclude", "p02*")
    assert result.exit_code == 0, result.output
    assert set(sources(table)) == {str(study / "p01.mp4"), str(study / "session 2/p03.mp4")}
    assert "6 not included" in result.stderr and "1 excluded" in result.stderr
    broken = predict(study, *options, "--include", "text.mp4", "--include", "empty.mp4")
    assert error_of(broken) == "none of the 2 videos could be read"
    assert len(sources(table)) == 2
