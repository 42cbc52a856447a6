"""`benchmarks/gpu.py`, ready for a machine with a GPU, runs on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_benchmark_of_devices_runs_on_the_cpu(tiny_onnx: Path) -> None:
    pytest.importorskip("transformers")
    options = ["--devices", "cpu", "--batches", "1", "3", "--photos", "3", "--rounds", "1", "--detector", "none"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tiny_onnx), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.endswith("OnnxClassifier, cpu") and "{'cpu': 3}" in lines[4]
    assert [line.split(", ", 1)[1].split(" on ")[0] for line in lines if "/s" in line] == [
        *(f"batch {size}, {what}" for size in (1, 3) for what in ("classifier", "network alone")),
        "JPEG to prediction, batch 3",
    ]
