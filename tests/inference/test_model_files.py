"""Which file or folder a model's name means, and what is refused as a model."""

import pickle
import zipfile
from pathlib import Path

import pytest

from fervit.errors import ModelError
from fervit.inference import model_files
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import (
    default_model,
    describe_weights,
    find_folder,
    find_model,
    folder_licences,
    shipped_checkpoint,
    starting_weights,
)
from fervit.licences import KNOWN, Licence
from tests.helpers.licences import RAF, learnt_from_raf


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin", "model.pkl", "model.onnx"])
def test_pickles_are_refused_whatever_their_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps({"a": 1}, protocol))
        with pytest.raises(ModelError, match="pickle, which can run code"):
            OnnxClassifier(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x")
    with pytest.raises(ModelError, match="pickle, which can run code"):
        OnnxClassifier(path)


def test_a_model_folder_is_sent_to_export_or_to_the_extra(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fervit export .*fervit\[train\]"):
        OnnxClassifier(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"12345678")
    with pytest.raises(ModelError, match="name its folder"):
        OnnxClassifier(weights)


def test_an_installation_without_a_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "ASSETS", tmp_path)
    for find in (default_model, shipped_checkpoint):
        with pytest.raises(ModelError, match="has no model"):
            find()
    (tmp_path / "mobilenet.onnx").touch()
    assert default_model() == tmp_path / "mobilenet.onnx"


def test_a_name_stands_for_a_shipped_model_unless_a_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_files, "ASSETS", tmp_path / "assets")
    with pytest.raises(ModelError, match="has no model"):
        find_model("mobilenet")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "mobilenet.onnx").touch()
    assert find_model("mobilenet") == find_model(Path("mobilenet")) == tmp_path / "assets" / "mobilenet.onnx"
    assert find_model("./mobilenet") == Path("mobilenet")  # a Path forgets the dot
    (tmp_path / "mobilenet").mkdir()
    assert find_model("mobilenet") == Path("mobilenet")
    with pytest.raises(ModelError, match="cannot read"):
        find_model("x" * 5000)


def test_where_a_folder_is_needed_a_name_stands_for_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_folder("tiny") == find_folder(Path("tiny")) == shipped_checkpoint() == starting_weights("tiny")
    for find in (find_folder, starting_weights):
        with pytest.raises(ModelError, match="mobilenet_int8 comes with the package as an ONNX file only"):
            find("mobilenet_int8")
    monkeypatch.setattr(model_files, "released_names", lambda: ())
    with pytest.raises(ModelError, match="mobilenet comes with the package as an ONNX file only"):
        find_folder("mobilenet")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert find_folder("./runs/tiny") == Path("runs/tiny")
    assert starting_weights("owner/name") == "owner/name"  # on the Hub
    (tmp_path / "tiny").mkdir()
    assert find_folder("tiny") == Path("tiny")


def test_a_wrong_name_names_the_right_ones() -> None:
    with pytest.raises(ModelError, match="no model at mobilnet; by name there are mobilenet, tiny"):
        OnnxClassifier(find_model("mobilnet"))
    with pytest.raises(ModelError, match=r"no model at mobilenet\.onnx$"):
        OnnxClassifier(find_model("mobilenet.onnx"))


def test_starting_weights_are_called_by_a_name_that_means_something_elsewhere(tmp_path: Path) -> None:
    assert describe_weights(shipped_checkpoint()) == ("tiny, which comes with fervit", "Apache-2.0")
    (tmp_path / "mine").mkdir()
    assert describe_weights(tmp_path / "mine") == ("mine", "")
    (tmp_path / "mine" / "config.json").write_text('{"fervit": {"name": "first", "licence": "MIT"}}')
    assert describe_weights(tmp_path / "mine") == ("first", "MIT")
    assert describe_weights(tmp_path / "gone") == ("gone", "")
    (tmp_path / "w.safetensors").touch()
    assert describe_weights(tmp_path / "w.safetensors") == ("w.safetensors", "")
    for words in ("owner/name", "scratch", "a FaceNet (MIT)"):
        assert describe_weights(words) == (words, "")


def test_a_folder_says_what_its_weights_have_learnt_from_also_of_its_members_and_of_its_file(tmp_path: Path) -> None:
    assert folder_licences(shipped_checkpoint()) == (KNOWN["fer2013"],)
    assert folder_licences(tmp_path) == folder_licences("owner/name") == folder_licences(tmp_path / "gone") == ()
    (tmp_path / "members" / "1-a").mkdir(parents=True)
    (tmp_path / "members" / "1-a" / "config.json").write_text("{}")
    learnt_from_raf(tmp_path / "members" / "1-a")
    (tmp_path / "ensemble.json").write_text('{"spec": {"trained_on": [{"name": "faces", "terms": "MIT"}]}}')
    assert set(folder_licences(tmp_path)) == {RAF, Licence("faces", "MIT")}
    (tmp_path / "members" / "1-a" / "w.safetensors").touch()
    assert folder_licences(tmp_path / "members" / "1-a" / "w.safetensors") == (RAF,)


def test_licences_that_are_none_are_refused_by_the_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"fervit": {"trained_on": "RAF-DB"}}')
    with pytest.raises(ModelError, match=r"trained_on is RAF-DB; expected a list"):
        folder_licences(tmp_path)
