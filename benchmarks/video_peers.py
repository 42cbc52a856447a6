"""fervit's video path against fer's, frames/s on the same recordings, on the same machine, in one run.

Usage: python benchmarks/video_peers.py VIDEO... --fer FER_VENV/bin/python [--rounds 3] [--threads 1]

fer is called as its readme says, `Video(path).analyze(FER())`, without the copies of frames and videos that it would
write, and with its fastest detector (Haar) and network (tflite). fervit runs `fervit.predict(path, csv=...)`. Both
decode, detect, classify and write a row a face; models are warm, and the two take turns. FER_VENV is made as in
benchmarks/peers.py. py-feat fetches its weights from the Hugging Face Hub when it is opened, so it is not in here.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import fervit
from fervit.media.video import read_frames

FER = """
import contextlib, json, os, sys, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
threads = int(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(threads); tf.config.threading.set_inter_op_parallelism_threads(1)
import cv2; cv2.setNumThreads(threads)
cv2.waitKey, cv2.destroyAllWindows = lambda *_: -1, lambda: None  # OpenCV without windows has none to wait for
from fer.fer import FER
from fer.classes import Video
quiet = dict(output="pandas", save_frames=False, save_video=False, annotate_frames=False, zip_images=False)
net = FER()
for line in sys.stdin:
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        found = Video(line.strip(), first_face_only=False).analyze(net, **quiet)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, len(found)]), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--fer", required=True, help="Python of an environment with fer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    recognizer = fervit.load(threads=options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        command = [options.fer, "-c", FER, str(options.threads)]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=scratch
        ) as fer:
            assert fer.stdin is not None and fer.stdout is not None
            for video in options.videos:
                frames = sum(1 for _ in read_frames(video))
                rates: dict[str, list[float]] = {"fervit": [], "fer": []}
                notes = {}
                for number in range(options.rounds + 1):
                    start = time.perf_counter()
                    run = fervit.predict(video, recognizer, csv=Path(scratch) / "rows.csv", overwrite=True)
                    own_s = time.perf_counter() - start
                    fer.stdin.write(f"{video.absolute()}\n")
                    fer.stdin.flush()
                    fer_s, rows = json.loads(fer.stdout.readline())
                    notes = {"fervit": f"{run.records[0].frames} frames", "fer": f"{rows} frames with rows"}
                    if number:  # the first round warms up
                        rates["fervit"].append(frames / own_s)
                        rates["fer"].append(frames / fer_s)
                medians = {name: statistics.median(found) for name, found in rates.items()}
                for name, rate in medians.items():
                    print(f"{video.name}: {name} {rate:.1f} frames/s ({notes[name]} of {frames})")
                ratios = [a / b for a, b in zip(rates["fervit"], rates["fer"], strict=True)]
                print(f"{video.name}: {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")
            fer.stdin.close()


if __name__ == "__main__":
    main()
