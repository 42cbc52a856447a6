"""Nothing of a model folder is run, and nothing that it names is read but safetensors files in itself."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model, load_checkpoint, save_checkpoint
from fervit.models.mixture import load_mixture, mixture_spec, save_mixture
from fervit.types import ModelSpec
from tests.helpers.limits import run_forked
from tests.helpers.weights import Built

INDEX = "model.safetensors.index.json"
CODE = """
from pathlib import Path
Path({canary!r}).write_text("ran")
from transformers import PretrainedConfig as Config, ViTForImageClassification as Model, ViTImageProcessor as Processor
"""


@pytest.fixture
def folder(small: Built, tmp_path: Path) -> Path:
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7), tmp_path / "m")
    return tmp_path / "m"


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def write_code(folder: Path, canary: Path) -> None:
    """Put Python into a folder that leaves `canary` behind when it is imported, and name it in every JSON file."""
    (folder / "evil.py").write_text(CODE.format(canary=str(canary)), encoding="utf-8")
    names = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    change(folder / "config.json", auto_map=names | {"AutoImageProcessor": "evil.Processor"})
    change(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Processor"})


OPEN = {
    "load": "import fervit; fervit.load({path!r})",
    "train": "from fervit.models import build_model; build_model({path!r}, ('no', 'yes'), 32)",
    "vtff": "from fervit.models import build_model; build_model({path!r}, ('no', 'yes'), 32, arch='vtff')",
    "export": "from fervit.export.onnx import export; export({path!r}, {path!r} + '.onnx')",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unheard_of", "vit"])
@pytest.mark.parametrize("opened", OPEN)
def test_python_in_a_folder_never_runs_and_is_never_asked_for(
    folder: Path, tmp_path: Path, kind: str, opened: str
) -> None:
    write_code(folder, tmp_path / "canary")
    change(folder / "config.json", model_type=kind)
    done = run_forked(OPEN[opened].format(path=str(folder)), stdin="y\n" * 20)
    said = done.stdout + done.stderr
    assert not (tmp_path / "canary").exists()
    assert "y/N" not in said and "trust_remote_code" not in said, said
    if kind == "unheard_of" and opened != "vtff":
        assert "'unheard_of' needs the folder's own Python code, which is never run" in said


def test_python_in_a_member_of_an_ensemble_never_runs(
    small: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, preprocess = small
    specs = [ModelSpec("vit", preprocess, FER7, name=name) for name in "ab"]
    paths = save_mixture([(model, own) for own in specs], [0.5, 0.5], mixture_spec(specs, name="E"), tmp_path / "E")
    write_code(paths[1], tmp_path / "canary")
    change(paths[1] / "config.json", model_type="unheard_of")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="Python code, which is never run"):
        load_mixture(tmp_path / "E")
    assert not (tmp_path / "canary").exists()


def test_python_in_a_model_of_the_hub_never_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--some--one"
    write_code(folder, tmp_path / "canary")
    (cached / "blobs").mkdir(parents=True)
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    for file in folder.iterdir():
        file.rename(cached / "blobs" / file.name)
        (cached / "snapshots" / commit / file.name).symlink_to(Path("../../blobs") / file.name)
    (cached / ".no_exist" / commit).mkdir(parents=True)
    (cached / ".no_exist" / commit / "adapter_config.json").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    build_model("some/one", ("no", "yes"), 32)  # the links of the Hub's own cache are no others
    change(cached / "blobs" / "config.json", model_type="unheard_of")
    with pytest.raises(ModelError, match="Python code, which is never run"):
        build_model("some/one", ("no", "yes"), 32)
    assert not (tmp_path / "canary").exists()


def shard(folder: Path, name: object, target: Path | None = None) -> None:
    """Put a folder's weights into a file of this name, or where `target` says, and name it in an index."""
    weights = folder / "model.safetensors"
    state = load_file(weights)
    weights.unlink()
    save_file(state, target or folder / str(name), {"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(state, name)}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def test_weights_in_several_files_are_read(folder: Path) -> None:
    shard(folder, "model-00001-of-00001.safetensors")
    load_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "pytorch_model.bin", "/x/other.safetensors", "sub/other.safetensors", 5, "", "."]
)
def test_an_index_names_only_safetensors_files_beside_it(folder: Path, tmp_path: Path, name: object) -> None:
    shard(folder, name, tmp_path / "other.safetensors")
    for opened in (lambda: load_checkpoint(folder), lambda: build_model(folder, ("no", "yes"), 32)):
        with pytest.raises(ModelError, match="expected safetensors files beside it"):
            opened()


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": []}', '{"weight_map": {}}', "{}"])
def test_an_index_that_is_none_is_refused(folder: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(index)
    with pytest.raises(ModelError, match="index"):
        load_checkpoint(folder)


def test_a_file_that_an_index_names_must_exist(folder: Path) -> None:
    shard(folder, "a.safetensors")
    (folder / "a.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weights; fervit reads a\.safetensors"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", INDEX])
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    if name == INDEX:
        shard(folder, "a.safetensors")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="leads out of its folder"):
        load_checkpoint(folder)


def test_a_pickle_under_another_name_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ModelError, match="is a pickle, which can run code"):
        load_checkpoint(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_named_pipe_is_refused_and_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=r"named pipe|no config\.json"):
        load_checkpoint(folder)


def adapt(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "some/one"}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (adapt, "is an adapter"),
        (lambda f: change(f / "config.json", transformers_weights="../x.safetensors"), "transformers_weights"),
        (lambda f: change(f / "config.json", configuration_files=["config.4.0.0.json"]), "configuration_files"),
        (lambda f: change(f / "config.json", quantization_config={"quant_method": "x"}), "quantised"),
        (lambda f: change(f / "config.json", attn_implementation="some/kernels"), "code elsewhere"),
        (lambda f: change(f / "config.json", sub={"_attn_implementation": "some/kernels"}), "code elsewhere"),
    ],
)
def test_a_folder_that_sends_elsewhere_is_refused(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    for opened in (lambda: load_checkpoint(folder), lambda: build_model(folder, ("no", "yes"), 32)):
        with pytest.raises(ModelError, match=message):
            opened()
