"""Start-up times and peak memory: `fervit --help`, `import fervit`, `fervit predict` on 200 and 2,000 crops.

Usage: python benchmarks/startup.py [--rounds 7]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from predict_folder import write_crops


def run(command: list[str]) -> tuple[float, int]:
    """Return wall seconds and peak resident memory in MiB of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} failed"
    return time.perf_counter() - start, usage.ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    fervit = str(Path(sys.executable).with_name("fervit"))
    python = [sys.executable, "-c"]
    for name, command in {
        "python -c pass": [*python, "pass"],
        "import fervit": [*python, "import fervit, sys; assert 'torch' not in sys.modules"],
        "fervit --help": [fervit, "--help"],
    }.items():
        times = [run(command)[0] for _ in range(args.rounds + 1)][1:]
        print(f"{name}: median {statistics.median(times):.3f} s (max {max(times):.3f})")
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 200, 2000):
            crops = Path(folder) / str(count)
            crops.mkdir()
            write_crops(crops, count)
            seconds, peak = run([fervit, "predict", str(crops), "--crop", "--json", str(crops / "out.jsonl")])
            print(f"fervit predict on {count} crops: {seconds:.2f} s, peak memory {peak} MiB")


if __name__ == "__main__":
    main()
