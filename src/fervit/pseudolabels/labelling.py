"""Find faces on photos, predict them, and keep what the model is confident of: `pseudolabel()`."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from PIL import Image as Pillow

from fervit.concurrency import map_ahead
from fervit.errors import ConfigError, ImageError
from fervit.evaluation.prediction import TTA
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import AUTO
from fervit.files import as_path, check_writable
from fervit.inference.inputs import find_inputs
from fervit.inference.loading import load
from fervit.inference.recognizer import Recognizer
from fervit.licences import Licence, as_text, read_licences
from fervit.media.images import read_image, source_name
from fervit.probabilities import check_probs
from fervit.pseudolabels.options import PseudoCounts, PseudoKeywords, PseudoOptions
from fervit.pseudolabels.parts import Part, PartCounts, Parts, Row
from fervit.runtime.devices import AUTO as AUTO_DEVICE
from fervit.types import Classifier, Face, Image, ModelSpec

PHOTOS_A_PART = 64  # photos between two saves: what a `kill -9` costs, and what is in memory
LARGEST_CROP_PX = 224  # of the crops that are written: larger ones are resized, as data sets are


@dataclass(frozen=True, eq=False)
class _Found:
    """The faces of one photo: for the model, and to be written."""

    source: str
    faces: list[Face]
    inputs: list[Image]
    crops: list[Image]
    error: str = ""


def pseudolabel(
    model: str | Path | Recognizer | None,
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    detector: str | FaceDetector = AUTO,
    threads: int | None = None,
    device: str = AUTO_DEVICE,
    **options: Unpack[PseudoKeywords],
) -> PseudoCounts:
    """Write the faces of photos that a model is confident of as a parquet data set, as `fervit pseudolabel` does.

    The model's calibrated probabilities are in the column `votes`, so that training learns from them as from people's
    votes. A run that was ended goes on when it is repeated; memory does not grow with the number of photos.

    >>> import fervit
    >>> counts = fervit.pseudolabel("mobilenet", "photos", "mine.parquet", min_confidence=0.9)  # doctest: +SKIP
    >>> fervit.load_dataset("mine.parquet").votes.shape  # doctest: +SKIP
    (812, 7)

    Args:
        model: a shipped model's name, an `.onnx` file or a model folder; None is the default model. Or a recognizer,
            with its detector.
        images: a folder of photos, a photo, or several of these.
        out: the `.parquet` file.
        detector: a name as for `fervit.make_detector`, or a detector.
        threads: CPU threads; None takes all cores.
        device: where a model runs that is opened here, as for `fervit.load`.
        options: `min_confidence` (0.9), `per_class`, `tta`, `crop`, `validation`, `batch_size`, `overwrite` and
            `progress`, see `PseudoOptions`.

    Returns:
        The numbers of photos, of faces, and of those that were kept, by label.

    Raises:
        ConfigError: an option is out of its range, there is no such device, or `out` exists, has another ending or
            cannot be written; or an earlier run to it had other settings.
        DataError: no face is confident enough.
        ImageError: there are no photos.
        ModelError: the model cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    how = PseudoOptions(**options)
    out = as_path(out, "a data set to write", ConfigError)
    if out.suffix.lower() not in (".parquet", ".pq"):
        raise ConfigError(f"expected a name that ends in .parquet, got {out}")
    if out.exists() and not how.overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it, or name another file")
    check_writable(out)
    named = [images] if isinstance(images, str | Path) else list(images)
    photos = [path for path in find_inputs(named, videos=False).photos if isinstance(path, Path)]
    recognizer = model
    if not isinstance(recognizer, Recognizer):
        recognizer = load(recognizer, detector="none" if how.crop else detector, threads=threads, device=device)
    return _run(recognizer, photos, out, how)


def _run(recognizer: Recognizer, photos: Sequence[Path], out: Path, how: PseudoOptions) -> PseudoCounts:
    """Write the parts that an earlier run has not written, and the file from them."""
    parts = Parts(out, recognizer.spec, _fingerprint(recognizer, photos, how), overwrite=how.overwrite)
    starts = range(0, len(photos), PHOTOS_A_PART)
    before = 0
    for number, start in enumerate(starts):
        chunk = photos[start : start + PHOTOS_A_PART]
        if parts.has(number):
            before += len(chunk)
        else:
            parts.write(number, _label(recognizer, chunk, how))
        if how.progress is not None:
            how.progress(start + len(chunk), len(photos))
    return parts.merge(len(starts), how, before)


def _fingerprint(recognizer: Recognizer, photos: Sequence[Path], how: PseudoOptions) -> str:
    """Return a digest of all that decides what the parts hold."""
    detector = type(recognizer.detector).__qualname__
    said = [recognizer.spec.to_json(), detector, how.min_confidence, how.tta, how.crop, PHOTOS_A_PART]
    digest = hashlib.sha256(json.dumps(said).encode())
    for photo in photos:
        digest.update(repr((source_name(photo), _stamp(photo))).encode())
    return digest.hexdigest()


def _stamp(photo: Path) -> tuple[int, int]:
    try:
        found = photo.stat()
    except OSError:  # reading it tells what is wrong
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _label(recognizer: Recognizer, photos: Sequence[Path], how: PseudoOptions) -> Part:
    """Return the confident faces of some photos."""
    found = list(map_ahead(lambda photo: _find(recognizer, photo, crop=how.crop), photos, recognizer.workers))
    inputs = [each for photo in found for each in photo.inputs]
    probs = _predict(recognizer.classifier, inputs, how)
    rows: list[Row] = []
    at = 0
    for photo in found:
        own = probs[at : at + len(photo.inputs)]
        at += len(photo.inputs)
        rows += _rows(recognizer, photo, own, how.min_confidence)
    errors = [f"{photo.source}: {photo.error}" for photo in found if photo.error]
    counts = PartCounts(
        photos=len(found),
        faces=len(inputs),
        without=sum(not photo.faces and not photo.error for photo in found),
        failed=len(errors),
        first_failure=errors[0] if errors else "",
        highest=float(probs.max(initial=0.0)),
    )
    return Part(rows, counts)


def _find(recognizer: Recognizer, photo: Path, *, crop: bool) -> _Found:
    source = source_name(photo)
    try:
        image = read_image(photo)
    except ImageError as error:
        return _Found(source, [], [], [], str(error))
    found = recognizer.finder.find(image, crop=crop)
    crops = [image] if crop else [recognizer.finder.cut(image, face) for face in found.faces]
    return _Found(source, found.faces, found.crops, [_shrunk(each) for each in crops])


def _shrunk(crop: Image) -> Image:
    """Return a copy of a crop, its longer side at most `LARGEST_CROP_PX`: a view would keep the photo in memory."""
    height, width = crop.shape[:2]
    scale = LARGEST_CROP_PX / max(height, width)
    if scale >= 1:
        return crop.copy()
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return np.asarray(Pillow.fromarray(crop).resize(size, Pillow.Resampling.BICUBIC))


def _predict(classifier: Classifier, crops: Sequence[Image], how: PseudoOptions) -> np.ndarray:
    """Return `(N, K)` probabilities of crops, the mean over the views of test-time augmentation."""
    if not crops:
        return np.empty((0, len(classifier.spec.labels)))
    views = [[crop] if how.tta is None else _views(crop, how.tta) for crop in crops]
    means = [
        np.asarray(classifier.probs([view[k] for view in views], batch_size=how.batch_size), np.float64)
        for k in range(len(views[0]))
    ]
    probs: np.ndarray = np.mean(means, axis=0)
    return check_probs(probs, np.zeros(len(probs), np.int64))[0]


def _views(crop: Image, tta: str) -> list[Image]:
    batch = crop[None] if crop.ndim == 3 else crop[None, :, :, None]
    return [view[0] for view in TTA[tta](batch)]


def _rows(recognizer: Recognizer, photo: _Found, probs: np.ndarray, least: float) -> Iterator[Row]:
    spec, confident = recognizer.spec, probs.max(axis=1, initial=0.0) >= least
    for k in np.flatnonzero(confident):
        label = int(probs[k].argmax())
        name = photo.source if len(photo.faces) == 1 else f"{photo.source}#{k + 1}"
        yield {
            "image": _png(photo.crops[k]),
            "label": label,
            "label_name": spec.labels[label],
            "votes": probs[k].astype(np.float32).tolist(),
            "split": "train",
            "filename": name,
            "source": photo.source,
            "box": photo.faces[k].box.to_list(),
            "face_score": float(photo.faces[k].score),
            "confidence": float(probs[k].max()),
            "licence": _licence(spec),
        }


def _licence(spec: ModelSpec) -> str:
    """Return the licences of faces that a model labelled: the unknown one of the photos, and the model's own."""
    own = read_licences(spec.licence, spec.name or spec.arch) if spec.licence else ()
    return as_text((Licence("photos"), *own, *spec.trained_on))


def _png(crop: Image) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(crop).save(buffer, format="PNG")
    return buffer.getvalue()
