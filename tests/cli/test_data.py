"""`fervit data`: inspect, synth and download (with stand-ins for Kaggle and the Hub)."""

import json
import sys
import types
import urllib.error

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fervit.data
from fervit.cli import app
from fervit.data import Dataset, download, load, save
from fervit.data.cache import content_hash
from fervit.data.download import FER2013_COUNTS, check_fer2013
from fervit.errors import DataError, FervitError, MissingExtra
from fervit.labels import FER7


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def fer2013():
    """A data set with FER2013's counts and blank pictures."""
    targets = np.concatenate([np.repeat(np.arange(7), FER2013_COUNTS[s]) for s in FER2013_COUNTS])
    split_ids = np.repeat([0, 1, 2], [sum(FER2013_COUNTS[s]) for s in FER2013_COUNTS]).astype(np.int8)
    images = np.broadcast_to(np.uint8(9), (len(targets), 48, 48, 1))
    return Dataset("kaggle", FER7, images, targets, split_ids, np.arange(len(targets)), "abc" * 10)


def run(*arguments):
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s faces"])
def test_synth_writes_fer2013_s_own_forms(tmp_path, name):
    output = run("synth", "--count", 21, "--seed", 4, "--out", name, "--sheet", "sheet.png").output
    expected = load("synthetic:21:4").data_hash
    assert load(tmp_path / name).data_hash == expected
    assert expected in output
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500


def test_synth_overwrites_only_when_told():
    run("synth", "--count", 7, "--out", "s.csv")
    with pytest.raises(DataError, match="exists; pass --overwrite"):
        run("synth", "--count", 7, "--out", "s.csv")
    run("synth", "--count", 14, "--out", "s.csv", "--overwrite")
    assert len(load("s.csv")) == 14


def test_inspect_writes_pictures_pairs_and_json(tmp_path):
    run("synth", "--count", 70, "--out", "s.parquet")
    output = run("inspect", "s.parquet", "--json", "report.json").output
    assert "70 images, 48 x 48 grey" in output
    assert json.loads((tmp_path / "report.json").read_text())["images"] == 70
    for name in ("contact_sheet.png", "distribution.png"):
        with Image.open(tmp_path / "inspect-s" / name) as image:
            assert image.width > 300
    assert (tmp_path / "inspect-s" / "pairs.csv").read_text().startswith("kind,correlation,row,split")


def test_inspect_to_standard_output_is_nothing_but_json():
    run("synth", "--count", 14, "--out", "s.csv")
    report = json.loads(run("inspect", "s.csv", "--out", "here", "--no-near", "--json", "-").stdout)
    assert report["unreadable"]["count"] == 0


def test_inspect_counts_unreadable_pictures(tmp_path):
    run("synth", "--count", 14, "--out", "faces")
    (tmp_path / "faces" / "train" / "happy").mkdir(exist_ok=True)
    (tmp_path / "faces" / "train" / "happy" / "broken.jpg").write_bytes(b"\xff\xd8")
    assert "unreadable: 1" in run("inspect", "faces").output


def fake_kaggle(monkeypatch, answer):
    def dataset_download(handle):
        assert handle == "msambare/fer2013"
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    monkeypatch.setattr(download, "_check_reachable", lambda address: None)


def test_download_checks_counts_and_says_what_to_pass_to_data(tmp_path, monkeypatch, fer2013):
    fake_kaggle(monkeypatch, tmp_path / "kaggle")
    monkeypatch.setattr(fervit.data, "load", lambda source: fer2013)
    output = run("download", "fer2013", "--hash", "abcabc").output
    assert "35,887 images" in output
    assert f"--data {tmp_path / 'kaggle'}" in output
    with pytest.raises(DataError, match="expected 0000"):
        run("download", "fer2013", "--hash", "0000")


def test_download_writes_the_form_that_out_names(tmp_path, monkeypatch):
    run("synth", "--count", 14, "--out", "kaggle")
    fake_kaggle(monkeypatch, tmp_path / "kaggle")
    monkeypatch.setattr(download, "check_fer2013", lambda dataset: None)
    run("download", "fer2013", "--out", "fer2013.csv")
    assert load("fer2013.csv").data_hash == load("kaggle").data_hash
    with pytest.raises(DataError, match="exists; pass --overwrite"):
        run("download", "fer2013", "--out", "fer2013.csv")


def test_an_incomplete_download_is_refused(tmp_path, monkeypatch):
    run("synth", "--count", 14, "--out", "kaggle")
    fake_kaggle(monkeypatch, tmp_path / "kaggle")
    with pytest.raises(DataError, match=r"is not the whole of FER2013: .* images of angry in train, expected 3995"):
        run("download", "fer2013")


def test_other_data_is_not_taken_for_fer2013(fer2013):
    check_fer2013(fer2013)
    with pytest.raises(DataError, match="disgust in public_test, expected 56"):
        check_fer2013(fer2013.take(np.flatnonzero((fer2013.targets != 1) | (fer2013.split_ids != 1))))


def test_download_from_the_hub_loads_that_id(monkeypatch, fer2013):
    asked = []
    monkeypatch.setattr(fervit.data, "load", lambda source: asked.append(source) or fer2013)
    assert "--data someone/fer2013" in run("download", "fer2013", "--hub", "someone/fer2013").output
    assert asked == ["someone/fer2013"]


def test_kaggle_s_own_failures_become_one_line(monkeypatch):
    fake_kaggle(monkeypatch, RuntimeError("403 Client Error\nYou need to log in"))
    with pytest.raises(DataError, match=r"msambare/fer2013 could not be downloaded from Kaggle \(403 Client Error You need") as caught:
        run("download", "fer2013")
    assert "\n" not in str(caught.value)


def test_download_offline_says_so_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", types.ModuleType("kagglehub"))
    monkeypatch.setattr(download, "KAGGLE_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be reached"):
        run("download", "fer2013")


def test_an_answer_of_any_status_counts_as_reachable(monkeypatch):
    def refuse(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 403, "no", None, None)

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    download._check_reachable("http://127.0.0.1:9")


def test_download_without_its_packages_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtra, match=r"fervit\[download\]"):
        run("download", "fer2013")


def test_an_unknown_download_names_the_choices():
    with pytest.raises(FervitError, match="unknown data set 'fer2031': did you mean 'fer2013'"):
        run("download", "fer2031")


def test_a_saved_data_set_keeps_its_labels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    targets, split_ids = np.array([0, 1, 1]), np.zeros(3, np.int8)
    dataset = Dataset("x", ("angry", "contempt"), images, targets, split_ids, np.arange(3),
                      content_hash(images, targets, split_ids))  # fmt: skip
    for name in ("x.parquet", "x"):
        save(dataset, tmp_path / name)
        assert load(tmp_path / name).labels == ("angry", "contempt")
    assert load(tmp_path / "x.parquet").data_hash == dataset.data_hash
