"""Faces that lie on their side or upside down: landmarks that stand as the face does.

The network finds faces at any angle, with a lower score, but its landmarks always stand upright: of a face that is
upside down, the "eyes" are at its chin. So where the score is low, the detector looks again at the face's surroundings
turned by each right angle, and the angle with the highest score is the face's. `docs/video.md` has what it brings.
"""

from collections.abc import Sequence

import numpy as np

from fervit.faces.base import FaceDetector, shrink
from fervit.media.crops import roll_deg
from fervit.media.opencv import opencv
from fervit.types import Box, Face, Image

# Measured on nine photos turned by 90, 135, 180 and 270 degrees: turned faces scored 0.90 at most, upright ones 0.91
# and more except for one; of 737 upright faces of RAF-DB with any score, two were taken for turned.
SURE_SCORE = 0.91  # not looked at again
DOUBTFUL_SCORE = 0.7  # below it, or without a face, the whole photo is turned
MIN_GAIN = 0.02  # of the score, from the upright to the turned face
MIN_PHOTO_GAIN = 0.1  # the same, for a whole photo
AROUND = 2.0  # sides of the box
LOOK_PX = 160  # side of the surroundings when they are turned: 0.6 ms for each angle


def gives_landmarks(detector: FaceDetector) -> bool:
    """Return whether a detector's faces have landmarks, without which a turned face cannot be set upright."""
    return bool(getattr(detector, "landmarks", False))


def set_upright(detector: FaceDetector, image: Image, faces: Sequence[Face]) -> list[Face]:
    """Return faces of `image` in their order, the turned ones with the box and the landmarks of their own angle."""
    return [face if face.score >= SURE_SCORE else _upright(detector, image, face) for face in faces]


def turn_photo(detector: FaceDetector, image: Image, faces: Sequence[Face]) -> list[Face]:
    """Return the faces of the right angle by which a photo has to be turned; `faces`, where that is none.

    Where all faces lie at one angle, the photo is turned by it: upright, more may be found. Where there is no face,
    or a doubtful one, it is turned by each.

    Args:
        detector: one that gives landmarks.
        image: the photo.
        faces: what `set_upright` returned for it.
    """
    quarters = {round(roll_deg(face.landmarks) / 90) % 4 for face in faces if face.landmarks is not None}
    if len(quarters) == 1 and (quarter := quarters.pop()):
        found = [_turned_back(face, quarter, image) for face in _faces_at(detector, image, quarter)]
        return found if len(found) >= len(faces) else list(faces)
    best = max((face.score for face in faces), default=0.0)
    if best >= DOUBTFUL_SCORE:
        return list(faces)
    turned = [(_faces_at(detector, image, k), k) for k in (1, 2, 3)]
    found, quarter = max(turned, key=lambda pair: max((face.score for face in pair[0]), default=0.0))
    if not found or found[0].score < best + MIN_PHOTO_GAIN:
        return list(faces)
    return [_turned_back(face, quarter, image) for face in found]


def _upright(detector: FaceDetector, image: Image, face: Face) -> Face:
    side = max(1, round(AROUND * max(face.box.width, face.box.height)))
    left, top = round((face.box.x1 + face.box.x2 - side) / 2), round((face.box.y1 + face.box.y2 - side) / 2)
    rows = image.take(np.arange(top, top + side), axis=0, mode="clip")
    around = shrink(rows.take(np.arange(left, left + side), axis=1, mode="clip"), LOOK_PX)
    scale = side / len(around)
    looks = [_middle_face(_faces_at(detector, around, k), len(around)) for k in range(4)]
    scores = [0.0 if look is None else look.score for look in looks]
    best = int(np.argmax(scores))
    found = looks[best]
    if best == 0 or found is None or scores[best] < scores[0] + MIN_GAIN:
        return face
    found = _turned_back(found, best, around)
    b, marks = found.box, found.landmarks
    box = Box(*(float(v) for v in (b.x1 * scale + left, b.y1 * scale + top, b.x2 * scale + left, b.y2 * scale + top)))
    return Face(box, face.score, None if marks is None else marks * scale + (left, top))


def _faces_at(detector: FaceDetector, image: Image, quarter: int) -> list[Face]:
    """Return the faces of an image that is turned counter-clockwise by so many right angles."""
    cv2 = opencv()
    codes = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
    turned = np.asarray(cv2.rotate(image, codes[quarter])) if quarter else image
    return detector.detect([turned])[0]


def _middle_face(faces: Sequence[Face], side: int) -> Face | None:
    """Return the most confident face in the middle of a square: beside it may be neighbours."""
    for face in faces:
        x, y = (face.box.x1 + face.box.x2) / 2, (face.box.y1 + face.box.y2) / 2
        if max(abs(x - side / 2), abs(y - side / 2)) < side / 4:
            return face
    return None


def _turned_back(face: Face, quarter: int, image: Image) -> Face:
    """Return a face of the turned image in the coordinates of `image`."""
    height, width = image.shape[:2]

    def back(points: np.ndarray) -> np.ndarray:  # (N, 2)
        u, v = points[:, 0], points[:, 1]
        xy = {0: (u, v), 1: (width - v, u), 2: (width - u, height - v), 3: (v, height - u)}[quarter]
        return np.stack(xy, axis=1)

    corners = back(np.array([[face.box.x1, face.box.y1], [face.box.x2, face.box.y2]]))
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    box = Box(float(x1), float(y1), float(x2), float(y2))
    return Face(box, face.score, None if face.landmarks is None else back(face.landmarks))
