"""`fervit data crop`: the faces of labelled photos as files, in the photos' tree, with a table of what was done."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from fervit.config.training import TrainConfig
from fervit.data.decode import MAX_BYTES
from fervit.data.photos.cutting import FaceCut, FaceCutter
from fervit.data.photos.listing import Photo, find_photos
from fervit.data.readers.folder import CROPS_TABLE
from fervit.data.source_files import open_csv
from fervit.errors import ConfigError, DataError, ImageError, is_number, quoted, reason
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import AUTO
from fervit.files import as_path, cannot_write, check_writable, name_of, read_regular, replacing
from fervit.media.crops import WAITING_PX

COLUMNS = ("source", "crop", "x1", "y1", "x2", "y2", "score", "faces", "detector", "margin", "error")
LEAST_MARGIN, MOST_MARGIN = -0.4, 2.0  # a fifth of the face is left; five times its side is cut out
IN_THE_WAY = "another file has the crop's name"


@dataclass(frozen=True)
class CropCounts:
    """What became of the photos.

    Attributes:
        photos: how many there are.
        crops: those with a face, which was cut out.
        several: of these, those with several faces, of which the largest was cut out.
        missed: those without a face.
        failed: those that could not be read, or whose crop could not be written.
        before: how many an earlier run had done.
    """

    photos: int
    crops: int
    several: int
    missed: int
    failed: int
    before: int

    def __str__(self) -> str:
        parts = [f"{self.photos:,} photos", f"{self.crops:,} faces cut out"]
        if self.several:
            parts.append(f"{self.several:,} of them from photos with several faces (the largest)")
        parts += [f"{self.missed:,} without a face", f"{self.failed:,} not read or written"]
        if self.before:
            parts.append(f"{self.before:,} done before")
        return ", ".join(parts)


def crop_photos(
    source: str | Path,
    out: str | Path,
    *,
    detector: str | FaceDetector = AUTO,
    margin: float = TrainConfig.crop_margin,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CropCounts:
    """Cut the largest face out of each labelled photo into a PNG file, as `fervit data crop` does.

    The crops are in the photos' tree and resolution (at most `WAITING_PX`), and `crops.csv` has a row for each photo.
    A run that was ended goes on when it is repeated: photos that `crops.csv` has are not cut again.

    >>> import fervit
    >>> print(fervit.crop_photos("photos", "faces"))  # doctest: +SKIP
    60 photos, 59 faces cut out, 1 without a face, 0 not read or written

    Args:
        source: a folder, or a list of photos (.csv, .txt); see `find_photos`.
        out: the folder of the crops.
        detector: a name as for `fervit.make_detector`, or a detector.
        margin: fraction of the box's side to add on every side; by default that of recipes.
        overwrite: cut all photos anew, and replace the crops of an earlier run.
        progress: called with photos done and photos in all.

    Returns:
        How many photos were cut, have no face, or could not be read.

    Raises:
        DataError: there are no photos.
        ConfigError: `margin` is out of its range; or `out` holds something else, lies within the photos, was cut in
            another way, or cannot be written.
        DetectorError: the detector is unknown or not installed.
    """
    source, out = as_path(source, "photos", DataError), as_path(out, "a folder of crops", ConfigError)
    if not is_number(margin, LEAST_MARGIN, MOST_MARGIN):
        raise ConfigError(f"expected a margin from {LEAST_MARGIN} to {MOST_MARGIN}, got {quoted(margin)}")
    cutter = FaceCutter.for_files(detector, margin=margin)
    _check_apart(source, out)
    return _crop(find_photos(source), out, cutter, overwrite=overwrite, progress=progress)


def _crop(
    photos: Sequence[Photo],
    out: Path,
    cutter: FaceCutter,
    *,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> CropCounts:
    """Cut the photos that an earlier run has not done yet."""
    table = out / CROPS_TABLE
    done = _earlier(out, cutter, overwrite=overwrite)
    names = {photo: name_of(photo.source) for photo in photos}
    if gone := done.keys() - set(names.values()):
        raise ConfigError(
            f"{table} has {len(gone):,} photos that are not to be cut now, such as {min(gone)}: name another "
            "folder, or add --overwrite"
        )
    rows = {name: done[name] for name in names.values() if name in done}
    todo = [photo for photo, name in names.items() if name not in rows]
    before = len(rows)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(table) as beside:  # without a row that was cut short, or is to be made again
            beside.write_text(_text([dict(zip(COLUMNS, COLUMNS, strict=True)), *rows.values()]), encoding="utf-8")
        with table.open("a", encoding="utf-8", newline="") as file:
            for photo, cut in zip(todo, cutter.cut_all(_contents(todo)), strict=True):
                rows[names[photo]] = row = _write(photo, cut, out, cutter, replace=overwrite)
                file.write(_text([row]))
                file.flush()
                if progress is not None:
                    progress(len(rows), len(photos))
    except OSError as error:
        raise cannot_write(out, error) from error
    return _count(rows, before)


def _check_apart(source: Path, out: Path) -> None:
    """Raise `ConfigError` where crops would lie among the photos, and be cut again, or cannot be written."""
    folder, target = (source if source.is_dir() else source.parent).resolve(), out.resolve()
    if target == folder or (source.is_dir() and folder in target.parents):
        raise ConfigError(f"{out} lies in {source}, so that crops would be taken for photos: name a folder outside")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; the crops go into a folder")
    check_writable(out / CROPS_TABLE)


def _earlier(out: Path, cutter: FaceCutter, *, overwrite: bool) -> dict[str, dict[str, str]]:
    """Return the whole rows of an earlier run whose crops are there, by photo; with `overwrite`, delete these crops.

    Raises:
        ConfigError: the folder holds something else, or crops that were cut in another way.
    """
    table = out / CROPS_TABLE
    if not table.exists():
        if out.is_dir() and any(out.iterdir()) and not overwrite:
            raise ConfigError(f"{out} holds files and no {CROPS_TABLE}, so it is not written to: name another folder")
        return {}
    rows = _read(table)
    if overwrite:
        for row in rows:
            if row["crop"]:
                (out / row["crop"]).unlink(missing_ok=True)
        return {}
    own = (cutter.detector, _margin(cutter))
    if other := [row for row in rows if (row["detector"], row["margin"]) != own]:
        raise ConfigError(
            f"{out} was cut by {other[0]['detector']} with margin {other[0]['margin']}, and is to be by {own[0]} with "
            f"{own[1]}: name another folder, or add --overwrite"
        )
    whole = (row for row in rows if row["faces"] == "0" or (row["crop"] and (out / row["crop"]).is_file()))
    return {row["source"]: row for row in whole}


def _read(table: Path) -> list[dict[str, str]]:
    with open_csv(table) as reader:
        header = next(reader, None)
        if header != list(COLUMNS):
            raise ConfigError(f"{table} is no table of `fervit data crop`: name another folder")
        return [dict(zip(COLUMNS, row, strict=True)) for row in reader if len(row) == len(COLUMNS)]


def _contents(photos: list[Photo]) -> Iterator[bytes]:
    for photo in photos:
        try:
            yield read_regular(photo.path, limit=MAX_BYTES)
        except OSError:
            yield b""


def _write(photo: Photo, cut: FaceCut | ImageError, out: Path, cutter: FaceCutter, *, replace: bool) -> dict[str, str]:
    """Write a photo's crop; return its row."""
    row = dict.fromkeys(COLUMNS, "") | {"source": name_of(photo.source), "detector": cutter.detector}
    row["margin"] = _margin(cutter)
    if isinstance(cut, ImageError):
        return row | {"error": _why(photo, cut)}
    row["faces"] = str(cut.count)
    if cut.face is None or cut.crop is None:
        return row
    box = [f"{value:g}" for value in cut.face.box.to_list()]
    row |= dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)) | {"score": f"{cut.face.score:.4f}"}
    path, data = out / photo.crop, _png(cut.crop)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not replace and path.read_bytes() != data:
        return row | {"error": f"{IN_THE_WAY}: {photo.crop}"}
    with replacing(path) as beside:
        beside.write_bytes(data)
    return row | {"crop": name_of(photo.crop)}


def _why(photo: Photo, error: ImageError) -> str:
    """Return why a photo could not be read: what the system says, where there is no file to decode."""
    try:
        with photo.path.open("rb"):
            return str(error)
    except OSError as cause:
        return reason(cause)


def _png(crop: np.ndarray) -> bytes:
    image = Pillow.fromarray(crop)
    if max(image.size) > WAITING_PX:
        image = image.resize((WAITING_PX, WAITING_PX), Pillow.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _margin(cutter: FaceCutter) -> str:
    return f"{cutter.preprocess.crop_margin:g}"


def _text(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row.values() for row in rows)
    return text.getvalue()


def _count(rows: dict[str, dict[str, str]], before: int) -> CropCounts:
    made = [row for row in rows.values() if row["crop"]]
    return CropCounts(
        photos=len(rows),
        crops=len(made),
        several=sum(int(row["faces"]) > 1 for row in made),
        missed=sum(row["faces"] == "0" for row in rows.values()),
        failed=sum(bool(row["error"]) for row in rows.values()),
        before=before,
    )
