r"""fervit against `fer` and `@vladmandic/human`, end to end on the same photos, on the same machine, in one run.

Usage: python benchmarks/peers.py FER2013 --fer FER_VENV/bin/python --human NODE_MODULES [--count 200] [--video V]
           [--rounds 3]

The photos are validation images (PublicTest) of FER2013, upscaled and laid on a canvas as in crop_margin.py, so
that every detector has to find the face first. Each peer is called as its own readme says, one photo after another,
models warm: `FER().detect_emotions(photo)` (tflite net; `--fer-keras` for the keras one), human's `detect` on its
wasm backend. fervit runs `Recognizer.images` on the decoded photos. A photo without a prediction counts as wrong. All
take their turn `--rounds` times; the ratios are medians over the rounds. A video's frames are given to all of them as
photos, decoded before; fervit's own `Recognizer.video`, which decodes and follows the faces, has its own line.

  python -m venv FER_VENV; FER_VENV/bin/pip install tensorflow-cpu 'opencv-python-headless<5' requests pandas \
    matplotlib pillow tqdm ffmpeg-python 'moviepy<2' 'setuptools<81'; FER_VENV/bin/pip install --no-deps fer==25.10.3
  npm install --ignore-scripts @vladmandic/human@3.3.6 @tensorflow/tfjs @tensorflow/tfjs-backend-wasm
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from crop_margin import on_canvas

from fervit.data import load as load_data
from fervit.inference.loading import load
from fervit.inference.recognizer import Recognizer
from fervit.media.video import read_frames

FER = """
import json, os, sys, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np, tensorflow as tf
threads = int(sys.argv[3])
tf.config.threading.set_intra_op_parallelism_threads(threads); tf.config.threading.set_inter_op_parallelism_threads(1)
from fer.fer import FER
import cv2; cv2.setNumThreads(threads)
photos = np.load(sys.argv[1]); net = FER(use_tflite=sys.argv[2] == "tflite")
net.detect_emotions(photos[0]); start = time.perf_counter()
found = [net.detect_emotions(photo) for photo in photos[:, :, :, ::-1]]
seconds = time.perf_counter() - start
best = [max(a, key=lambda f: f["box"][2] * f["box"][3]) if a else None for a in found]
labels = [max(b["emotions"], key=b["emotions"].get) if b else None for b in best]
print("RESULT" + json.dumps({"seconds": seconds, "labels": labels}))
"""
HUMAN = """
const fs = require('fs'), NM = process.argv[2], [count, height, width, threads] = process.argv.slice(4).map(Number);
const Human = require(NM + '/@vladmandic/human/dist/human.node-wasm.js').default;
const models = NM + '/@vladmandic/human/models/';  // node's fetch takes no file addresses
const base = require('path').basename;
const server = require('http').createServer((request, response) => fs.readFile(models + base(request.url),
  (error, data) => { response.statusCode = error ? 404 : 200; response.end(data); })).listen(0, '127.0.0.1');
server.once('listening', async () => {
  const off = { enabled: false };
  const human = new Human({ backend: 'wasm', debug: false, cacheSensitivity: 0, filter: off,
    wasmPath: NM + '/@tensorflow/tfjs-backend-wasm/dist/', modelBasePath: `http://127.0.0.1:${server.address().port}/`,
    face: { enabled: true, iris: off, description: off, emotion: { enabled: true, minConfidence: 0.0 } },
    body: off, hand: off, object: off, gesture: off, segmentation: off });
  await human.load(); const raw = fs.readFileSync(process.argv[3]), size = height * width * 3, labels = [];
  const photo = i => human.tf.tensor(new Uint8Array(raw.subarray(i * size, (i + 1) * size)), [1, height, width, 3],
    'float32');
  await human.detect(photo(0)); const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) {
    const x = photo(i), r = await human.detect(x); human.tf.dispose(x);
    const f = r.face.sort((a, b) => b.box[2] * b.box[3] - a.box[2] * a.box[3])[0];
    labels.push(f && f.emotion && f.emotion.length ? f.emotion[0].emotion : null);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  console.log('RESULT' + JSON.stringify({ seconds, labels })); process.exit(0);
});
"""


def result_of(command: list[str]) -> dict:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(lines[0].removeprefix("RESULT"))


def fervit(photos: np.ndarray, recognizer: Recognizer) -> dict:
    list(recognizer.images(photos[:4]))
    start = time.perf_counter()
    results = list(recognizer.images(photos))
    return result(time.perf_counter() - start, [r.predictions for r in results])


def fervit_video(path: Path, recognizer: Recognizer) -> dict:
    start = time.perf_counter()
    results = list(recognizer.video(path))
    return result(time.perf_counter() - start, [r.predictions for r in results])


def result(seconds: float, predictions: list) -> dict:
    best = [max(found, key=lambda p: p.face.box.area, default=None) for found in predictions]
    return {"seconds": seconds, "labels": [p.label if p else None for p in best]}


def one_round(photos: np.ndarray, args, threads: int, video: Path | None) -> dict[str, dict]:
    results = {}
    for runtime in args.runtimes:
        recognizer = load(args.model, threads=threads, runtime=runtime)
        results[f"fervit, {runtime}"] = fervit(photos, recognizer)
        if video:
            results[f"fervit's video, {runtime}"] = fervit_video(video, recognizer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.npy"
        np.save(path, photos)
        photos.tofile(Path(folder) / "photos.raw")
        if args.fer:
            for net in ("tflite", "keras") if args.fer_keras else ("tflite",):
                results[f"fer, {net}"] = result_of([args.fer, "-c", FER, str(path), net, str(threads)])
        if args.human:
            modules = str(Path(args.human).resolve())
            sizes = [str(v) for v in (*photos.shape[:3], threads)]
            script = Path(folder) / "human.cjs"
            script.write_text(HUMAN)
            results["human"] = result_of(["node", str(script), modules, str(Path(folder) / "photos.raw"), *sizes])
    return results


def compare(photos: np.ndarray, args, threads: int, *, targets: list[str] | None, video: Path | None = None) -> None:
    rounds = [one_round(photos, args, threads, video) for _ in range(args.rounds)]
    ours = next(iter(rounds[0]))
    for name in rounds[0]:
        labels = rounds[0][name]["labels"]
        found = sum(label is not None for label in labels)
        seconds = [turn[name]["seconds"] for turn in rounds]
        images, faces = (count / statistics.median(seconds) for count in (len(labels), found))
        line = f"  {name:<26} {images:6.1f} images/s, {faces:6.1f} faces/s, {found} of {len(labels)} found"
        if targets is not None:
            aliases = {"disgusted": "disgust", "fearful": "fear", "angry": "angry", "surprised": "surprise"}
            correct = [aliases.get(a, a) == b for a, b in zip(labels, targets, strict=True)]
            line += f", {100 * np.mean(correct):.1f} % correct"
        ratios = [turn[name]["seconds"] / turn[ours]["seconds"] for turn in rounds]
        fraction = sum(label is not None for label in rounds[0][ours]["labels"]) / max(found, 1)
        times = statistics.median(ratios)
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"{line}; {ours} gives {times:.1f}x the images/s ({spread}), {times * fraction:.1f}x the faces/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default=None)
    parser.add_argument("--fer", help="the python of fer's environment")
    parser.add_argument("--fer-keras", action="store_true")
    parser.add_argument("--human", help="a node_modules folder")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--video", type=Path, default=None)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtimes", nargs="*", default=["onnxruntime", "openvino"])
    args = parser.parse_args()
    public = load_data(args.data).split("public_test")
    chosen = np.sort(np.random.default_rng(1).choice(len(public), args.count, replace=False))
    photos = np.stack([on_canvas(image) for image in public.images[chosen]])
    targets = [public.labels[k] for k in public.targets[chosen]]
    for threads in args.threads:
        print(f"{args.count} photos of {photos.shape[2]} x {photos.shape[1]}, {threads} thread(s)")
        compare(photos, args, threads, targets=targets)
    if args.video:
        frames = np.stack([frame.image for frame in read_frames(args.video)])
        for threads in args.threads:
            print(f"{args.video.name}: {len(frames)} frames, {threads} thread(s)")
            compare(frames, args, threads, targets=None, video=args.video)


if __name__ == "__main__":
    main()
