"""Synthetic faces: an embedded data set in FER2013's form for tests, demonstrations and checks of a recipe.

A face is drawn from action units (Ekman & Friesen 1978, Facial Action Coding System): brows, lids, cheeks,
nose, lips and jaw move as the units say, by the combinations that belong to each expression. The person, the
view, the light, what covers the face and the camera vary at random. It is no substitute for photographs: a
model that is trained here has learnt drawings.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.data.synthetic.shape import Identity, draw_identity, face_shape
from fervit.errors import DataError, unknown
from fervit.labels import FER7, canonical
from fervit.media.opencv import opencv

cv2 = opencv()

DEFAULT_COUNT = 2100  # 300 people with seven expressions each; drawn in a few seconds

# Action units of each expression, with the fraction of the full movement at intensity 1; one variant
# is drawn per face. Combinations: Ekman & Friesen 1978, FACS, table 11-1, as in EMFACS (Friesen & Ekman
# 1983). The fractions are ours, set by eye.
PROTOTYPES: dict[str, tuple[Mapping[str, float], ...]] = {
    "angry": (
        {"4": 1.0, "5": 0.5, "7": 0.7, "23": 0.7, "24": 1.0, "17": 0.5},
        {"4": 1.0, "5": 0.6, "7": 0.6, "23": 0.9, "24": 0.6},
        {"4": 1.0, "5": 0.5, "7": 0.7, "10": 0.4, "23": 0.5, "25": 1.0, "26": 0.4, "16": 0.3},
    ),
    "disgust": (
        {"9": 1.0, "10": 0.7, "17": 0.8, "4": 0.3, "7": 0.4},
        {"9": 1.0, "10": 1.0, "25": 1.0, "16": 0.6, "15": 0.3, "7": 0.4},
        {"9": 0.9, "15": 0.6, "16": 0.4, "10": 0.7, "17": 0.4, "6": 0.4},
    ),
    "fear": (
        {"1": 1.0, "2": 0.5, "4": 0.8, "5": 1.0, "20": 1.0, "25": 1.0, "26": 0.3},
        {"1": 1.0, "2": 0.4, "4": 0.8, "5": 1.0, "20": 0.9, "26": 0.7, "25": 1.0},
        {"1": 1.0, "2": 0.4, "4": 0.9, "5": 1.0, "20": 1.0, "25": 0.5},
    ),
    "happy": (
        {"6": 0.9, "12": 1.0, "25": 1.0, "26": 0.5},
        {"6": 0.8, "12": 1.0, "25": 1.0},
        {"6": 0.6, "12": 0.9},
    ),
    "sad": (
        {"1": 1.0, "4": 0.7, "15": 1.0},
        {"1": 1.0, "4": 0.7, "15": 0.9, "17": 0.6},
        {"1": 0.9, "4": 0.8, "15": 0.9, "6": 0.3, "17": 0.4},
    ),
    "surprise": (
        {"1": 1.0, "2": 1.0, "5": 0.7, "26": 1.0, "25": 1.0},
        {"1": 1.0, "2": 1.0, "5": 0.8, "27": 1.0, "25": 1.0},
        {"1": 0.9, "2": 1.0, "5": 0.6, "27": 0.6, "25": 1.0},
    ),
    "neutral": ({},),
}
ACTION_UNITS = tuple(sorted({unit for variants in PROTOTYPES.values() for v in variants for unit in v}, key=int))

_OPENING = ("25", "26", "27")  # units that part the lips are visible at any strength: no stray movements of these
# By block of seven faces (one person): 14 train, 3 public_test, 3 private_test of every 20, spread so that a
# data set of five people already has all three.
_SPLIT_PATTERN = "TTVTPTTTVTTPTTTVTTPT"
_SPLIT_OF = {"T": SPLITS.index(TRAIN), "V": SPLITS.index(PUBLIC_TEST), "P": SPLITS.index(PRIVATE_TEST)}


def action_units(label: str, rng: np.random.Generator, *, intensity: float = 1.0) -> dict[str, float]:
    """Draw the action units of one face: a variant of the prototype, unevenly strong, with strays.

    Args:
        label: one of `FER7`.
        rng: where chance comes from.
        intensity: strength of the expression, 0..1.

    Returns:
        Every name in `ACTION_UNITS` with its intensity, 0..1.

    Raises:
        DataError: unknown label.
    """
    label = canonical(label)
    if label not in PROTOTYPES:
        raise DataError(unknown("expression", label, FER7))
    variants = PROTOTYPES[label]
    shown = variants[int(rng.integers(len(variants)))]
    strength = np.clip(rng.normal(1.0, 0.12, len(ACTION_UNITS)), 0.7, 1.2)
    # Faces at rest move, too: a quarter of the other units are weakly active, without meaning.
    strays = np.where(rng.random(len(ACTION_UNITS)) < 0.25, rng.uniform(0, 0.18, len(ACTION_UNITS)), 0.0)
    units = {}
    for k, unit in enumerate(ACTION_UNITS):
        stray = 0.0 if unit in _OPENING else strays[k]
        units[unit] = float(min(1.0, max(shown.get(unit, 0.0) * intensity * strength[k], stray)))
    return units


def draw_face(
    label: str,
    rng: np.random.Generator,
    *,
    size_px: int = 48,
    intensity: float | None = None,
    identity: Identity | None = None,
    variation: float = 1.0,
) -> np.ndarray:
    """Draw one face.

    Args:
        label: one of `FER7`.
        rng: where chance comes from; the same state draws the same face.
        size_px: side of the image; shapes do not depend on it.
        intensity: strength of the expression, 0..1; drawn from 0.5..1 when None.
        identity: the person; drawn when None.
        variation: 1 for a data set's spread of pose, light, noise and covered faces, 0 for a studio portrait.

    Returns:
        `(size_px, size_px)` uint8, grey.

    Raises:
        DataError: unknown label, or a value out of range.
    """
    from fervit.data.synthetic.canvas import draw_scene
    from fervit.data.synthetic.face import render

    if size_px < 8:
        raise DataError(f"a face needs at least 8 px, not {size_px}")
    if intensity is not None and not 0 <= intensity <= 1:
        raise DataError(f"the intensity of an expression lies in 0..1, not {intensity}")
    if not 0 <= variation <= 1:
        raise DataError(f"the variation of synthetic faces lies in 0..1, not {variation}")
    person = identity or draw_identity(rng)
    drawn = float(rng.uniform(0.5, 1.0))
    units = action_units(label, rng, intensity=drawn if intensity is None else intensity)
    return render(person, face_shape(person, units), draw_scene(rng, variation), rng=rng, size_px=size_px)


def synthesize(count: int, *, seed: int = 0, size_px: int = 48) -> Dataset:
    """Draw a data set of `FER7` faces.

    Every seven consecutive faces are one person who shows each expression once, in random order, and a person
    belongs to one split only: 70 % of the people to `train`, 15 % each to `public_test` and `private_test`
    (from 29 faces on, all three exist). A face depends on `seed` and its index alone, so that a smaller data
    set is the beginning of a larger one. Bits may differ between versions and builds of OpenCV and NumPy, and
    `data_hash` with them.

    Args:
        count: number of faces.
        seed: of the whole data set, 0 or more.
        size_px: side of the images.

    Returns:
        A data set with `(count, size_px, size_px, 1)` uint8 images; `sources` name the person.

    Raises:
        DataError: `count`, `seed` or `size_px` is out of range.
    """
    if count < 1:
        raise DataError(f"a synthetic data set needs at least 1 face, not {count}")
    if seed < 0:
        raise DataError(f"the seed of a synthetic data set is 0 or more, not {seed}")
    person = np.arange(count) // len(FER7)
    people = range(int(person[-1]) + 1)
    targets = np.concatenate([_class_order(seed, p) for p in people])[:count]
    identities = [draw_identity(np.random.default_rng((seed, p, 1))) for p in people]
    images = np.empty((count, size_px, size_px, 1), dtype=np.uint8)
    for k, (target, p) in enumerate(zip(targets.tolist(), person.tolist(), strict=True)):
        rng = np.random.default_rng((seed, k, 2))
        images[k, :, :, 0] = draw_face(FER7[target], rng, size_px=size_px, identity=identities[p])
    split_ids = _split_ids(person)
    return Dataset(
        name=f"synthetic:{count}" + (f":{seed}" if seed else ""),
        labels=FER7,
        images=images,
        targets=targets,
        split_ids=split_ids,
        rows=np.arange(count, dtype=np.int64),
        data_hash=content_hash(images, targets, split_ids),
        sources=[f"synthetic person {p}" for p in person.tolist()],
    )


def _split_ids(person: np.ndarray) -> np.ndarray:
    """Return `(N,)` int8 indices into `SPLITS` of faces, from the numbers of the people who show them."""
    pattern = np.array([_SPLIT_OF[letter] for letter in _SPLIT_PATTERN], dtype=np.int8)
    return np.asarray(pattern[person % len(pattern)])


def _class_order(seed: int, person: int) -> np.ndarray:
    return np.random.default_rng((seed, person, 0)).permutation(len(FER7)).astype(np.int64)


def parse_synthetic(source: str) -> tuple[int, int] | None:
    """Read the name of a synthetic data set, `synthetic[:COUNT[:SEED]]`.

    >>> parse_synthetic("synthetic:700:5")
    (700, 5)

    Returns:
        `(count, seed)`, or None when `source` names something else.

    Raises:
        DataError: it begins as such a name but goes on otherwise.
    """
    name, *rest = source.split(":")
    if name != "synthetic":
        return None
    if len(rest) > 2 or not all(re.fullmatch(r"[0-9]{1,9}", part) for part in rest) or (rest and int(rest[0]) < 1):
        raise DataError(
            f"{source!r} is not a synthetic data set: expected synthetic, synthetic:COUNT or "
            "synthetic:COUNT:SEED with COUNT at least 1, such as synthetic:700"
        )
    return (int(rest[0]) if rest else DEFAULT_COUNT), (int(rest[1]) if len(rest) == 2 else 0)


def drawing_modules() -> list[Path]:
    """Return the files of this package: all of the code that decides what is drawn, and nothing else."""
    return sorted(Path(__file__).parent.glob("*.py"))


def drawing_digest() -> str:
    """Return a short digest of all that decides the pixels: the drawing code, numpy and OpenCV."""
    digest = hashlib.sha256(f"{np.__version__} {cv2.__version__}".encode())
    for path in drawing_modules():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
