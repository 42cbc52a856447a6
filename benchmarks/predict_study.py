"""Frames/s of one `fervit.predict` over a folder of videos against a run on each, one after another.

Usage: python benchmarks/predict_study.py VIDEO [--copies 6] [--rounds 3] [--threads 1] [--model M.onnx]

The folder holds copies of one video. All runs write CSV rows and share one opened model, which single commands would
open again each. The two take turns; printed are medians of frames/s, and of frames per
second of CPU time, which other programs on the machine hardly change.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import fervit
from fervit.inference.recognizer import Recognizer


def frames_of(inputs: Path, recognizer: Recognizer, table: Path) -> int:
    """Run over a file or a folder, with a bar's progress; return the number of frames."""
    run = fervit.predict(inputs, recognizer, csv=table, overwrite=True, progress=lambda done, total: None)
    return sum(record.frames for record in run.records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    recognizer = fervit.load(options.model, threads=options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "recordings", Path(scratch) / "out"
        folder.mkdir()
        out.mkdir()
        for k in range(options.copies):
            shutil.copy(options.video, folder / f"p{k:02}{options.video.suffix}")
        files = sorted(folder.iterdir())
        table = out / "rows.csv"
        frames_of(files[0], recognizer, table)  # warm
        runs = {"single": files, "folder": [folder]}
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, inputs in runs.items():
                wall_s, cpu_s = time.perf_counter(), time.process_time()
                count = sum(frames_of(item, recognizer, table) for item in inputs)
                rates[name].append((count / (time.perf_counter() - wall_s), count / (time.process_time() - cpu_s)))
        for kind, unit in enumerate(("frames/s", "frames per CPU second")):
            single, folder_run = (statistics.median(rate[kind] for rate in rates[name]) for name in runs)
            print(f"single runs {single:.1f} {unit}, folder run {folder_run:.1f}, ratio {folder_run / single:.2f}")


if __name__ == "__main__":
    main()
