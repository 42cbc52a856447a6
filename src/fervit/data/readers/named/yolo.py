"""Data sets in YOLO's form for detection, as Roboflow and Kaggle have them: a text file of boxes beside each image."""

from pathlib import Path

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import Convention
from fervit.data.listing import ReadOptions
from fervit.data.readers.class_folders import SUFFIXES
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.lists import number, read_text
from fervit.data.readers.named.survey import Below, Survey
from fervit.data.source_files import cannot_read, one_line
from fervit.data.splits import find_split
from fervit.errors import DataError, MissingExtra

CONVENTION = Convention("YOLO")
CONFIGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
IMAGES, LABELS = "images", "labels"


def find(found: Survey) -> str | None:
    """Return what makes a folder a data set in YOLO's form beyond doubt, in words; None where nothing does."""
    path = found.find(*CONFIGS)
    return f"{path} with {LABELS} beside {IMAGES}" if path is not None and _pairs(found) else None


def read(found: Survey, options: ReadOptions) -> Dataset | None:
    """Read a data set in YOLO's form for detection.

    - `data.yaml` with `names`, a list or a mapping from numbers;
    - `train/images/x.jpg` with `train/labels/x.txt`, or `images/train/x.jpg` with `labels/train/x.txt`; also `valid`
      (`val`) and `test`; each line of the text is a face: number of its class, then the centre, width and height of its
      box as fractions of the image's.

    Faces are cut out as a recognizer cuts them; a box as large as its image is a face crop, and stays as it is. All
    faces of an image are on one side. Images without a labelled face are counted. Source: the "Ultralytics YOLO format"
    in Ultralytics' documentation.

    Returns:
        None where there are no such folders: YOLO's trees for classification (train/angry/x.jpg) are class folders.

    Raises:
        DataError: the names or a text file are malformed, or there is no labelled face.
    """
    pairs = _pairs(found)
    config = found.find(*CONFIGS)
    if not pairs:
        return None
    if config is None:
        raise DataError(
            f"{found.root} has {pairs[0][0].path} and {pairs[0][1]}, but no data.yaml with the names of classes"
        )
    names = _names(found.root / config)
    photos: list[Photo] = []
    empty: list[str] = []
    for images, labels in pairs:
        split = next((name for name in reversed(images.path.split("/")) if find_split(name)), None)
        try:
            files = sorted(path.name for path in (found.root / images.path).iterdir())
        except OSError as error:
            raise cannot_read(found.root / images.path, error) from error
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                faces = _faces(found.root, images.at(name), f"{labels}/{Path(name).stem}.txt", split)
                photos += faces
                empty += [] if faces else [images.at(name)]
    notes = (f"{len(empty):,} images have no labelled face and are left out, the first is {empty[0]}",) if empty else ()
    return read_listed(found.root, Listed(CONVENTION, photos, notes, names), options)


def _pairs(found: Survey) -> list[tuple[Below, str]]:
    """Return the folders of images, each with the path of the folder of its labels."""
    paths = {folder.path for folder in found.folders}
    pairs = []
    for folder in found.with_images():
        parts = folder.path.split("/")
        for k in (len(parts) - 1, len(parts) - 2):
            if k >= 0 and parts[k].lower() == IMAGES:
                labels = "/".join([*parts[:k], LABELS, *parts[k + 1 :]])
                if labels in paths:
                    pairs.append((folder, labels))
                    break
    return pairs


def _names(path: Path) -> tuple[str, ...]:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("reading data.yaml", "train") from error
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no YAML file that can be read ({one_line(error)})") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[k] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path} has no names of classes; expected a line such as names: [angry, happy]")
    return tuple(str(name) for name in names)


def _faces(root: Path, image: str, labels: str, split: str | None) -> list[Photo]:
    """Return the faces of an image; none where it has no text file, or an empty one."""
    if not (root / labels).is_file():
        return []
    photos = []
    for line, text in enumerate(read_text(root / labels).splitlines(), start=1):
        cells = text.split()
        if not cells:
            continue
        place = f"line {line} of {labels}"
        if len(cells) != 5:
            raise DataError(
                f"{root}: {place} has {len(cells)} numbers, expected 5: class, centre x, centre y, width, height"
            )
        x, y, width, height = (number(cell, "a box", f"{root}, {place}") for cell in cells[1:])
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        photos.append(Photo(image, cells[0], split, box=box, relative=True, line=place))
    return photos
