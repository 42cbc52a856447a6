"""A made study of 20 clips: rows against frames, a folder run against single runs, two workers against one, memory.

Usage: python benchmarks/study.py [rows speed threads workers memory] [--seconds 4] [--rounds 3]
       [--model M.onnx] [--keep DIR]

The clips, 480 x 360 at 25 frames/s, show the head of scikit-image's astronaut, which moves about: seven plain ones,
three with cuts, three in which the head is away for a while, one of two heads, one without a face, one of a variable
frame rate, one turned by 90 degrees and one mirrored by their headers, one cut off in the middle, and one that is no
video.

- rows: of every clip, the frames that PyAV decodes and those that the table has; they must be the same.
- speed: frames/s of one run over the folder against a run on each file, one after another, by one recognizer on one
  thread; the two take turns, medians of the rounds.
- threads: the folder run on two threads and two cores against one, in the same way.
- workers: the folder run by two workers (processes) on two cores against one process on one core, in the same way; the
  start of the workers counts.
- memory: the peak of a process that runs over the folder, and over one of four copies of each clip; then the same of
  two workers, the largest of the three processes.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

import fervit
from fervit.errors import FervitError
from fervit.inference.recognizer import Recognizer

WIDTH, HEIGHT, RATE = 480, 360, 25
FACE = (150, 10, 300, 210)  # of the astronaut, px
USUAL = 150  # px, the width of a head
MEASURES = ("rows", "speed", "threads", "workers", "memory")
Frames = Iterator[tuple[np.ndarray, float]]
TURNED, MIRRORED = (0, 1, -1, 0), (-1, 0, 0, 1)
CHILD = """
import sys
from pathlib import Path
import fervit
import resource
workers = int(sys.argv[4])
run = fervit.predict(sys.argv[1], fervit.load(sys.argv[3] or None, threads=1), csv=sys.argv[2], workers=workers)
status = Path("/proc/self/status").read_text()
own_mb = int(status.split("VmHWM:")[1].split()[0]) / 1000
worker_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
print(sum(record.frames for record in run.records), own_mb, worker_mb)
"""


class Maker:
    """Draws frames of one or two heads before a background."""

    def __init__(self, seed: int):
        from skimage.data import astronaut

        self.rng = np.random.default_rng(seed)
        self._head = Image.fromarray(astronaut()).crop(FACE)

    def background(self) -> np.ndarray:
        image = np.full((HEIGHT, WIDTH, 3), self.rng.integers(60, 120, 3), np.uint8)
        for _ in range(25):  # furniture
            y, x = self.rng.integers(HEIGHT), self.rng.integers(WIDTH)
            image[y : y + self.rng.integers(20, 160), x : x + self.rng.integers(20, 160)] = self.rng.integers(
                20, 160, 3
            )
        return image

    def frame(self, background: np.ndarray, places: Sequence[tuple[float, float]], side: int) -> np.ndarray:
        image = Image.fromarray(background)
        for x, y in places:
            head = self._head.resize((side, side * 4 // 3))
            if side != USUAL:  # another view of the same scene
                head = head.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            image.paste(head, (round(x - side / 2), round(y - side * 2 / 3)))
        return np.asarray(image)

    def shot(
        self,
        seconds: float,
        *,
        start_s: float = 0.0,
        heads: int = 1,
        side: int = USUAL,
        away: tuple[float, float] = (9e9, 9e9),
        times: Sequence[float] | None = None,
    ) -> Frames:
        background, phase, shift = self.background(), self.rng.uniform(0, 6), self.rng.uniform(-60, 60)
        for time_s in times or [start_s + k / RATE for k in range(round(seconds * RATE))]:
            wobble = 20 * np.sin(1.3 * time_s + phase)
            places = [(WIDTH * (k + 1) / (heads + 1) + shift + wobble, HEIGHT / 2 + wobble / 2) for k in range(heads)]
            shown = [] if away[0] <= time_s < away[1] else places
            yield self.frame(background, shown, side), time_s


def write(path: Path, frames: Frames, matrix: tuple[int, int, int, int] | None = None) -> None:
    """Write frames as MPEG-4; they are turned beforehand so that a player that heeds the matrix shows them upright."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=RATE, options={"q:v": "3"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time_s in frames:
            stored = np.rot90(image) if matrix == TURNED else image[:, ::-1] if matrix == MIRRORED else image
            if not stream.codec_context.is_open:
                stream.height, stream.width = stored.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    if matrix is not None:
        set_matrix(path, matrix)


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write `(a, b, c, d)` of ISO 14496-12, 6.2.2, into the header of an MP4's first track."""
    a, b, c, d = (value * 65536 for value in matrix)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    numbers = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(data)


def make_study(folder: Path, seconds: float) -> None:
    """Write the 20 clips."""
    folder.mkdir()
    maker = Maker(0)
    for number in range(7):
        write(folder / f"plain{number}.mp4", maker.shot(seconds))
    for number in range(3):
        part = seconds / (number + 2)
        starts = [k * round(part * RATE) / RATE for k in range(number + 2)]
        shots = [maker.shot(part, start_s=start, side=(USUAL, 90)[k % 2]) for k, start in enumerate(starts)]
        write(folder / f"cuts{number}.mp4", (frame for shot in shots for frame in shot))
        write(folder / f"away{number}.mp4", maker.shot(seconds, away=(seconds / 4, seconds * (number + 2) / 5)))
    write(folder / "two.mp4", maker.shot(seconds, heads=2, side=110))
    write(folder / "none.mp4", maker.shot(seconds, heads=0))
    steps = maker.rng.choice([0.02, 0.04, 0.1, 0.3], round(seconds * RATE * 0.35))
    write(folder / "variable.mp4", maker.shot(seconds, times=[float(t) for t in np.cumsum(steps) - steps[0]]))
    write(folder / "turned.mp4", maker.shot(seconds), TURNED)
    write(folder / "mirrored.mp4", maker.shot(seconds), MIRRORED)
    broken_off = folder / "cut-off.mkv"
    write(broken_off, maker.shot(seconds))
    broken_off.write_bytes(broken_off.read_bytes()[: broken_off.stat().st_size // 2])
    (folder / "broken.mp4").write_bytes(maker.rng.bytes(20_000))


def decoded(path: Path) -> int:
    """Count a video's frames with PyAV alone; 0 where it cannot be opened."""
    count = 0
    try:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                try:
                    count += len(packet.decode())
                except av.FFmpegError:
                    continue
    except av.FFmpegError:
        pass
    return count


def measure_rows(folder: Path, recognizer: Recognizer, scratch: Path) -> None:
    table = scratch / "rows.csv"
    run = fervit.predict(folder, recognizer, csv=table)
    frames: dict[str, set[str]] = defaultdict(set)
    rows: Counter[str] = Counter()
    faces: Counter[str] = Counter()
    cuts: dict[str, set[str]] = defaultdict(set)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["source"]] += 1
            faces[row["source"]] += bool(row["track"])
            if row["frame"]:
                frames[row["source"]].add(row["frame"])
            if row["cut"] == "1":
                cuts[row["source"]].add(row["frame"])
    print(f"{'clip':<14} {'decoded':>7} {'frames':>7} {'rows':>6} {'faces':>6} {'cuts':>4}  note")
    wrong = 0
    for record in run.records:
        source, there = record.source, decoded(Path(record.source))
        wrong += there != len(frames[source])
        note = record.error or record.warning or ""
        print(
            f"{Path(source).name:<14} {there:>7} {len(frames[source]):>7} {rows[source]:>6} {faces[source]:>6} "
            f"{len(cuts[source]):>4}  {note.replace(str(folder) + '/', '')}"
        )
    print(f"{len(run.records)} clips, {sum(map(len, frames.values()))} frames looked at; differing: {wrong}")


def count_frames(inputs: Sequence[Path], recognizer: Recognizer, table: Path, workers: int = 1) -> int:
    count = 0
    for item in inputs:
        try:
            run = fervit.predict(item, recognizer, csv=table, overwrite=True, workers=workers)
        except FervitError:  # the only input of a single run cannot be read
            continue
        count += sum(record.frames for record in run.records)
    return count


def on_cores(count: int, work: Callable[[], int]) -> int:
    """Do work on so many cores only; decoding and detecting have threads of their own beside `--threads`."""
    usable = os.sched_getaffinity(0)
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]  # those of the opened models, too
    for thread in threads:
        os.sched_setaffinity(thread, sorted(usable)[:count])
    try:
        return work()
    finally:
        for path in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(path.name), usable)


def cpu_time_s() -> float:
    """Return the CPU time of this process and of those that it waited for."""
    return sum(os.times()[:4])


def compare(runs: dict[str, Callable[[], int]], rounds: int) -> None:
    """Print the median frames/s of runs that take turns, and the ratio of the second to the first."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, work in runs.items():
            wall_s, cpu_s = time.perf_counter(), cpu_time_s()
            count = work()
            if number:  # the first round warms up
                rates[name].append((count / (time.perf_counter() - wall_s), count / (cpu_time_s() - cpu_s)))
    for kind, unit in enumerate(("frames/s", "frames per CPU second")):
        medians = {name: statistics.median(rate[kind] for rate in found) for name, found in rates.items()}
        (first, before), (second, after) = medians.items()
        print(f"{first} {before:.1f} {unit}, {second} {after:.1f}, ratio {after / before:.2f}")


def measure_memory(folder: Path, scratch: Path, model: str | None) -> None:
    large = scratch / "four"
    large.mkdir()
    for path in sorted(folder.iterdir()):
        for k in range(4):
            shutil.copy(path, large / f"{path.stem}-{k}{path.suffix}")
    for workers in (1, 2):
        for name, inputs in (("the study", folder), ("four times the study", large)):
            table = scratch / f"{inputs.name}-{workers}.csv"
            command = [sys.executable, "-c", CHILD, str(inputs), str(table), model or "", str(workers)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            frames, own_mb, worker_mb = done.stdout.split()
            also = f", of a worker {float(worker_mb):.0f} MB" if workers > 1 else ""
            print(f"{name}: {len(list(inputs.iterdir()))} clips, {frames} frames, peak {float(own_mb):.0f} MB{also}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", help="which figures; default: all")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=None)
    parser.add_argument("--keep", type=Path, default=None, help="a new folder for the clips")
    options = parser.parse_args()
    wanted = options.measures or MEASURES
    if unknown := set(wanted) - set(MEASURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))} (choices: {', '.join(MEASURES)})")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = options.keep or scratch / "recordings"
        make_study(folder, options.seconds)
        one, table = fervit.load(options.model, threads=1), scratch / "speed.csv"
        files = sorted(folder.iterdir())
        if "rows" in wanted:
            measure_rows(folder, one, scratch)
        if "speed" in wanted:
            single, together = (lambda: count_frames(files, one, table)), (lambda: count_frames([folder], one, table))
            compare({"single runs": single, "folder run": together}, options.rounds)
        if "threads" in wanted:
            two = fervit.load(options.model, threads=2)
            compare(
                {
                    "one core": lambda: on_cores(1, lambda: count_frames([folder], one, table)),
                    "two cores": lambda: on_cores(2, lambda: count_frames([folder], two, table)),
                },
                options.rounds,
            )
        if "workers" in wanted:
            compare(
                {
                    "one process on one core": lambda: on_cores(1, lambda: count_frames([folder], one, table)),
                    "two workers on two cores": lambda: on_cores(2, lambda: count_frames([folder], one, table, 2)),
                },
                options.rounds,
            )
        if "memory" in wanted:
            measure_memory(folder, scratch, options.model)


if __name__ == "__main__":
    main()
