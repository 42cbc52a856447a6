"""FER+ as it is published: FER2013's faces with one of eight expressions, by the votes of ten people."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.dataset import SPLITS, TRAIN, Codes, Dataset
from fervit.data.labelling.apply import take_rows
from fervit.data.labelling.conventions import FER2013, FERPLUS
from fervit.data.listing import ReadOptions
from fervit.data.readers.ferplus import FACE_COLUMNS, VOTE_COLUMNS, votes_of
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.lists import number
from fervit.data.readers.named.survey import Below, Survey, survey
from fervit.data.readers.plain import plain_form, read_plain
from fervit.data.source_files import find_column, open_csv
from fervit.data.splits import find_split
from fervit.errors import DataError
from fervit.files import name_of
from fervit.labels import FERPLUS8

VOTE_FILES = ("fer2013new.csv", "ferplus.parquet", "ferplus.csv", "fer2013new.parquet")
IMAGE_FILES = ("fer2013.csv", "fer2013.parquet", "icml_face_data.csv")
LIST, UNLABELLED = "label.csv", "unlabelled"
COVERED, MOST_EXPRESSIONS = 0.75, 3  # of the votes, and of the expressions that a distribution has


def read(source: Path, votes: Path | None, options: ReadOptions, *, distribution: bool) -> Dataset:
    """Read FER2013's images with FER+'s labels, by the protocol of Barsoum et al. 2016 and of its published code.

    - images: `fer2013.csv` as on Kaggle, or the same rows as a parquet file;
    - votes: `fer2013new.csv` as on GitHub (`Usage`, `Image name`, and the counts `neutral`, ..., `contempt`, `unknown`,
      `NF`), or a parquet file with these columns; found beside the images where no path is given;
    - or the folders that FER+'s own script makes of both: `FER2013Train/fer0000000.png` with `FER2013Train/label.csv`,
      lines of file name and ten votes, and `FER2013Valid`, `FER2013Test`.

    Votes for an expression that got one are dropped. By the *majority* protocol, an image stays where more than half of
    the votes that are left are for one thing, and that is one of the eight expressions: not "unknown", and not "not a
    face". By the *distribution* protocol, which the code calls cross-entropy, train images stay where the three most
    frequent expressions, or fewer that reach three quarters, have more than half of the votes; validation and test
    images are those of the majority protocol in any case, so that accuracy means the same.

    Either way, `Dataset.targets` are the labels with the most votes, and `Dataset.votes` their distribution, with
    "unknown" and "not a face" left out; the setting `votes_weight` says which of them a model learns from.

    Source: arXiv 1608.01041, section 3, and `src/ferplus.py` in github.com/microsoft/FERPlus.

    Args:
        source: the images, or a folder that holds them and the votes.
        votes: the votes, or None to look for them.
        options: how to read the images.
        distribution: take the distribution protocol's train images.

    Raises:
        DataError: images or votes are missing or malformed, or their rows do not fit, or no image stays.
    """
    folders = _made_folders(source) if source.is_dir() and votes is None else []
    if folders:
        faces, counts = _read_folders(source.resolve(), folders, options)
    else:
        images, votes = _files(source, votes)
        faces = read_plain(images, plain_form(images), replace(options, convention=FER2013, need_labels=False))
        counts = votes_of(faces, votes)
    soft, majority = majority_rows(counts)
    kept = majority
    if distribution:
        spread, fits = distribution_rows(counts)
        in_train = faces.split_ids == SPLITS.index(TRAIN)
        soft = np.where((in_train & fits)[:, None], spread, soft)
        kept = np.where(in_train, fits, majority)
    if not kept.any():
        raise DataError(f"the votes leave no image of {source}: expected votes for expressions")
    rows = np.flatnonzero(kept)
    labelled = replace(faces, labels=FERPLUS8, targets=soft.argmax(axis=1), codes=Codes())
    chosen = take_rows(labelled, rows)
    return replace(
        chosen,
        votes=soft[rows].astype(np.float32),
        notes=(*chosen.notes, _said(faces, kept, distribution=distribution)),
    )


def majority_rows(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply the majority protocol to `(N, 10)` counts of votes; see `read`.

    Returns:
        `(N, 8)` distributions of the votes that are left for expressions, all-zero where there are none; and `(N,)`
        bool, which images stay.
    """
    left = np.where(counts > 1, counts, 0.0)
    most = left.max(axis=1)
    kept = (most > 0.5 * left.sum(axis=1)) & (left.argmax(axis=1) < FACE_COLUMNS)
    return _normalised(left[:, :FACE_COLUMNS]), kept


def distribution_rows(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply the distribution protocol to `(N, 10)` counts of votes; see `read`.

    Returns:
        As `majority_rows`; the distributions are over the expressions that the protocol takes.
    """
    soft = np.zeros((len(counts), FACE_COLUMNS))
    kept = np.zeros(len(counts), bool)
    for row, votes in enumerate(np.where(counts > 1, counts, 0.0)):
        taken = _taken(votes)
        if taken is not None:
            soft[row], kept[row] = taken[:FACE_COLUMNS], True
    return _normalised(soft), kept


def _taken(votes: np.ndarray) -> np.ndarray | None:
    """Return `(10,)` votes for the expressions that one image's distribution has; None where it is left out.

    The most frequent ones are taken, those with as many votes together, until they have three quarters of all or are
    three; the search ends at "unknown" and "not a face", which count only where nothing was taken before them.
    """
    total = votes.sum()
    left, taken, count, ended = votes.copy(), np.zeros_like(votes), 0, False
    while taken.sum() < COVERED * total and count < MOST_EXPRESSIONS and not ended:
        most = left.max()
        for place in np.flatnonzero(left == most):
            taken[place], left[place] = most, 0
            count += 1
            if place >= FACE_COLUMNS:
                ended = True
                if taken.sum() > most:
                    taken[place] = 0
                    count -= 1
                break
    if taken.sum() <= 0.5 * total or count > MOST_EXPRESSIONS or taken.argmax() >= FACE_COLUMNS:
        return None
    return taken


def _normalised(votes: np.ndarray) -> np.ndarray:
    sums = votes.sum(axis=1, keepdims=True)
    fractions: np.ndarray = np.divide(votes, sums, out=np.zeros_like(votes, dtype=np.float64), where=sums > 0)
    return fractions


def _said(faces: Dataset, kept: np.ndarray, *, distribution: bool) -> str:
    counts = [
        f"{name} {int((kept & inside).sum()):,} of {int(inside.sum()):,}"
        for k, name in enumerate(SPLITS)
        if (inside := faces.split_ids == k).any()
    ]
    rule = (
        "majority protocol: single votes dropped, more than half of the rest for one expression, unknown and "
        "not-a-face out"
    )
    if distribution:
        rule = f"distribution protocol for train, {rule} for the others"
    return f"FER+ labels by the {rule}: {', '.join(counts)} images stay"


def _made_folders(source: Path) -> list[Below]:
    """Return the folders that FER+'s script makes, with images and a list of votes each."""
    return [folder for folder in survey(source).with_images() if LIST in folder.files and _split_of(folder)]


def _split_of(folder: Below) -> str | None:
    return find_split(folder.name.lower().removeprefix("fer2013"))


def _read_folders(root: Path, folders: list[Below], options: ReadOptions) -> tuple[Dataset, np.ndarray]:
    """Return the images of such folders, and `(N, 10)` counts of votes.

    Raises:
        DataError: a line is malformed, or no image can be read.
    """
    photos: list[Photo] = []
    votes: dict[str, list[float]] = {}
    for folder in folders:
        path = root / folder.at(LIST)
        with open_csv(path) as reader:
            for cells in reader:
                place = f"line {reader.line_num}"
                if len(cells) <= len(VOTE_COLUMNS):
                    raise DataError(f"{path}, {place}: expected a file name and ten counts of votes")
                counts = [number(cell, "votes", f"{path}, {place}") for cell in cells[-len(VOTE_COLUMNS) :]]
                if min(counts) < 0:
                    raise DataError(f"{path}, {place}: expected counts of votes from 0 up")
                photos.append(Photo(folder.at(cells[0].strip()), UNLABELLED, _split_of(folder), line=place))
                votes[name_of(photos[-1].path)] = counts
    faces = read_listed(root, Listed(FERPLUS, photos), replace(options, need_labels=False))
    return faces, np.array([votes[source] for source in faces.sources or ()])


def _files(source: Path, votes: Path | None) -> tuple[Path, Path]:
    """Return the paths of images and votes.

    Raises:
        DataError: one of them is not there.
    """
    if source.is_dir():
        found = survey(source)
        images, inside = _images_in(found), found.find(*VOTE_FILES)
        if images is None:
            raise DataError(f"{source} has no {' or '.join(IMAGE_FILES)}, which FER+ is about")
        if votes is None and inside is None:
            raise DataError(f"{source} has no votes: expected {' or '.join(VOTE_FILES)}, or --votes FILE")
        return found.root / images, votes or found.root / str(inside)
    if not source.is_file():
        raise DataError(
            f"no images at {source}; expected {' or '.join(IMAGE_FILES)}, or the folder of it and the votes"
        )
    beside = [source.parent / name for name in VOTE_FILES if (source.parent / name).is_file()]
    if votes is None and not beside:
        raise DataError(f"there are no votes beside {source}: expected {' or '.join(VOTE_FILES)}, or --votes FILE")
    return source, votes or beside[0]


def _images_in(found: Survey) -> str | None:
    if (path := found.find(*IMAGE_FILES)) is not None:
        return path
    for folder in found.folders:
        for name in folder.files:
            if (
                name.lower().endswith(".csv")
                and name.lower() not in VOTE_FILES
                and _has_pixels(found.root / folder.at(name))
            ):
                return folder.at(name)
    return None


def _has_pixels(path: Path) -> bool:
    try:
        with open_csv(path) as reader:
            header = next(reader, [])
    except DataError:
        return False
    return find_column(header, ("pixels",)) is not None and find_column(header, VOTE_COLUMNS[:1]) is None
