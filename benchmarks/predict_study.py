"""Frames/s of one `fervit.predict` over a folder of videos against `Recognizer.video` on one file after another.

Usage: python benchmarks/predict_study.py VIDEO [--copies 6] [--rounds 3] [--threads 1] [--model M.onnx]

The folder holds copies of one video. Both write CSV rows; the folder run also keeps the file by which it is resumed,
and counts the frames of its progress. The two take turns; printed are medians of frames/s, and of frames per
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
from fervit.inference.tables import CsvTable


def one_after_another(recognizer: Recognizer, files: list[Path], out: Path) -> int:
    """Run over each video alone, into a table each; return the number of frames."""
    count = 0
    for file in files:
        table = CsvTable(out / f"{file.stem}.csv", recognizer.spec.labels, errors=True)
        for result in recognizer.video(file):
            table.write(result)
            count += 1
        table.close()
    return count


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
        one_after_another(recognizer, files[:1], out)  # warm

        def together() -> int:
            run = fervit.predict(
                folder, recognizer, csv=out / "rows.csv", overwrite=True, progress=lambda done, total: None
            )
            return sum(record.frames for record in run.records)

        runs = {"single": lambda: one_after_another(recognizer, files, out), "folder": together}
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                wall_s, cpu_s = time.perf_counter(), time.process_time()
                count = run()
                rates[name].append((count / (time.perf_counter() - wall_s), count / (time.process_time() - cpu_s)))
        for kind, unit in enumerate(("frames/s", "frames per CPU second")):
            single, folder_run = (statistics.median(rate[kind] for rate in rates[name]) for name in runs)
            print(f"single runs {single:.1f} {unit}, folder run {folder_run:.1f}, ratio {folder_run / single:.2f}")


if __name__ == "__main__":
    main()
