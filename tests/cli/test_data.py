"""`fervit data`: inspect, synth, convert and download (with stand-ins for Kaggle and the Hub)."""

import json
import re
import sys
import types
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import fervit.data
from fervit.cli import app
from fervit.data import Dataset, download, load
from fervit.errors import ConfigError, DataError, FervitError, MissingExtra
from fervit.formatting import file_size
from tests.helpers import blank_fer2013
from tests.helpers.data_files import write_class_folders
from tests.helpers.public_sets import class_folders, faces, jaffe


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def fer2013() -> Dataset:
    return blank_fer2013()


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s faces"])
def test_synth_writes_fer2013_s_own_forms(tmp_path: Path, name: str) -> None:
    output = run("synth", "--count", 21, "--seed", 4, "--out", name, "--sheet", "sheet.png").output
    expected = load("synthetic:21:4").data_hash
    assert load(tmp_path / name).data_hash == expected
    assert expected in output
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500


def test_synth_overwrites_only_when_told() -> None:
    run("synth", "--count", 7, "--out", "s.csv")
    with pytest.raises(DataError, match="exists; pass --overwrite"):
        run("synth", "--count", 7, "--out", "s.csv")
    run("synth", "--count", 14, "--out", "s.csv", "--overwrite")
    assert len(load("s.csv")) == 14


@pytest.mark.slow
def test_split_writes_what_splits_reads(tmp_path: Path) -> None:
    class_folders(tmp_path / "faces", faces())
    output = run("split", "faces", "--out", "my splits.csv", "--fractions", "60/20/20").output
    assert re.search(r"^train +6 +6 +6 +6 +6 +6 +6 +42$", output, re.MULTILINE)
    assert "written: my splits.csv; use it with --data faces --splits 'my splits.csv'" in output
    assert (load("faces", splits="my splits.csv").split_ids == load("faces", fractions="60/20/20").split_ids).all()
    with pytest.raises(DataError, match="exists; pass --overwrite"):
        run("split", "faces", "--out", "my splits.csv")
    run("split", "faces", "--out", "my splits.csv", "--overwrite", "--group-by", r"/[0-9]*([0-9])\.png")
    lines = (tmp_path / "my splits.csv").read_text().splitlines()[1:]
    sides = {line.split(",")[3] for line in lines if line.split(",")[1].endswith("3.png")}
    assert len(sides) == 1


def test_split_writes_a_data_set_with_its_splits(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    jaffe(tmp_path / "jaffe", faces())
    assert "use it with --data j.parquet" in run("split", "jaffe", "--out", "j.parquet").output
    assert (load("j.parquet").split_ids == load("jaffe").split_ids).all()
    with pytest.raises(ConfigError, match=r"to a \.csv file, or with the images to a \.parquet file; got splits\.txt"):
        run("split", "jaffe", "--out", "splits.txt")
    with pytest.raises(DataError, match="synthetic has splits of its own"):
        run("split", "synthetic", "--out", "s.csv", "--fractions", "80/10/10")


@pytest.mark.slow
def test_inspect_writes_images_pairs_and_json(tmp_path: Path) -> None:
    run("synth", "--count", 70, "--out", "s.parquet")
    output = run("inspect", "s.parquet", "--json", "report.json").output
    assert "70 images, 48 x 48 grey" in output
    assert json.loads((tmp_path / "report.json").read_text())["images"] == 70
    for name in ("contact_sheet.png", "distribution.png"):
        with Image.open(tmp_path / "inspect-s" / name) as image:
            assert image.width > 300
    assert (tmp_path / "inspect-s" / "pairs.csv").read_text().startswith("kind,correlation,row,split")


def test_inspect_to_standard_output_is_nothing_but_json() -> None:
    run("synth", "--count", 14, "--out", "s.csv")
    report = json.loads(run("inspect", "s.csv", "--out", "here", "--no-near", "--json", "-").stdout)
    assert report["unreadable"]["count"] == 0


@pytest.mark.slow
def test_inspect_counts_unreadable_pictures(tmp_path: Path) -> None:
    run("synth", "--count", 14, "--out", "faces")
    (tmp_path / "faces" / "train" / "happy").mkdir(exist_ok=True)
    (tmp_path / "faces" / "train" / "happy" / "broken.jpg").write_bytes(b"\xff\xd8")
    assert "unreadable: 1" in run("inspect", "faces").output


def fake_kaggle(monkeypatch: pytest.MonkeyPatch, outcome: Path | Exception) -> None:
    def dataset_download(handle: str) -> str:
        assert handle == "msambare/fer2013"
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    module = types.ModuleType("kagglehub")
    monkeypatch.setattr(module, "dataset_download", dataset_download, raising=False)
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    monkeypatch.setattr(download, "_check_reachable", lambda address: None)


def test_download_checks_counts_and_says_what_to_pass_to_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fer2013: Dataset
) -> None:
    fake_kaggle(monkeypatch, tmp_path / "kaggle")
    monkeypatch.setattr(fervit.data, "load", lambda source: fer2013)
    output = run("download", "fer2013", "--hash", "abcabc").output
    assert "35,887 images" in output
    assert f"--data {tmp_path / 'kaggle'}" in output
    with pytest.raises(DataError, match="expected 0000"):
        run("download", "fer2013", "--hash", "0000")


def test_download_writes_the_form_that_out_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("synth", "--count", 14, "--out", "kaggle")
    fake_kaggle(monkeypatch, tmp_path / "kaggle")
    monkeypatch.setattr(download, "check_fer2013", lambda dataset: None)
    run("download", "fer2013", "--out", "fer2013.csv")
    assert load("fer2013.csv").data_hash == load("kaggle").data_hash
    with pytest.raises(DataError, match="exists; pass --overwrite"):
        run("download", "fer2013", "--out", "fer2013.csv")


def test_an_incomplete_download_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("synth", "--count", 14, "--out", "kaggle")
    fake_kaggle(monkeypatch, tmp_path / "kaggle")
    with pytest.raises(DataError, match=r"is not the whole of FER2013: .* images of angry in train, expected 3995"):
        run("download", "fer2013")


def test_download_from_the_hub_loads_that_id(monkeypatch: pytest.MonkeyPatch, fer2013: Dataset) -> None:
    loaded = []

    def load_fake(source: str) -> Dataset:
        loaded.append(source)
        return fer2013

    monkeypatch.setattr(fervit.data, "load", load_fake)
    assert "--data someone/fer2013" in run("download", "fer2013", "--hub", "someone/fer2013").output
    assert loaded == ["someone/fer2013"]


def test_kaggle_s_own_failures_become_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_kaggle(monkeypatch, RuntimeError("403 Client Error\nYou need to log in"))
    with pytest.raises(DataError, match=r"could not be downloaded from Kaggle \(403 Client Error You need to") as got:
        run("download", "fer2013")
    assert "\n" not in str(got.value)


def test_download_offline_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", types.ModuleType("kagglehub"))
    monkeypatch.setattr(download, "KAGGLE_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be reached"):
        run("download", "fer2013")


def test_download_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtra, match=r"fervit\[download\]"):
        run("download", "fer2013")


def test_an_unknown_download_names_the_choices() -> None:
    with pytest.raises(FervitError, match="unknown data set 'fer2031': did you mean 'fer2013'"):
        run("download", "fer2031")


def test_convert_lists_the_data_sets_and_their_licences(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "mine", "happy", "sad")
    out = tmp_path / "f.parquet"
    call = ["data", "convert", f"{folder}@2", "synthetic:20", "--out", str(out), "--licence", "my own photos"]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"{out}: 52 images, {file_size(out.stat().st_size)}",
        "source        images",
        "------------  ------",
        "mine              32",
        "synthetic:20      20",
        "licence of mine: my own photos",
        "licence of synthetic faces: no restrictions, drawn by fervit",
    ]
    again = CliRunner().invoke(app, call)
    assert isinstance(again.exception, DataError) and "exists; pass --overwrite" in str(again.exception)
