"""Data sets whose labels are in lists beside the images: read the listed images, or cut the listed faces out."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.config.training import TrainConfig
from fervit.data.cache import cached
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.decode import MAX_BYTES, MAX_PIXELS, SIZE_PX
from fervit.data.labelling.conventions import Convention
from fervit.data.labelling.values import check_labels_named, column_labels
from fervit.data.listing import Listing, ReadOptions, assemble
from fervit.data.readers.class_folders import ImageFile
from fervit.data.readers.folder import read_content, sample_content
from fervit.data.readers.spool import Spool
from fervit.data.splits import find_split
from fervit.errors import DataError, ImageError
from fervit.files import name_of
from fervit.media import pixels
from fervit.media.crops import crop_face
from fervit.media.images import opening
from fervit.types import Box, Preprocess

WHOLE = 0.98  # of an image's sides: a box of this size is no box, the image is a face crop already
CROP = Preprocess(SIZE_PX, (0.5,) * 3, (0.5,) * 3, "bilinear", crop_margin=TrainConfig.crop_margin)
"""How a recognizer crops the faces of a model that is trained with the settings' own margin."""


@dataclass(frozen=True)
class Photo:
    """A labelled face.

    Attributes:
        path: of the image file, below the data set's folder, with `/`.
        label: a number or a name, as text.
        split: by any name that `find_split` knows, or None.
        subject: the person, empty where unknown.
        box: where the face is in the photo: left, top, right, bottom, in px or, where `relative`, as fractions of its
            width and height; None where the image is a face crop.
        relative: see `box`.
        line: where the label stands, for messages.
    """

    path: str
    label: str
    split: str | None = None
    subject: str = ""
    box: tuple[float, float, float, float] | None = None
    relative: bool = False
    line: str = ""


@dataclass(frozen=True)
class Listed:
    """What a data set's lists say.

    Attributes:
        convention: the data set's.
        photos: its labelled faces, in any order.
        notes: what was decided about it, in words.
        classes: the names of the numbers 0, 1, ..., where the source itself says them.
    """

    convention: Convention
    photos: Sequence[Photo]
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def read_listed(root: Path, listed: Listed, options: ReadOptions) -> Dataset:
    """Read the images that a data set's lists name; ordered by split, then by path.

    Faces on whole photos are cut out with `crop_face`, as a recognizer cuts them. Images that cannot be read, or are
    not there, are skipped with one warning and listed in `Dataset.skipped`.

    Args:
        root: the folder that paths are relative to.
        listed: what the lists say.
        options: how to read it.

    Raises:
        DataError: the lists name no image, none of them can be read, or a number has no name.
    """
    convention = listed.convention
    photos = [photo for photo in listed.photos if photo.label not in convention.left_out]
    if not photos:
        raise DataError(f"{root} is read as {convention.name}, but no image with an expression is listed there")
    notes = (*listed.notes, *_left_out(listed))
    split_of = {photo.split: None if photo.split is None else find_split(photo.split) for photo in photos}
    order = {split: -1 if name is None else SPLITS.index(name) for split, name in split_of.items()}
    photos.sort(key=lambda photo: (order[photo.split], photo.path, photo.box or ()))
    files = [_file(root, path) for path in dict.fromkeys(photo.path for photo in photos)]
    said = repr((photos, listed.classes, convention.name, files, sample_content(root, files)))
    key = f"listed-{hashlib.sha256(said.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}{options.key}"

    def build(store: Path) -> Dataset:
        return _build(
            root, replace(listed, photos=photos), np.array([order[photo.split] for photo in photos]), store, options
        )

    dataset = cached(key, build, name=name_of(root.name))
    return replace(dataset, notes=(*notes, *dataset.notes))


def _build(root: Path, listed: Listed, splits: np.ndarray, store: Path, options: ReadOptions) -> Dataset:
    photos = listed.photos
    labels = column_labels(
        [photo.label for photo in photos],
        str(root),
        "label",
        place=lambda k: photos[k].line or photos[k].path,
        classes=listed.classes,
        convention=listed.convention,
    )
    if not options.rules and options.need_labels:
        check_labels_named(labels, listed.classes, str(root))
    if (splits < 0).any() and not (splits < 0).all():
        stray = photos[int(np.argmax(splits < 0))]
        raise DataError(f"{root}: {stray.path} is in no split while other images are")
    boxed = any(photo.box is not None for photo in photos)
    spool = Spool(store / "encoded.bin")
    if boxed:
        with spool.writing():
            for content in _cut_out(root, photos):
                spool.append(content)
    subjects = [photo.subject for photo in photos]
    listing = Listing(
        name=name_of(root.name),
        where=name_of(root),
        labels=labels,
        split_ids=None if (splits < 0).any() else splits.astype(np.int8),
        sources=_sources(photos),
        subjects=subjects if any(subjects) else None,
        # All faces of a photo are on one side, wherever it lies.
        draw_by=[photo.path.rpartition("/")[2] for photo in photos] if boxed else None,
    )
    dataset = assemble(
        listing,
        spool.contents if boxed else lambda: (read_content(root / photo.path) for photo in photos),
        store,
        options,
    )
    if boxed:
        spool.path.unlink()
    return dataset


def _sources(photos: Sequence[Photo]) -> list[str]:
    """Return a name for each face: the photo's path, with the number of the face where it has several."""
    several = {path for path, count in Counter(photo.path for photo in photos).items() if count > 1}
    seen: Counter[str] = Counter()
    names = []
    for photo in photos:
        seen[photo.path] += 1
        names.append(name_of(photo.path) + (f"#{seen[photo.path]}" if photo.path in several else ""))
    return names


def _left_out(listed: Listed) -> list[str]:
    """Return in words how many images are left out because they stand for no expression."""
    left_out = listed.convention.left_out
    counts = Counter(photo.label for photo in listed.photos if photo.label in left_out)
    if not counts:
        return []
    each = ", ".join(f"{number} = {left_out[number]}: {counts[number]:,}" for number in left_out if counts[number])
    return [f"{counts.total():,} of {len(listed.photos):,} images show no expression and are left out ({each})"]


def _file(root: Path, path: str) -> ImageFile:
    try:
        status = os.stat(root / path)  # noqa: PTH116  # hundreds of thousands of them
    except (OSError, ValueError):
        return ImageFile(path, 0, (0, 0))
    return ImageFile(path, status.st_size, (status.st_mtime_ns, status.st_ctime_ns))


def _cut_out(root: Path, photos: Sequence[Photo]) -> Iterator[bytes]:
    """Yield the faces in order, encoded; nothing where the photo cannot be read. Each photo is decoded once."""
    for path, group in groupby(photos, key=lambda photo: photo.path):
        content = read_content(root / path)
        try:
            with opening(content, MAX_PIXELS, name="it") as opened:
                image = pixels.decode(opened, "an image of the data set")
        except ImageError:
            yield from (content[:MAX_BYTES] for _ in group)  # the reason is told where it is decoded
            continue
        for photo in group:
            yield content if photo.box is None else _cut(image, photo)


def _cut(image: np.ndarray, photo: Photo) -> bytes:
    height, width = image.shape[:2]
    assert photo.box is not None
    scale = np.array([width, height, width, height]) if photo.relative else np.ones(4)
    box = Box(*(np.array(photo.box, np.float64) * scale).tolist())
    if box.width < 1 or box.height < 1 or box.x2 <= 0 or box.y2 <= 0 or box.x1 >= width or box.y1 >= height:
        return b""
    whole = box.width >= WHOLE * width and box.height >= WHOLE * height
    face = Image.fromarray(image if whole else np.ascontiguousarray(crop_face(image, box, CROP)))
    if max(face.size) > SIZE_PX:  # of no use beyond what a model sees
        face = face.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    face.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
