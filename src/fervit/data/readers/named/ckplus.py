"""CK+ (Lucey et al. 2010): 593 sequences of 123 people, from a neutral face to the peak of a posed expression."""

import re
from pathlib import Path

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import CKPLUS
from fervit.data.listing import ReadOptions
from fervit.data.readers.class_folders import SUFFIXES
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.lists import number, read_text
from fervit.data.readers.named.survey import Survey
from fervit.data.source_files import cannot_read
from fervit.errors import DataError

LABEL_FILE = re.compile(r"(S\d{3})_(\d{3})_\d{8}_emotion\.txt", re.IGNORECASE)
SEQUENCE = re.compile(r"(?:^|/)(S\d{3})/(\d{3})$", re.IGNORECASE)
PEAK_FRAMES = 3  # at the end of a sequence, that show its expression
NEUTRAL = "0"


def find(found: Survey) -> str | None:
    """Return what makes a folder CK+'s beyond doubt, in words; None where nothing does."""
    if labels := _label_files(found):
        return labels[0][0]
    assert CKPLUS.subject is not None
    for folder in found.with_images():
        if not SEQUENCE.search(folder.path) and all(map(CKPLUS.subject.search, folder.images)):
            return f"class folders with files such as {folder.images[0]}"
    return None


def read(found: Survey, options: ReadOptions) -> Dataset | None:
    """Read CK+ as it is distributed.

    - `cohn-kanade-images/S005/001/S005_001_00000011.png`: the frames of person S005's sequence 001;
    - `Emotion/S005/001/S005_001_00000011_emotion.txt`: one number, 1 to 7: angry, contempt, disgust, fear, happy, sad,
      surprise. 327 sequences have one.

    As most papers that train on single frames do, and Kaggle's CK+48: the last three frames of a labelled sequence have
    its label. Its first frame is neutral. The frames are whole photos. There are no splits: people stay on one side.
    Source: the data set's readme, and Lucey et al. 2010, section 3.

    Returns:
        None where there is no such label: class folders (people are told by names such as S010_004_00000017.png) and
        Kaggle's ckextended.csv (where 0 to 7 are FER2013's seven and contempt) are read as such.

    Raises:
        DataError: a label is malformed, or none of the sequences is there.
    """
    labels = _label_files(found)
    if not labels:
        return None
    frames = {
        (match[1].upper(), match[2]): folder.path
        for folder in found.with_images()
        if (match := SEQUENCE.search(folder.path))
    }
    photos: list[Photo] = []
    missing = [path for path, sequence in labels if sequence not in frames]
    if len(missing) == len(labels):
        raise DataError(f"{found.root} has {labels[0][0]}, but no folder S005/001 with the frames of that sequence")
    for path, sequence in labels:
        if sequence in frames:
            photos += _sequence(found.root, path, frames[sequence], sequence[0])
    notes = [
        f"of each of the {len(labels) - len(missing):,} labelled sequences, the last {PEAK_FRAMES} frames have its "
        "label, and the first one is neutral"
    ]
    if missing:
        notes.append(f"{len(missing):,} labelled sequences have no frames here, the first is {missing[0]}: left out")
    return read_listed(found.root, Listed(CKPLUS, photos, tuple(notes)), options)


def _label_files(found: Survey) -> list[tuple[str, tuple[str, str]]]:
    """Return the paths of the files with labels, and the person and the sequence of each."""
    return [
        (folder.at(name), (match[1].upper(), match[2]))
        for folder in found.folders
        for name in folder.files
        if (match := LABEL_FILE.fullmatch(name))
    ]


def _sequence(root: Path, label_file: str, folder: str, subject: str) -> list[Photo]:
    label = number(read_text(root / label_file).strip(), "the expression", label_file)
    if not label.is_integer():
        raise DataError(f"{root / label_file}: expected a whole number for the expression, got {label}")
    try:
        names = sorted(path.name for path in (root / folder).iterdir() if path.name.lower().endswith(SUFFIXES))
    except OSError as error:
        raise cannot_read(root / folder, error) from error
    labelled = [(name, str(int(label))) for name in names[1:][-PEAK_FRAMES:] or names]
    if len(names) > 1:
        labelled.append((names[0], NEUTRAL))
    return [Photo(f"{folder}/{name}", text, subject=subject, line=label_file) for name, text in labelled]
