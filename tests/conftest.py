"""Fixtures that several test files share."""

import gc
import http.server
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import fervit.media.camera
import fervit.media.video
from fervit.data import Dataset
from fervit.types import ModelSpec, Preprocess
from tests.helpers import DATA, hub_models, write_onnx
from tests.helpers.camera import Camera, MjpegHandler
from tests.helpers.videos import moving, write_video

# A run in a script's background ignores Ctrl-C, and one that nohup started ignores SIGHUP; so would the processes that
# tests send these signals to.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# With torch and transformers imported, each look of the garbage collector at all objects takes a third of a second; a
# test run makes few cycles that are worth it.
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded data sets go to a folder of this run, not to the user's cache; its processes share it."""
    run = tmp_path_factory.getbasetemp()
    run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERVIT_CACHE", str(run / "fervit-cache"))
        yield


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of test photos that lies beside the data sets."""
    folder = DATA.parent / "media"
    if not folder.is_dir():
        pytest.skip(f"no test photos at {folder}")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A `(512, 512, 3)` photo with one face near (225, 120)."""
    photo: np.ndarray = pytest.importorskip("skimage.data").astronaut()
    return photo


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """The spec of `tiny_onnx`."""
    preprocess = Preprocess(
        32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", crop_margin=0.1, crop_offset=0.05
    )
    return ModelSpec(arch="cnn", preprocess=preprocess, name="tiny", licence="CC0-1.0")


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    """A small ONNX classifier with random weights and fervit's metadata, written without torch."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_onnx(path, {"fervit": tiny_spec.to_json()})
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_models.Hub]:
    """An empty stand-in for the Hub, which huggingface_hub asks in this test."""
    with hub_models.serving() as served:
        hub_models.direct_to(monkeypatch, served.address, tmp_path / "hub-cache")
        monkeypatch.chdir(tmp_path)
        yield served


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 30 frames with a moving square, which is away in frames 12 to 15."""
    pytest.importorskip("av")
    return write_video(tmp_path / "clip.mp4", moving(30, away=[12, 13, 14, 15]))


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray) -> type[Camera]:
    """The double of a camera that shows the astronaut, in place of OpenCV's."""
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(Camera, "image", astronaut[:, :, ::-1].copy())
    return Camera


@pytest.fixture
def splits_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the splits that are opened from now on, in order."""
    opened: list[str] = []
    split = Dataset.split

    def spy(self: Dataset, name: str) -> Dataset:
        opened.append(name)
        return split(self, name)

    monkeypatch.setattr(Dataset, "split", spy)
    return opened


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a camera that is lost once, comes back, and is lost for good."""
    monkeypatch.setattr(fervit.media.camera, "RECONNECT_S", 0.3)
    monkeypatch.setattr(fervit.media.camera, "PAUSES_S", (0.05,))
    monkeypatch.setattr(MjpegHandler, "served", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/video"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["pyav", "opencv"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with PyAV and as if it were not installed."""
    if request.param == "pyav":
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(fervit.media.video, "find_spec", lambda name: None)
    return str(request.param)
