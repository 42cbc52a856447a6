"""The examples of docs/video.md run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT
from tests.helpers.videos import write_video

PAGE = ROOT / "docs" / "video.md"


@pytest.mark.slow
@pytest.mark.parametrize("example", re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
def test_the_pages_examples_run(example: str, clip: Path, astronaut: np.ndarray) -> None:
    pytest.importorskip("pandas")
    write_video(clip, [(astronaut, k / 20) for k in range(8)])
    done = subprocess.run([sys.executable, "-c", example], cwd=clip.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("happy" in done.stdout) or (clip.parent / "copy.mp4").exists()
