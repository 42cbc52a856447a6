"""JAFFE (Lyons et al. 1998): 213 posed faces of ten Japanese women."""

import re

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import JAFFE
from fervit.data.listing import ReadOptions
from fervit.data.readers.class_folders import SUFFIXES
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.survey import Survey
from fervit.data.source_files import cannot_read
from fervit.errors import DataError

FILE = re.compile(r"([A-Z]{2})\.([A-Z]{2})(\d)\.(\d+)\.(tiff?|png|jpe?g|bmp)", re.IGNORECASE)
NAMES = {
    **{"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy"},
    **{"NE": "neutral", "SA": "sad", "SU": "surprise"},
}


def find(found: Survey) -> str | None:
    """Return what makes a folder JAFFE's beyond doubt, in words; None where nothing does."""
    for folder in found.with_images():
        if all(map(_label, folder.images)):
            return f"files such as {folder.images[0]}"
    return None


def read(found: Survey, options: ReadOptions) -> Dataset | None:
    """Read JAFFE as it is distributed: `KA.AN1.39.tiff`, 256 x 256 px grey, in one folder or several.

    The first two letters are the person, the next two the expression that was posed (AN, DI, FE, HA, NE, SA, SU), with
    the number of the photo. There are no splits: people stay on one side. Source: the data set's README_FIRST.txt.

    Returns:
        None where no file has such a name.

    Raises:
        DataError: a folder cannot be read, or all files have other names.
    """
    photos, others = [], []
    for folder in found.with_images():
        try:
            names = sorted(path.name for path in (found.root / folder.path).iterdir())
        except OSError as error:
            raise cannot_read(found.root / folder.path, error) from error
        for name in names:
            if not name.lower().endswith(SUFFIXES) or name.startswith("."):
                continue
            label = _label(name)
            if label is None:
                others.append(folder.at(name))
            else:
                photos.append(Photo(folder.at(name), label, subject=name[:2].upper()))
    if not photos:
        raise DataError(f"{found.root} is no copy of JAFFE: expected files such as KA.AN1.39.tiff")
    notes = (
        (f"{len(others):,} files are named otherwise than KA.AN1.39.tiff and are left out, the first is {others[0]}",)
        if others
        else ()
    )
    return read_listed(found.root, Listed(JAFFE, photos, notes), options)


def _label(name: str) -> str | None:
    match = FILE.fullmatch(name)
    return NAMES.get(match[2].upper()) if match else None
