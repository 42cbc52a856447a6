"""Whatever a public function is given is taken, or refused in one short line that names what came."""

import inspect
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fervit
from fervit.errors import FervitError

SECRET = "hunter2"
Call = Callable[[Any], object]


class _Numbered:
    def __fspath__(self) -> int:
        return 3


class _Bytes:
    def __fspath__(self) -> bytes:
        return b"a.jpg"


def values() -> dict[str, object]:
    """What people pass by mistake, by a name for it."""
    found: dict[str, object] = {
        "none": None,
        "zero": 0,
        "negative": -1,
        "float": 1.5,
        "nan": float("nan"),
        "infinity": float("inf"),
        "true": True,
        "complex": 1j,
        "huge": 10**400,
        "list": [1, 2],
        "empty list": [],
        "tuple": (1,),
        "dict": {"a": 1},
        "set": {1},
        "generator": (k for k in range(0)),
        "bytes": b"abc",
        "bytearray": bytearray(b"abc"),
        "memoryview": memoryview(b"abc"),
        "text": "no such",
        "empty text": "",
        "nul": "a\0b",
        "data uri": "data:image/png;base64," + "A" * 107_000,
        "address": f"https://user:{SECRET}@example.org/a.jpg",
        "long": "x" * 5000,
        "half a pair": "\ud800",
        "path of a number": _Numbered(),
        "path of bytes": _Bytes(),
        "object": object(),
        "class": int,
        "function": len,
        "open file": io.BytesIO(b"abc"),
        "empty file": io.BytesIO(),
        "text file": io.StringIO("abc"),
        "floats": np.zeros((5, 5, 3)),
        "no pixels": np.zeros((0, 5, 3), np.uint8),
        "channels first": np.zeros((3, 50, 50), np.uint8),
        "nan array": np.full((5, 5, 3), np.nan),
        "five dimensions": np.zeros((1, 1, 1, 1, 1), np.uint8),
        "numpy number": np.uint8(3),
        "objects": np.array([None, None]),
        "image": Image.new("RGB", (9, 9)),
    }
    try:
        import torch
    except ImportError:
        return found
    tensors = {"tensor": torch.rand(3, 64, 64), "batch": torch.rand(2, 3, 8, 8), "no tensor": torch.zeros(0)}
    return found | tensors


def check(call: Call) -> None:
    """Call with every value; what is raised is a `FervitError` of one short line."""
    for name, value in values().items():
        try:
            result = call(value)
            if inspect.isgenerator(result):
                list(itertools.islice(result, 3))
        except FervitError as error:
            message = str(error)
            assert 10 < len(message) < 300 and "\n" not in message and SECRET not in message, (name, message)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error


@pytest.fixture
def recognizer(tiny_onnx: Path) -> fervit.Recognizer:
    return fervit.Recognizer(fervit.OnnxClassifier(tiny_onnx, threads=1), fervit.make_detector("none"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


def test_images(recognizer: fervit.Recognizer, photo: Path) -> None:
    check(recognizer)
    check(recognizer.images)
    check(lambda value: recognizer.images([value]))
    check(lambda value: recognizer.images([photo], batch_size=value))
    check(fervit.read_image)
    check(recognizer.classifier.probs)


def test_videos(recognizer: fervit.Recognizer, photo: Path, reader: str) -> None:
    check(recognizer.video)
    check(lambda value: recognizer.video(photo, every=value))
    check(lambda value: recognizer.video(photo, detect_every=value))
    check(lambda value: recognizer.video(photo, smooth_s=value))
    check(fervit.probe)
    check(fervit.read_frames)
    check(lambda value: fervit.read_frames(photo, every=value))


def test_runs_over_files(
    recognizer: fervit.Recognizer, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check(lambda value: fervit.predict(value, recognizer))
    check(lambda value: fervit.predict([photo, value], recognizer))
    check(lambda value: fervit.predict(photo, recognizer if value is None else value))
    check(lambda value: fervit.predict(photo, recognizer, csv=value, overwrite=True))
    check(lambda value: fervit.predict(photo, recognizer, include=value))
    check(lambda value: fervit.predict(photo, recognizer, every=value))
    check(lambda value: fervit.predict(photo, recognizer, smooth_s=value))
    check(fervit.read_sidecar)


def test_cameras(recognizer: fervit.Recognizer) -> None:
    check(lambda value: None if isinstance(value, int | np.uint8) and value >= 0 else recognizer.webcam(value))
    check(lambda value: recognizer.webcam("-1", every=value))


def test_writing_and_drawing(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)

    def write(image: Any, time_s: Any) -> None:
        with fervit.VideoWriter(tmp_path / "a.webm") as sink:
            sink.write(image, time_s)

    check(fervit.VideoWriter)
    check(lambda value: fervit.VideoWriter(tmp_path / "a.webm", rate=value))
    check(lambda value: write(value, 0))
    check(lambda value: write(image, value))
    check(lambda value: fervit.annotate(value, []))
    check(lambda value: fervit.annotate(image, value))
    check(lambda value: fervit.table_rows(value, ["happy"]))
    check(lambda value: fervit.table_rows(fervit.ImageResult("a.jpg"), value))


@pytest.mark.slow
def test_models_and_detectors(tiny_onnx: Path, recognizer: fervit.Recognizer) -> None:
    check(fervit.load)
    check(lambda value: fervit.load(tiny_onnx, detector=value))
    check(lambda value: fervit.load(tiny_onnx, runtime=value))
    check(lambda value: fervit.load(tiny_onnx, min_confidence=value))
    check(lambda value: None if isinstance(value, int) and value > 9 else fervit.load(tiny_onnx, threads=value))
    check(fervit.OnnxClassifier)
    check(fervit.make_detector)
    check(lambda value: fervit.make_detector("haar", max_side_px=value))
    check(lambda value: fervit.make_detector("haar", min_face_px=value))
    check(lambda value: fervit.make_detector("haar", min_score=value))
    check(lambda value: fervit.Recognizer(value, recognizer.detector))
    check(lambda value: fervit.Recognizer(recognizer.classifier, value))


def test_data_and_measurement(tiny_onnx: Path) -> None:
    check(fervit.load_dataset)
    check(lambda value: fervit.evaluate(value, "absent.csv"))
    check(lambda value: fervit.evaluate(tiny_onnx, value))
    check(lambda value: fervit.compare(value, tiny_onnx, "absent.csv"))
    faces = fervit.load_dataset("synthetic:14")
    check(lambda value: None if value is None else fervit.evaluate("absent.onnx", faces, split=value))
    check(lambda value: None if value is None else fervit.evaluate_table([value], faces, split="train"))
    check(lambda value: fervit.evaluate_table([tiny_onnx], value))
    check(lambda value: None if value is None else fervit.compare_models([tiny_onnx, value], faces, split="train"))
    check(lambda value: fervit.compare_models(tiny_onnx, [value, "absent.csv"]))
    probs, targets = np.full((3, 2), 0.5), np.zeros(3, np.int64)
    check(lambda value: fervit.threshold_for(value, targets, 0.9))
    check(lambda value: fervit.threshold_for(probs, value, 0.9))
    check(lambda value: fervit.threshold_for(probs, targets, value))


def test_training_and_export(tmp_path: Path, tiny_onnx: Path) -> None:
    check(lambda value: fervit.train(value, "absent.csv", tmp_path / "out"))
    check(lambda value: fervit.train("tiny", value, tmp_path / "out", init="absent"))
    check(lambda value: fervit.train("tiny", "absent.csv", value))
    check(lambda value: fervit.distill(value, "absent.csv", tmp_path / "out"))
    check(lambda value: fervit.export_onnx(value, tmp_path / "a.onnx"))
    check(lambda value: fervit.export_onnx("absent", value))
    check(lambda value: fervit.TrainConfig(epochs=value))
    check(lambda value: fervit.TrainConfig(schedule=value))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_of_every_kind_are_an_image_or_a_video(
    recognizer: fervit.Recognizer, photo: Path, clip: Path, reader: str, kind: Callable[[bytes], Any]
) -> None:
    assert np.array_equal(fervit.read_image(kind(photo.read_bytes())), fervit.read_image(photo))
    assert len(recognizer(kind(photo.read_bytes()))) == 1
    assert fervit.probe(kind(clip.read_bytes())).width == 96
    frames = list(fervit.read_frames(kind(clip.read_bytes()), every=10))
    expected = list(fervit.read_frames(clip, every=10))
    assert [frame.time_s for frame in frames] == [frame.time_s for frame in expected]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(frames, expected, strict=True))
    assert len(list(recognizer.video(kind(clip.read_bytes())))) == 30


def test_an_open_file_of_a_video_stays_open_at_its_place(clip: Path, reader: str) -> None:
    with clip.open("rb") as file:
        file.seek(7)
        assert len(list(fervit.read_frames(file))) == 30
        assert file.tell() == 7
