"""The largest images and videos that are read take less than a GB of memory, of whatever format, depth and turn."""

import subprocess
import sys
from pathlib import Path

import pytest

from fervit.media.images import HEAVY, MAX_PIXELS, MAX_TWICE
from tests.helpers import ROOT
from tests.helpers.fuzzing.images import zero_png

MOST = 1_000_000_000  # bytes resident, Python and its libraries included
# In a process of its own: what it takes to make an image is not what it takes to read one.
MAKE = """
import sys
from PIL import Image
mode, kind, side, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
exif = Image.Exif()
exif[0x0112] = 6
options = {"JPEG": {"progressive": "progressive" in path, "subsampling": 0, "exif": exif},
           "TIFF": {"compression": "tiff_deflate"}, "WEBP": {"lossless": True, "method": 0}}[kind]
Image.new(mode, (side, side)).save(path, kind, **options)
"""
READ = """
import sys
from pathlib import Path
from fervit.media.images import read_image
image = read_image(sys.argv[1])
status = Path("/proc/self/status").read_text()
print(image.shape[0], int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""
PNGS = {"RGBA.png": (6, 8, 4), "grey of 16 bits.png": (0, 16, 1), "RGB of 16 bits.png": (2, 16, 3)}
OTHERS = {
    "turned.jpg": ("RGB", "JPEG"),
    "progressive, turned.jpg": ("RGB", "JPEG"),
    "floats.tif": ("F", "TIFF"),
    "alpha.webp": ("RGBA", "WEBP"),
}


def side_of(name: str) -> int:
    """Return the side in px of the largest square that is read."""
    most = (
        HEAVY["WEBP"] if "webp" in name else MAX_TWICE if "progressive" in name or "RGB of 16" in name else MAX_PIXELS
    )
    return int(most**0.5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory was used at most")
@pytest.mark.parametrize("name", [*PNGS, *OTHERS])
def test_the_largest_image_takes_less_than_a_gb(name: str, tmp_path: Path) -> None:
    path, side = tmp_path / name, side_of(name)
    if name in PNGS:
        path.write_bytes(zero_png(*PNGS[name], size=(side, side)))
    else:
        subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE, *OTHERS[name], str(side), str(path)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    height, peak = map(int, done.stdout.split())
    assert height == side
    assert peak < MOST, f"{peak / 1e6:.0f} MB"


VIDEO = """
import sys
from pathlib import Path
import fervit
frames = sum(1 for _ in fervit.load("tiny", threads=2, runtime="onnxruntime").video(sys.argv[1]))
status = Path("/proc/self/status").read_text()
print(frames, int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory was used at most")
def test_a_video_of_8k_takes_less_than_a_gb(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "8k.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        frame = av.VideoFrame(7680, 4320, "yuv420p")
        for k in range(30):
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    done = subprocess.run(
        [sys.executable, "-c", VIDEO, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    frames, peak = map(int, done.stdout.split())
    assert frames == 30
    assert peak < MOST, f"{peak / 1e6:.0f} MB"
