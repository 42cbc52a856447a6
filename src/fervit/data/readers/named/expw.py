"""ExpW (Zhang, Luo, Loy & Tang 2018): 91,793 faces on photos from the web, with one of seven expressions."""

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import EXPW
from fervit.data.listing import ReadOptions
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.lists import number, read_lines
from fervit.data.readers.named.survey import Survey
from fervit.errors import DataError

LIST = "label.lst"
EXAMPLE = "angry_actor_104.jpg 0 28 113 226 141 22.9362 0"


def find(found: Survey) -> str | None:
    """Return what makes a folder ExpW's beyond doubt, in words; None where nothing does."""
    return found.find(LIST)


def read(found: Survey, options: ReadOptions) -> Dataset | None:
    """Read ExpW as it is distributed: whole photos, and a list of boxes.

    - `label/label.lst`: lines of image name, number of the face, top, left, right and bottom of its box in px,
      confidence of the detector, and label; 0 to 6 are angry, disgust, fear, happy, sad, surprise, neutral;
    - `image/origin/angry_actor_104.jpg`, unpacked; the folder may have any name.

    Faces are cut out as a recognizer cuts them. There are no splits; all faces of a photo are on one side. Source: the
    data set's readme.

    Returns:
        None where there is no such list.

    Raises:
        DataError: a line of the list is malformed, or the photos are not there.
    """
    path = found.find(LIST)
    if path is None:
        return None
    rows = read_lines(found.root / path, 8, EXAMPLE)
    folder = found.folder_of(*(row.cells[0] for row in rows[:3]))
    if folder is None:
        raise DataError(f"{found.root / path} lists {rows[0].cells[0]}, but no folder here has it: unpack the photos")
    photos = []
    for row in rows:
        name, _, *numbers, _, label = row.cells
        top, left, right, bottom = (
            number(text, side, f"{found.root / path}, {row.place}")
            for text, side in zip(numbers, ("top", "left", "right", "bottom"), strict=True)
        )
        photos.append(Photo(f"{folder}/{name}".lstrip("/"), label, box=(left, top, right, bottom), line=row.place))
    return read_listed(found.root, Listed(EXPW, photos), options)
