"""Released weights by name: from a checkout, from the cache, or fetched from a stand-in on this machine."""

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fervit.errors import ConfigError, ModelError
from fervit.files import file_digest
from fervit.inference.loading import open_classifier
from fervit.inference.model_files import find_folder, find_model
from fervit.weights import named, registry
from fervit.weights.named import find_released, released_models, weights_url
from fervit.weights.registry import Registry, ReleasedFile, ReleasedModel, read_registry, registry_text


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder, and counts the requests."""

    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def assets(tmp_path: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a release that has one model, `little`; the registry of this test knows it."""
    folder = tmp_path / "assets"
    folder.mkdir()
    files = []
    for file in sorted(small_folder.iterdir()):
        (folder / f"little-{file.name}").write_bytes(file.read_bytes())
        files.append(ReleasedFile(file.name, f"little-{file.name}", file_digest(file), file.stat().st_size))
    known = Registry("", {"little": ReleasedModel("little", tuple(files), "vit", "MIT", ("faces: CC0",), {})})
    monkeypatch.setattr(named, "read_registry", lambda: known)
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    for name in named.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def release(assets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Quiet]]:
    """A server of the assets, which `FERVIT_WEIGHTS_URL` names."""
    monkeypatch.setattr(Quiet, "requests", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(assets))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        monkeypatch.setenv("FERVIT_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}")
        yield Quiet
        server.shutdown()
        thread.join()


def test_a_name_is_fetched_once_verified_and_opened_offline_afterwards(
    release: type[Quiet], small_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = find_model("little")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in small_folder.iterdir()
    }
    assert "little: fetching" in caplog.text
    assert folder.is_relative_to(Path("cache").absolute())
    assert release.requests == 3
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_folder("little") == find_model(Path("little")) == folder
    assert open_classifier("little").spec.name == "small one"
    assert release.requests == 3


def test_a_damaged_or_missing_file_of_the_cache_is_fetched_again_alone(release: type[Quiet]) -> None:
    folder = find_model("little")
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"!")
    assert find_model("little") == folder and weights.read_bytes() == content
    assert release.requests == 4
    weights.unlink()
    assert find_released("little", fetch=False) is None
    find_model("little")
    assert release.requests == 5


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: data[:-1] + b"!", lambda d: d + d])
def test_what_is_not_what_was_released_never_gets_the_final_name(
    release: type[Quiet], assets: Path, spoil: object
) -> None:
    path = assets / "little-model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(
        ModelError, match=r"is not model\.safetensors as it was released: .* expected .*; try again, or"
    ):
        find_model("little")
    kept = [file.name for file in Path("cache").rglob("*") if file.is_file()]
    assert "model.safetensors" not in kept and not any(name.startswith(".") for name in kept)


def test_a_download_that_breaks_leaves_no_half_file(release: type[Quiet], monkeypatch: pytest.MonkeyPatch) -> None:
    def half(url: str, path: Path, *, most: int) -> tuple[str, int]:
        path.write_bytes(b"half")
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(named, "_download", half)
    with pytest.raises(ModelError, match=r"cannot be reached \(Connection reset by peer\): connect to the internet"):
        find_model("little")
    assert [file for file in Path("cache").rglob("*") if file.is_file()] == []


def test_an_asset_that_no_release_has_says_what_to_do(
    assets: Path, release: type[Quiet], monkeypatch: pytest.MonkeyPatch
) -> None:
    (assets / "little-config.json").unlink()
    with pytest.raises(
        ModelError, match=r"little-config\.json cannot be fetched \(404: the release .* is not there\): ta"
    ):
        find_model("little")
    monkeypatch.delenv("FERVIT_WEIGHTS_URL")
    with pytest.raises(ModelError, match=r"no release of fervit has put .*: take models/little .*FERVIT_WEIGHTS_URL"):
        find_model("little")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="little is not here yet, and HF_HUB_OFFLINE is set"):
        find_model("little")


def test_an_address_may_be_a_folder_or_have_a_place_for_the_name(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERVIT_WEIGHTS_URL", "https://somewhere/v1/")
    assert weights_url() == "https://somewhere/v1/{asset}"
    monkeypatch.setenv("FERVIT_WEIGHTS_URL", "https://somewhere/{asset}?raw=1")
    assert weights_url() == "https://somewhere/{asset}?raw=1"
    monkeypatch.setenv("FERVIT_WEIGHTS_URL", "somewhere")
    with pytest.raises(ConfigError, match="FERVIT_WEIGHTS_URL is 'somewhere'; expected an address that begins with"):
        weights_url()
    monkeypatch.setenv("FERVIT_WEIGHTS_URL", assets.as_uri())
    find_model("little")


def test_a_file_or_folder_of_that_name_comes_first_then_a_checkout(
    assets: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout" / "little").mkdir(parents=True)
    (tmp_path / "checkout" / "little" / "config.json").touch()
    monkeypatch.setattr(named, "MODELS", tmp_path / "checkout")
    assert find_model("little") == tmp_path / "checkout" / "little"
    (tmp_path / "little").mkdir()
    assert find_model("little") == Path("little")


def test_a_wrong_name_lists_those_that_are_released() -> None:
    with pytest.raises(ModelError, match=r"no model at smal; by name there are mobilenet, tiny, .*small, wild"):
        open_classifier("smal")


def test_the_registry_reads_back_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    known = read_registry()
    assert {"small", "mobilenet", "wild"} <= known.models.keys()
    path = tmp_path / "registry.json"
    path.write_text(registry_text(known), encoding="utf-8")
    assert read_registry(path) == known
    assert [model.name for model in released_models()] == sorted(known.models)
    other = replace(known.models["small"], files=known.models["small"].files[:1])
    assert other.version != known.models["small"].version
    climbing = registry_text(known).replace('"asset": "small-', '"asset": "../small-')
    for k, text in enumerate(("{", '{"url": ""}', climbing)):
        (tmp_path / f"{k}.json").write_text(text)
        with pytest.raises(ModelError, match="is damaged"):
            read_registry(tmp_path / f"{k}.json")
    assert registry.REGISTRY.is_file()
