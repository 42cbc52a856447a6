"""Geometry of the synthetic faces: who a person is, and where action units move that person's features.

Face coordinates: the origin lies at the middle of the head, x to the image's right, y down; one unit is
about half the width of a head. The chin is near y = 1.2, the mouth near 0.7,
the eyes near -0.1, the top near -1.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

EYE_Y, NOSE_Y, MOUTH_Y = -0.10, 0.36, 0.70
HAIR_STYLES = ("bald", "short", "parted", "fringe", "long")
_T = np.linspace(-1.0, 1.0, 21)  # along an eye or a mouth, from the image's left to its right
_U = np.linspace(0.0, 1.0, 9)  # along a brow, from the nose outward


@dataclass(frozen=True)
class Identity:
    """A person: what stays when the expression changes.

    Sizes are factors around 1 unless their name says otherwise; `skin`, `hair` and `lip_tone` are
    reflectances 0..1 (`lip_tone` relative to the skin); `beard`, `moustache` and `age` are strengths 0..1.
    """

    head_width: float
    jaw_width: float
    chin_y: float
    skin: float
    hair: float
    hair_style: str
    hairline_y: float
    brow_thickness: float
    brow_arch: float
    brow_height: float
    eye_size: float
    eye_gap: float
    eye_tilt: float
    iris: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    lip_tone: float
    asymmetry: float
    age: float
    beard: float
    moustache: float
    glasses: bool


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw a person at random."""

    def around(spread: float) -> float:
        return float(np.clip(rng.normal(1.0, spread), 1 - 2 * spread, 1 + 2 * spread))

    skin = float(rng.beta(2.4, 1.8)) * 0.45 + 0.38
    fair_hair = rng.random() < 0.3
    bearded = rng.random() < 0.14
    style = HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=(0.10, 0.30, 0.22, 0.16, 0.22)))]
    return Identity(
        head_width=around(0.045),
        jaw_width=around(0.08),
        chin_y=1.2 * around(0.03),
        skin=skin,
        hair=float(rng.uniform(0.3, 0.7)) if fair_hair else float(rng.uniform(0.03, 0.2)),
        hair_style=style,
        hairline_y=float(rng.uniform(-0.98, -0.78)),
        brow_thickness=around(0.22),
        brow_arch=around(0.3),
        brow_height=float(rng.normal(0, 0.018)),
        eye_size=around(0.08),
        eye_gap=around(0.05),
        eye_tilt=float(rng.normal(0, 0.018)),
        iris=float(rng.uniform(0.06, 0.3)),
        nose_width=around(0.13),
        nose_length=around(0.06),
        mouth_width=around(0.08),
        lip_fullness=around(0.2),
        lip_tone=float(rng.uniform(0.62, 0.85)),
        asymmetry=float(rng.normal(0, 0.007)),
        age=float(rng.beta(1.3, 2.2)),
        beard=float(rng.uniform(0.35, 0.9)) if bearded else 0.0,
        moustache=float(rng.uniform(0.4, 0.9)) if bearded or rng.random() < 0.05 else 0.0,
        glasses=bool(rng.random() < 0.12),
    )


@dataclass(frozen=True, eq=False)
class Eye:
    """One eye: `(N, 2)` lid curves from left to right, the iris's centre and radius, and the brow.

    `brow` is a `(2N, 2)` closed outline that begins at the inner end; `side` is -1 for the image's left.
    """

    side: int
    upper: np.ndarray
    lower: np.ndarray
    iris: tuple[float, float]
    iris_radius: float
    brow: np.ndarray


@dataclass(frozen=True, eq=False)
class Mouth:
    """A mouth: four `(N, 2)` curves from left to right, all of them from corner to corner.

    `upper_teeth` and `lower_teeth` say how much of the opening teeth fill, 0..1 of its height.
    """

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray
    upper_teeth: float
    lower_teeth: float

    @property
    def corners_y(self) -> float:
        """Mean y of the two corners."""
        return float(self.inner_upper[[0, -1], 1].mean())

    @property
    def centre_y(self) -> float:
        """The y of the middle of the line (or opening) between the lips."""
        return float((self.inner_upper[len(_T) // 2, 1] + self.inner_lower[len(_T) // 2, 1]) / 2)

    @property
    def opening(self) -> float:
        """Largest distance between the lips."""
        return float((self.inner_lower[:, 1] - self.inner_upper[:, 1]).max())


@dataclass(frozen=True, eq=False)
class Crease:
    """A wrinkle: a `(N, 2)` curve, its depth 0..1 and its width in face units."""

    points: np.ndarray
    depth: float
    width: float = 0.03


@dataclass(frozen=True, eq=False)
class Shape:
    """A face with an expression, in face coordinates."""

    outline: np.ndarray
    eyes: tuple[Eye, Eye]
    mouth: Mouth
    creases: tuple[Crease, ...]
    chin_y: float
    nose_y: float
    nostril_y: float
    cheek: float
    chin_boss: float


def face_shape(person: Identity, units: Mapping[str, float]) -> Shape:
    """Move a person's features by action units.

    Args:
        person: whose face.
        units: action unit numbers as text (`"12"`) to intensity 0..1; absent ones are 0. See
            `fervit.data.synthetic.dataset.PROTOTYPES` for the units that can be drawn.
    """
    au = {name: 0.0 for name in _UNITS} | dict(units)
    mouth = _mouth(person, au)
    creases = _upper_creases(person, au) + _lower_creases(person, au, mouth)
    drop = _jaw_drop(au)
    chin_y = person.chin_y + 0.72 * drop - 0.03 * au["17"]
    return Shape(
        outline=_outline(person, chin_y, au),
        eyes=(_eye(person, au, -1), _eye(person, au, 1)),
        mouth=mouth,
        creases=tuple(c for c in creases if c.depth > 0.04),  # fainter ones vanish at 48 px
        chin_y=chin_y,
        nose_y=NOSE_Y * person.nose_length - 0.03 * au["9"],
        nostril_y=-0.05 * au["9"] - 0.02 * au["10"],
        cheek=min(1.0, 0.25 + 0.8 * au["6"] + 0.25 * au["12"]),
        chin_boss=au["17"],
    )


_UNITS = ("1", "2", "4", "5", "6", "7", "9", "10", "12", "15", "16", "17", "20", "23", "24", "25", "26", "27")


def _jaw_drop(au: Mapping[str, float]) -> float:
    return 0.14 * au["26"] + 0.34 * au["27"]


def _outline(person: Identity, chin_y: float, au: Mapping[str, float]) -> np.ndarray:
    w, jaw = 0.94 * person.head_width, person.jaw_width
    cheek = 0.02 * au["12"] + 0.02 * au["6"]
    half = [
        (0.0, -1.32),
        (0.56 * w, -1.2),
        (0.9 * w, -0.75),
        (w, -0.15),
        (0.95 * w + cheek, 0.35),
        (0.76 * jaw, 0.3 + 0.45 * chin_y),
        (0.42 * jaw, chin_y - 0.13),
        (0.17 * jaw, chin_y - 0.01),
    ]
    points = [*half, (0.0, chin_y), *((-x, y) for x, y in half[:0:-1])]
    return smooth_closed(np.array(points))


def smooth_closed(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """Return the closed Catmull-Rom curve through `(N, 2)` points, `(N * steps, 2)`."""
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.arange(steps)[None, :, None] / steps
    p0, p1, p2, p3 = (p[:, None] for p in (before, points, after, beyond))
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return np.asarray(curve.reshape(-1, points.shape[1]))


def _eye(person: Identity, au: Mapping[str, float], side: int) -> Eye:
    size = person.eye_size
    centre_x = side * 0.41 * person.eye_gap
    width = 0.205 * size
    squint = min(1.0, 0.8 * au["7"] + 0.5 * au["6"] + 0.6 * au["9"])
    # The lid's droop of sadness is no unit of its own: it comes with the inner brow's pull (1+4) without 5.
    droop = au["1"] * au["4"] * (1 - au["5"]) * (1 - au["2"])
    upper = size * (0.098 + 0.085 * au["5"] - 0.040 * squint - 0.022 * droop - 0.018 * au["4"] * (1 - au["5"]))
    lower = size * (0.062 + 0.022 * au["5"] * (1 - squint) - 0.044 * squint)
    outward = side * _T
    y = EYE_Y - person.eye_tilt * outward + side * person.asymmetry
    # The outer half of the upper lid sinks in sadness; the inner half is pushed down by a frown.
    tilt = 0.035 * droop * outward - 0.030 * au["4"] * (1 - au["1"]) * outward
    lift = (1 - np.abs(_T) ** 2.3) * (1 - 0.18 * outward)
    fall = (1 - np.abs(_T) ** 2.0) * (1 + 0.15 * outward)
    x = centre_x + width * _T
    arch = 0.02 * au["6"] * (1 - _T**2)  # a raised cheek bends the lower lid upward
    upper_y = y + tilt - upper * lift
    lower_y = np.maximum(y + 0.5 * tilt + lower * fall - arch, upper_y + 0.006)
    return Eye(
        side=side,
        upper=np.stack([x, upper_y], 1),
        lower=np.stack([x, lower_y], 1),
        iris=(centre_x, EYE_Y - 0.012 + side * person.asymmetry),
        iris_radius=0.098 * (0.5 + 0.5 * size),
        brow=_brow(person, au, side),
    )


def _brow(person: Identity, au: Mapping[str, float], side: int) -> np.ndarray:
    inner_x = 0.165 - 0.055 * au["4"] - 0.02 * au["9"]
    x = inner_x + (0.70 - inner_x) * _U
    arch = 0.075 * person.brow_arch * np.sin(np.pi * (_U * 0.85 + 0.08))
    inner, outer = (1 - _U) ** 1.4, np.sin(np.pi * (_U * 0.72 + 0.1))
    # With unit 1 the inner ends go up although 4 pulls: what 4 leaves is the drawing together.
    lower = au["4"] * (1 - 0.9 * au["1"]) * (0.145 - 0.085 * _U)
    sink = 0.05 * au["4"] * au["1"] * (1 - au["2"]) * _U  # and the outer ends follow 4 down
    y = -0.40 + person.brow_height - arch + lower + sink + 0.06 * au["9"] * inner
    y = y - 0.165 * au["1"] * inner - 0.165 * au["2"] * outer * (1 - 0.45 * au["4"])
    y = y + 0.06 * _U**3 + side * person.asymmetry
    half = 0.038 * person.brow_thickness * (1.1 - 0.75 * _U**1.6)
    top, bottom = np.stack([side * x, y - half], 1), np.stack([side * x, y + half], 1)
    return np.concatenate([top, bottom[::-1]])


def _mouth(person: Identity, au: Mapping[str, float]) -> Mouth:
    drop = _jaw_drop(au)
    part = 0.045 * au["25"] + drop
    bared = au["10"] * au["25"]
    half = 0.335 * person.mouth_width
    half *= 1 + 0.32 * au["12"] + 0.3 * au["20"] - 0.15 * au["23"] - 0.1 * au["26"] * (1 - au["12"])
    half *= 1 - 0.26 * au["27"] * (1 - au["12"]) - 0.06 * au["17"]
    t = np.abs(_T)
    bend = -0.18 * au["12"] * (t**2 - 0.2) + 0.15 * au["15"] * (t**2.4 - 0.15) + 0.04 * au["20"] * t**3
    bend += 0.035 * au["17"] * t**2 + 0.02 * au["9"] * t**2
    y = MOUTH_Y + bend + 0.10 * drop - 0.03 * au["17"] - 0.025 * (au["9"] + au["10"])
    y = y + person.asymmetry * _T * 1.5
    x = half * _T + person.asymmetry
    # A stretched or bared mouth opens as a slot, a dropped jaw as an oval, a smile as a bowl.
    square = min(1.0, au["20"] + bared)
    dome = np.sqrt(np.maximum(0, 1 - t ** (2 + 3 * square)))
    smile = (1 - square) * min(1.0, max(0.0, 2.5 * au["12"] - 0.6))
    bowl = smile * (1 - t**2) + (1 - smile) * dome
    up = (0.3 * part + 0.05 * bared) * (1 - 0.8 * smile)
    inner_upper = y - up * bowl
    inner_lower = y + (0.75 * part + 0.02 * bared) * bowl
    tight = 1 - 0.7 * au["24"] - 0.5 * au["23"] * (1 - au["24"])
    thin = tight * (1 - 0.25 * au["12"] - 0.25 * au["20"]) * person.lip_fullness
    raised = 0.055 * au["10"] + 0.035 * au["9"]
    bow = (1 - t**2.2) - 0.22 * np.exp(-((_T / 0.16) ** 2)) * (1 - raised * 8 if raised < 0.1 else 0.2)
    outer_upper = inner_upper - (0.062 * thin + 0.45 * raised) * bow - 0.01 * dome
    pout = 1 + 0.35 * au["17"] * (1 - au["24"]) + 0.35 * au["16"]
    outer_lower = inner_lower + 0.092 * thin * pout * (1 - t**2.4) + 0.008 * dome
    return Mouth(
        outer_upper=np.stack([x, outer_upper], 1),
        inner_upper=np.stack([x, inner_upper], 1),
        inner_lower=np.stack([x, inner_lower], 1),
        outer_lower=np.stack([x, outer_lower], 1),
        upper_teeth=min(0.9, 0.75 * au["12"] + 0.5 * au["20"] + bared),
        lower_teeth=min(0.5, 0.45 * au["20"] + 0.6 * au["16"] + 0.5 * bared),
    )


def _pair(points: list[tuple[float, float]], depth: float, width: float = 0.03) -> list[Crease]:
    """Return a crease of the image's right half and its mirror image."""
    curve = np.array(points)
    return [Crease(curve, depth, width), Crease(curve * (-1, 1), depth, width)]


def _upper_creases(person: Identity, au: Mapping[str, float]) -> list[Crease]:
    age, brow_y = person.age, -0.40 + person.brow_height
    lines = []
    raised = min(au["1"], au["2"])
    xs = np.linspace(-0.5, 0.5, 9)
    for k, y in enumerate((-0.60, -0.71, -0.82)):  # the forehead's long lines: 1+2
        curve = np.stack([xs, y - 0.10 * raised + 0.25 * xs**2 * (1 - au["4"])], 1)
        lines.append(Crease(curve, (0.85 - 0.15 * k) * raised + 0.12 * age, 0.026))
    inner = au["1"] * (1 - au["2"])  # the short middle ones: 1 alone
    for y in (-0.62, -0.72):
        curve = np.array([(-0.17, y + 0.03), (0.0, y), (0.17, y + 0.03)])
        lines.append(Crease(curve, 0.7 * inner, 0.028))
    frown = au["4"] * (1 - 0.45 * au["1"])
    lines += _pair([(0.055, brow_y - 0.06), (0.048, brow_y + 0.05), (0.062, brow_y + 0.14)], 0.95 * frown)
    for y in (-0.17, -0.08, 0.01):  # across the root of the nose: 9
        curve = np.array([(-0.13, y + 0.03), (0.0, y - 0.01), (0.13, y + 0.03)])
        lines.append(Crease(curve, 0.9 * au["9"], 0.026))
    bag = 0.1 + 0.25 * age + 0.55 * au["6"] + 0.3 * au["9"] + 0.2 * au["7"]
    lines += _pair([(0.23, EYE_Y + 0.12), (0.40, EYE_Y + 0.155), (0.60, EYE_Y + 0.09)], min(0.9, bag), 0.028)
    for slope in (-0.07, 0.0, 0.07):  # crow's feet
        lines += _pair([(0.66, EYE_Y + slope * 0.4), (0.78, EYE_Y + slope * 1.5)], 0.75 * au["6"], 0.02)
    return lines


def _lower_creases(person: Identity, au: Mapping[str, float], mouth: Mouth) -> list[Crease]:
    x, y = float(mouth.inner_upper[-1, 0]), mouth.corners_y
    wing_y = NOSE_Y * person.nose_length - 0.06 * au["9"] - 0.04 * au["10"]
    fold = 0.10 + 0.2 * person.age + 0.55 * au["12"] + 0.6 * au["10"] + 0.6 * au["9"]
    fold_points = [
        (0.2 * person.nose_width, wing_y - 0.06),
        (0.5 * (x + 0.2) + 0.08 + 0.08 * au["12"], 0.5 * (wing_y + y) - 0.03),
        (x + 0.09, y - 0.01),
        (x + 0.09, y + 0.10 * (1 - au["12"])),
    ]
    chin = np.array([(-0.2, 1.0), (0.0, 0.94), (0.2, 1.0)]) * (1, person.chin_y / 1.2)
    chin[:, 1] += 0.5 * _jaw_drop(au)
    return [
        *_pair(fold_points, min(1.0, fold), 0.04),
        *_pair([(0.07, -0.02), (0.14, 0.08), (0.19, 0.18)], 0.85 * au["9"]),  # down the sides of the nose
        *_pair([(x + 0.01, y + 0.01), (x + 0.06, y + 0.12)], 0.8 * au["15"], 0.035),
        *_pair([(x + 0.05, y - 0.06), (x + 0.1, y + 0.06)], 0.5 * au["20"] + 0.4 * au["24"]),
        Crease(chin, 0.15 + 0.7 * au["17"], 0.035),
    ]
