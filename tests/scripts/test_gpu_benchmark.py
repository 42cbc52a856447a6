"""`benchmarks/gpu.py`, ready for a machine with a GPU, runs on the CPU."""

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_benchmark_of_devices_runs_on_the_cpu(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    options = ["--devices", "cpu", "--batches", "1", "3", "--photos", "3", "--rounds", "1", "--detector", "none"]
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tiny_onnx), *options])
    runpy.run_path(str(BENCHMARKS / "gpu.py"), run_name="__main__")
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.endswith("OnnxClassifier, cpu") and "{'cpu': 3}" in lines[4]
    assert [line.split(", ", 1)[1].split(" on ")[0] for line in lines if "/s" in line] == [
        *(f"batch {size}, {what}" for size in (1, 3) for what in ("classifier", "network alone")),
        "JPEG to prediction, batch 3",
    ]
