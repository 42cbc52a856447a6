"""Frames/s of `fervit predict clip.mp4` at 640x480 with one face, against a bare loop, and memory over length.

Usage: python benchmarks/video.py [--model M.onnx] [--seconds 20] [--rounds 3] [--long 20] [--every 10]

The clip is scikit-image's astronaut (another `--photo`), panned slowly, 25 frames/s, H.264. The bare loop does the
same work one after another: PyAV decodes, the default detector searches every third frame, ONNX Runtime classifies
each face (batches of 8). Memory: the peak resident size of a process that predicts one minute and of one that
predicts `--long` minutes of the same packets, looking at every `--every`-th frame.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from PIL import Image

from fervit.faces.detectors import make_detector
from fervit.inference.loading import load, open_classifier
from fervit.media.crops import crop_face
from fervit.media.images import read_image
from fervit.media.video_writer import VideoWriter

RATE, WIDTH, HEIGHT = 25, 640, 480


def write_clip(path: Path, photo: np.ndarray, seconds: float) -> None:
    large = np.asarray(Image.fromarray(photo).resize((800, 600)))
    with VideoWriter(path, rate=RATE) as sink:
        for k in range(round(seconds * RATE)):
            x, y = round(60 + 60 * np.sin(k / 40)), round(40 + 40 * np.sin(k / 55))
            sink.write(large[y : y + HEIGHT, x : x + WIDTH], k / RATE)


def repeat(path: Path, clip: Path, times: int) -> None:
    """Write the clip's packets again and again, without decoding."""
    with av.open(str(clip)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [p for p in old.demux(old.streams.video[0]) if p.dts is not None]
        data = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
        base, length = packets[0].time_base, round(len(packets) / RATE / packets[0].time_base)
        for turn in range(times):
            for content, pts, dts, key in data:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.time_base = pts + turn * length, dts + turn * length, base
                packet.is_keyframe, packet.stream = key, stream
                new.mux(packet)


def bare_loop(path: Path, detector, classifier) -> int:
    preprocess, count, crops, faces = classifier.spec.preprocess, 0, [], []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            if count % 3 == 0:
                faces = detector.detect([image])[0]
            crops += [crop_face(image, face.box, preprocess) for face in faces]
            count += 1
            if count % 8 == 0:
                classifier.probs(crops)
                crops = []
    classifier.probs(crops)
    return count


def peak_mb(path: Path, model: Path | None, every: int) -> float:
    code = (
        "import sys, resource, fervit\n"
        "r = fervit.load(sys.argv[2] or None, threads=2)\n"
        "n = sum(1 for _ in r.video(sys.argv[1], every=int(sys.argv[3])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(model or ""), str(every)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(clip: Path, model: Path | None, threads: int, rounds: int) -> None:
    """Print frames/s of fervit and of the bare loop, which take turns."""
    recognizer = load(model, threads=threads)
    classifier, detector = open_classifier(model, threads=threads), make_detector()
    ours, theirs = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        faces = [len(result.predictions) for result in recognizer.video(clip)]
        ours.append(len(faces) / (time.perf_counter() - start))
        start = time.perf_counter()
        count = bare_loop(clip, detector, classifier)
        theirs.append(count / (time.perf_counter() - start))
    assert len(faces) == count and statistics.mean(faces) > 0.95, "a face is missing"
    print(
        f"{threads} thread(s): fervit {statistics.median(ours):.1f} frames/s, bare loop "
        f"{statistics.median(theirs):.1f}, ratio {statistics.median(ours) / statistics.median(theirs):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--photo", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--long", type=int, default=20, help="minutes; 0 leaves memory out")
    parser.add_argument("--every", type=int, default=10)
    args = parser.parse_args()
    if args.photo is None:
        from skimage.data import astronaut

        photo = astronaut()
    else:
        photo = read_image(args.photo)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, photo, args.seconds)
        for threads in args.threads:
            compare(clip, args.model, threads, args.rounds)
        if args.long:
            minute, long = Path(folder) / "minute.mp4", Path(folder) / "long.mp4"
            repeat(minute, clip, max(1, round(60 / args.seconds)))
            repeat(long, minute, args.long)
            short, much = peak_mb(minute, args.model, args.every), peak_mb(long, args.model, args.every)
            print(f"peak memory: 1 minute {short:.0f} MB, {args.long} minutes {much:.0f} MB, ratio {much / short:.3f}")


if __name__ == "__main__":
    main()
