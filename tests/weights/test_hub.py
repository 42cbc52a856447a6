"""Models of the Hub, from a stand-in on this machine: fetched once, of one commit, checked, and offline afterwards."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.errors import ModelError
from fervit.inference.loading import open_classifier
from fervit.weights import hub as weights_hub
from fervit.weights.hub import HubId, fetch, parse_hub_id
from tests.helpers import hub_models
from tests.helpers.hub_models import Hub

CROPS = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/name", HubId("owner/name")),
        ("owner/name@v1", HubId("owner/name", "v1")),
        ("o-w.n/na_me@refs/pr/1", HubId("o-w.n/na_me", "refs/pr/1")),
        ("a/b/c", None),
        ("name", None),
        ("/owner/name", None),
        ("./name", None),
        ("~/name", None),
        ("../name", None),
        ("owner/", None),
        ("models/mine.onnx", None),
        ("models/mine.PT", None),
        ("owner/name@", None),
        ("own er/name", None),
        ("x" * 200 + "/name", None),
    ],
)
def test_what_looks_like_a_path_is_no_hub_id(text: str, expected: HubId | None) -> None:
    assert parse_hub_id(text) == expected


def test_a_model_is_fetched_once_and_opens_without_the_hub_afterwards(
    hub: Hub, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("someone/faces", small_folder)
    expected = open_classifier(small_folder).probs(CROPS)
    np.testing.assert_array_equal(fervit.load("someone/faces", detector="none").classifier.probs(CROPS), expected)
    gets = [line for line in hub.requests if line.startswith("GET") and "resolve" in line]
    assert sorted(line.rpartition("/")[2] for line in gets) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    open_classifier("someone/faces")
    assert [line for line in hub.requests if line.startswith("GET") and "resolve" in line] == gets
    hub_models.direct_to(monkeypatch, "http://127.0.0.1:9", Path("hub-cache"), offline=True)
    np.testing.assert_array_equal(open_classifier("someone/faces").probs(CROPS), expected)


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "changed")
    config = tmp_path / "changed" / "config.json"
    values = json.loads(config.read_text())
    values["fervit"]["name"] = "later"
    first = hub.put("someone/faces", small_folder, "v1")
    config.write_text(json.dumps(values))
    hub.put("someone/faces", tmp_path / "changed", "main")
    names = [
        open_classifier(model, revision=revision).spec.name
        for model, revision in (
            ("someone/faces", None),
            ("someone/faces@v1", None),
            ("someone/faces", "v1"),
            ("someone/faces", first),
            ("someone/faces@v1", "v1"),
        )
    ]
    assert names == ["later", "small one", "small one", "small one", "small one"]
    with pytest.raises(ModelError, match=r"someone/faces has no revision 'v2': expected a branch, a tag or a commit"):
        open_classifier("someone/faces", revision="v2")
    with pytest.raises(ModelError, match=r"names the revision v1, and revision= is 'v2': give one of them"):
        open_classifier("someone/faces@v1", revision="v2")
    with pytest.raises(ModelError, match="revision= is of a model of the Hub"):
        open_classifier(small_folder, revision="v1")


def test_what_the_hub_has_not_is_said_with_the_way_out(hub: Hub, small_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model at some/one: .*no such file or folder here, and http.* has none"):
        open_classifier("some/one")
    hub.put("gated/one", small_folder)
    hub.repositories["gated/one"].gated = True
    with pytest.raises(ModelError, match=r"gated/one is gated: accept its terms at http.*/gated/one, then log in"):
        open_classifier("gated/one")
    pickled = tmp_path / "pickled"
    shutil.copytree(small_folder, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    hub.put("old/one", pickled)
    with pytest.raises(ModelError, match=r"old/one has no model\.safetensors on the Hub: fervit reads no pickles"):
        open_classifier("old/one")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("nothing")
    hub.put("empty/one", tmp_path / "empty")
    with pytest.raises(ModelError, match=r"empty/one is no model: it has no config\.json on the Hub"):
        open_classifier("empty/one")


@pytest.mark.parametrize(
    ("offline", "message"),
    [
        (True, r"not whole in the Hub's cache \(.*hub-cache\), and HF_HUB_OFFLINE is set: unset it to fetch it once"),
        (False, r"and http://127\.0\.0\.1:9 cannot be reached \(.*\): connect to the internet, or copy the model's"),
    ],
)
def test_without_the_hub_the_message_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool, message: str
) -> None:
    hub_models.direct_to(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub-cache", offline=offline)
    with pytest.raises(ModelError, match=message) as caught:
        fetch(HubId("some/one"))
    assert "\n" not in str(caught.value)


def test_a_fetch_that_was_interrupted_is_not_taken_for_a_model_without_a_processor(
    hub: Hub, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("someone/faces", small_folder)
    fetch(HubId("someone/faces"))
    for file in Path("hub-cache").rglob("preprocessor_config.json"):
        file.unlink()
    hub_models.direct_to(monkeypatch, "http://127.0.0.1:9", Path("hub-cache"), offline=True)
    with pytest.raises(ModelError, match="not whole in the Hub's cache"):
        fetch(HubId("someone/faces"))


def test_weights_that_are_damaged_in_the_cache_are_refused(hub: Hub, small_folder: Path) -> None:
    hub.put("someone/faces", small_folder)
    weights = (fetch(HubId("someone/faces")) / "model.safetensors").resolve()
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match=r"model\.safetensors in the Hub's cache is damaged: .*is fetched again"):
        fetch(HubId("someone/faces"))


def test_a_model_in_several_files_and_an_ensemble_are_fetched_whole(
    hub: Hub, small_folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from fervit.models import load_checkpoint
    from fervit.models.mixture import mixture_spec, save_mixture

    shards = tmp_path / "shards"
    shutil.copytree(small_folder, shards)
    state = load_file(shards / "model.safetensors")
    (shards / "model.safetensors").unlink()
    names = sorted(state)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, shards / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.put("someone/shards", shards)
    expected = open_classifier(small_folder).probs(CROPS)
    np.testing.assert_array_equal(open_classifier("someone/shards").probs(CROPS), expected)

    loaded = load_checkpoint(small_folder)
    save_mixture([loaded, loaded], [0.5, 0.5], mixture_spec([loaded[1]] * 2, name="both"), tmp_path / "both")  # type: ignore[list-item]
    hub.put("someone/both", tmp_path / "both")
    np.testing.assert_allclose(open_classifier("someone/both").probs(CROPS), expected, atol=1e-3)


def test_where_torch_is_missing_the_exported_model_of_the_repository_is_run(
    hub: Hub, small_folder: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("someone/plain", small_folder)
    shutil.copytree(small_folder, tmp_path / "exported")
    (tmp_path / "exported" / "onnx").mkdir()
    shutil.copy(tiny_onnx, tmp_path / "exported" / "onnx" / "model.onnx")
    hub.put("someone/exported", tmp_path / "exported")
    monkeypatch.setattr(weights_hub, "find_spec", lambda name: None if name == "torch" else object())
    monkeypatch.setitem(sys.modules, "fervit.models", None)
    assert type(open_classifier("someone/exported")).__name__ == "OnnxClassifier"
    assert not any("model.safetensors" in line for line in hub.requests)
    with pytest.raises(ModelError, match=r"is a model folder: .*fervit\[train\]"):
        open_classifier("someone/plain")


def test_a_model_of_the_hub_starts_a_training_and_keeps_its_head(
    hub: Hub, small_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fervit.models import build_model

    hub.put("someone/faces", small_folder, "v1")
    build_model("someone/faces@v1", ("happy", "angry", "bored"), 32)
    assert "the head of someone/faces@v1 is kept for happy, angry" in caplog.text
    assert "new: bored" in caplog.text


def test_a_model_that_says_no_name_has_that_of_its_repository(hub: Hub, small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "nameless")
    config = tmp_path / "nameless" / "config.json"
    values = json.loads(config.read_text())
    del values["fervit"]["name"]
    config.write_text(json.dumps(values))
    hub.put("someone/faces", tmp_path / "nameless")
    assert open_classifier("someone/faces").spec.name == "someone/faces"  # and not the commit's hash
    assert open_classifier(tmp_path / "nameless").spec.name == "nameless"
