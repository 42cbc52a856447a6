"""Hub data sets, streamed from a loopback stub and from a local folder; nothing leaves this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fervit.data.dataset import SPLITS, Dataset
from fervit.data.listing import ReadOptions
from fervit.data.readers import hub
from fervit.errors import DataError
from tests.helpers import hub_stub
from tests.helpers.data_files import png

SCRIPT = """
import json, sys
from fervit.data import load
from fervit.errors import FervitError
try:
    dataset = load(sys.argv[1])
except FervitError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({"labels": dataset.labels, "shape": dataset.images.shape, "splits": dataset.split_names,
                      "targets": dataset.targets.tolist(), "skipped": dataset.skipped, "name": dataset.name,
                      "first": dataset.images[0].ravel()[:3].tolist()}))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder as `push_to_hub` writes it: parquet with an Image and a ClassLabel column, one broken image."""
    datasets = pytest.importorskip("datasets")
    rng = np.random.default_rng(0)
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    names = ["Anger", "Happiness", "neutral"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    for split, count in (("train", 4), ("validation", 2), ("test", 2)):
        images = []
        for _ in range(count):
            image = rng.integers(0, 256, (48, 48), dtype=np.uint8)
            images.append({"bytes": png(image), "path": None})
        if split == "train":
            images[3] = {"bytes": b"no image", "path": None}
        rows = {"image": images, "label": [k % 3 for k in range(count)]}
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    return folder


def run(source: str, tmp_path: Path, **environment: str) -> dict[str, Any]:
    settings = {**os.environ, "FERVIT_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf"), **environment}
    settings.pop("HF_HUB_OFFLINE", None) if "HF_HUB_OFFLINE" not in environment else None
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, source], env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_a_hub_data_set_is_streamed_once_and_then_opens_without_the_hub(repository: Path, tmp_path: Path) -> None:
    server = hub_stub.serve(repository, "someone/faces")
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        first = run("someone/faces", tmp_path, HF_ENDPOINT=endpoint)
    finally:
        server.shutdown()
        server.server_close()
    assert first["labels"] == ["Anger", "Happiness", "neutral"]
    assert first["shape"] == [7, 48, 48, 1]
    assert first["splits"] == list(SPLITS)
    assert first["targets"] == [0, 1, 2, 0, 1, 0, 1]
    assert first["skipped"] == ["train row 4"]
    assert run("someone/faces", tmp_path, HF_ENDPOINT=endpoint) == first


@pytest.mark.slow
def test_a_hub_data_set_that_does_not_exist_says_so(repository: Path, tmp_path: Path) -> None:
    server = hub_stub.serve(repository, "someone/faces")
    try:
        message = run("someone/else", tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")["error"]
    finally:
        server.shutdown()
        server.server_close()
    assert "the Hub has no such data set" in message


@pytest.mark.slow
def test_without_a_network_the_message_says_that_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    message = run("someone/faces", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")["error"]
    assert message.startswith("'someone/faces' is no file or folder here")
    assert "cannot be reached" in message
    assert "\n" not in message


@pytest.mark.slow
def test_a_local_folder_streams_as_the_hub_does(repository: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    dataset = hub.stream(str(repository), None, store, ReadOptions(size_px=32))
    assert dataset.images.shape == (7, 32, 32, 1)
    assert dataset.skipped == ("train row 4",)
    assert not (store / "encoded.bin").exists()


def test_columns_without_a_label_are_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "texts"
    folder.mkdir()
    datasets.Dataset.from_dict({"text": ["a", "b"]}).to_parquet(str(folder / "train.parquet"))
    with pytest.raises(DataError, match="needs an Image and a ClassLabel column; it has text"):
        hub.stream(str(folder), None, tmp_path, ReadOptions())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 0], r"the labels \(0, 1, 2\) are numbers without names"),
        ([True, False, True, True], "train row 1: label is true: a truth value"),
        ([0.5, 1.0, 1.0, 0.0], "train row 1: the label is 0.5"),
        ([None, 1, 1, 0], "train row 1: the label is missing"),
    ],
)
def test_labels_without_names_are_asked_for_on_the_hub_too(tmp_path: Path, labels: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stream(tmp_path, label=labels)


def test_names_beside_numbers_rule_on_the_hub_too(tmp_path: Path) -> None:
    dataset = stream(tmp_path, label=[0, 1, 2, 0], label_name=["Joy", "sad", "anger", "Joy"])
    assert dataset.labels == ("anger", "Joy", "sad")
    assert dataset.targets.tolist() == [1, 2, 0, 1]
    assert dataset.split_names == ("train", "public_test"), "a validation part is made where there is none"


def stream(folder: Path, **columns: list[object]) -> Dataset:
    """Stream four images with these label columns, as from the Hub."""
    datasets = pytest.importorskip("datasets")
    images = [{"bytes": png(np.full((48, 48), k, np.uint8)), "path": None} for k in range(4)]
    rows = datasets.Dataset.from_dict({"image": images, **columns}).cast_column("image", datasets.Image())
    (folder / "repository").mkdir()
    rows.to_parquet(str(folder / "repository" / "train.parquet"))
    return hub.stream(str(folder / "repository"), None, folder, ReadOptions())
