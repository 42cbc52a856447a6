"""Read a source's images as face crops: cut out of photos where that is wanted, else decoded as they are."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.decode import Contents, Decoded, decode_all
from fervit.data.photos.cutting import FaceCutter, cut_photos
from fervit.data.photos.spotting import LARGEST_CROP_PX, PhotoSpotter
from fervit.errors import DataError, ImageError
from fervit.media.images import opening

SHOWN = 3  # names in a message, before it says how many more there are
SAMPLED = 32  # images whose sizes say whether a source holds face crops already
Read = tuple[Decoded, np.ndarray | None, list[str]]


def read_faces(
    contents: Contents,
    count: int,
    store: Path,
    cutter: FaceCutter | None,
    size_px: int | None,
    *,
    cropped: bool = False,
) -> Read:
    """Decode images into `store / "images.npy"`, one face each.

    Args:
        contents: the encoded images.
        count: how many there are.
        store: a folder.
        cutter: cuts faces out of photos; None takes each image as a face crop.
        size_px: side to squash face crops to, see `decode_all`.
        cropped: the images are known to be face crops.

    Returns:
        The images; `(N,)` int64 faces that were found on each, or None where nothing was detected; and in words what
        their owner may not expect.
    """
    if cropped:
        said = [] if cutter is None else [crops_already("fervit cut or wrote these images")]
        return decode_all(contents, store, size_px=size_px), None, said
    if cutter is None:
        spotter = PhotoSpotter(count)
        decoded = decode_all(lambda: spotter.watch(contents()), store, size_px=size_px)
        height, width = decoded.images.shape[1:3]
        note = spotter.note(f"{width} x {height} px")
        return decoded, None, [] if note is None else [note]
    if (side := crop_side(contents)) is not None:
        decoded = decode_all(contents, store, size_px=size_px)
        return decoded, None, [crops_already(f"all images that were looked at have {side} x {side} px")]
    decoded, counts = cut_photos(contents, store, cutter)
    return decoded, counts, describe_counts(counts, cutter)


def leave_out_missed(dataset: Dataset) -> Dataset:
    """Return the photos with a face; those without one are counted and named in `Dataset.notes` and `missed`.

    Raises:
        DataError: no photo has a face.
    """
    kept = dataset.with_faces()
    missed = len(dataset) - len(kept)
    if not missed:
        return kept
    names = kept.missed[-missed:]
    shown = ", ".join(names[:SHOWN]) + (f" and {missed - SHOWN:,} more" if missed > SHOWN else "")
    if not len(kept):
        raise DataError(
            f"{dataset.name}: no face was found on any of {missed:,} photos, such as {names[0]}; leave --detect out "
            "where the images are face crops already"
        )
    note = f"no face was found on {missed:,} of {len(dataset):,} photos, which are left out: {shown}"
    return replace(kept, notes=(*kept.notes, note))


def crops_already(why: str) -> str:
    """Return in words that nothing is detected because the images are face crops."""
    return f"--detect changes nothing here: {why}, so they are face crops already"


def crop_side(contents: Contents) -> int | None:
    """Return the side of the first images where they are squares of one size up to `LARGEST_CROP_PX`; else None."""
    sizes: set[tuple[int, int]] = set()
    for data in itertools.islice(contents(), SAMPLED):
        try:
            with opening(data, name="it") as image:
                sizes.add(image.size)
        except ImageError:
            continue
    if len(sizes) != 1:
        return None
    width, height = sizes.pop()
    return width if width == height <= LARGEST_CROP_PX else None


def describe_counts(counts: np.ndarray, cutter: FaceCutter) -> list[str]:
    """Return in words what was done about photos with several faces, and how crops differ from what is predicted."""
    notes = []
    if several := int((counts > 1).sum()):
        notes.append(
            f"{several:,} of {len(counts):,} photos show several faces ({cutter.detector}): the largest is taken"
        )
    return notes
