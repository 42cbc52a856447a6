"""Painting of the synthetic faces: a shaded head from geometry, seen and lit from a drawn direction.

Skin, hair and features are painted as reflectance; wrinkles, nose, cheeks and lips also as height. The slope
of the height field tilts the normals of an ellipsoidal head, so that all shading agrees with the light.
"""

from functools import lru_cache

import numpy as np

from fervit.data.synthetic.canvas import SUPERSAMPLING, Canvas, Scene, grey, grid
from fervit.data.synthetic.shape import EYE_Y, MOUTH_Y, Eye, Identity, Mouth, Shape, smooth_closed
from fervit.media.opencv import opencv

cv2 = opencv()


def render(person: Identity, shape: Shape, scene: Scene, *, rng: np.random.Generator, size_px: int = 48) -> np.ndarray:
    """Paint a face.

    Returns:
        `(size_px, size_px)` uint8, grey.
    """
    side = size_px * (SUPERSAMPLING if size_px <= 96 else 2)
    canvas = Canvas(side, scene)
    _background(canvas, scene, rng)
    outline = canvas.project(shape.outline, 0.45 * np.clip((shape.outline[:, 1] - 0.2) / 0.9, 0, 1))
    head = _head(canvas, person, shape, outline)
    soft = _relief(canvas, person, shape)
    _wrinkles(canvas, shape, soft)
    _paint_mouth(canvas, person, shape.mouth)
    for eye in shape.eyes:
        _paint_eye(canvas, person, eye)
    _paint_nostrils(canvas, person, shape)
    _paint_hair(canvas, person, shape)
    soft *= 1 - _blend_hair(canvas, person, rng)  # no wrinkles on a fringe
    light = _shade(canvas, scene, head, soft)
    image = canvas.albedo.astype(np.float32) * light
    if person.glasses and scene.cover != "sunglasses":
        _glasses(canvas, image, person, dark=False)
    _cover(canvas, image, person, scene, rng)
    return _photograph(image, scene, rng, size_px)


def _background(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    coarse = rng.normal(scene.background, 0.13, (5, 5)).astype(np.float32)
    wide = cv2.resize(coarse, (canvas.side, canvas.side), interpolation=cv2.INTER_CUBIC)
    canvas.albedo[:] = np.clip(wide * 255, 0, 255)
    if rng.random() < 0.5:  # a door frame, a shelf
        x, slant = rng.uniform(0, canvas.side, 2), 0.05 * canvas.side
        corners = np.array([(x[0], 0), (x[1], 0), (x[1] + slant, canvas.side), (x[0] - slant, canvas.side)])
        canvas.fill(canvas.albedo, corners, grey(float(rng.uniform(0.05, 0.95))))


def _head(canvas: Canvas, person: Identity, shape: Shape, outline: np.ndarray) -> np.ndarray:
    skin, hair = person.skin, person.hair
    if person.hair_style == "long":
        back = [
            (-1.12, -0.6),
            (-0.75, -1.35),
            (0, -1.55),
            (0.75, -1.35),
            (1.12, -0.6),
            (1.15, 1.5),
            (-1.15, 1.5),
        ]
        canvas.fill(canvas.albedo, canvas.project(smooth_closed(np.array(back)), -0.2), grey(hair * 0.8))
    neck = np.array([(-0.52, 0.7), (0.52, 0.7), (0.6, 1.6), (-0.6, 1.6)]) * (person.jaw_width, 1)
    canvas.fill(canvas.albedo, canvas.project(neck, -0.1), grey(skin * 0.6))
    shirt = np.array([(-1.5, 1.6), (-0.62, 1.3), (0, 1.5), (0.62, 1.3), (1.5, 1.6), (1.5, 2), (-1.5, 2)])
    canvas.fill(canvas.albedo, canvas.project(shirt, -0.1), grey(0.9 - skin))
    if person.hair_style != "long":
        angle = np.linspace(0, 2 * np.pi, 16)
        for ear_side in (-1, 1):
            ear = np.stack([0.1 * np.cos(angle) + ear_side * person.head_width, 0.24 * np.sin(angle) + 0.02], 1)
            canvas.fill(canvas.albedo, canvas.project(ear, -0.1), grey(skin * 0.85))
    canvas.fill(canvas.albedo, outline, grey(skin))
    return canvas.mask(outline)


def _relief(canvas: Canvas, person: Identity, shape: Shape) -> np.ndarray:
    """Raise nose, chin, brow ridge, eyeballs and cheeks; return what darkens (+) or brightens (-) softly."""
    wide, nose_y = person.nose_width, shape.nose_y
    bridge = [
        (0.0, float(y), 0.075 * wide, 0.09, 0.04 + 0.05 * k / 4)
        for k, y in enumerate(np.linspace(-0.2, nose_y - 0.1, 5))
    ]
    height: list[tuple[float, ...]] = [
        *bridge,
        (0, nose_y - 0.04, 0.1 * wide, 0.085, 0.13),
        (0, shape.chin_y - 0.16, 0.2, 0.12, 0.07 + 0.07 * shape.chin_boss),
    ]
    soft: list[tuple[float, ...]] = [
        (0, nose_y - 0.06, 0.05, 0.05, -0.09),
        (0, nose_y + 0.13, 0.14 * wide, 0.045, 0.16),
        (0, MOUTH_Y + 0.21, 0.16, 0.05, 0.1),
    ]
    cheek_y = 0.27 - 0.07 * shape.cheek
    for eye in shape.eyes:
        side, wing_y = eye.side, nose_y + shape.nostril_y
        height += [
            (side * 0.15 * wide, wing_y, 0.055, 0.055, 0.07),
            (side * 0.4, float(eye.brow[:, 1].mean()) + 0.02, 0.24, 0.07, 0.04),
            (eye.iris[0], EYE_Y, 0.13, 0.08, 0.035),
            (side * 0.52, cheek_y, 0.2, 0.14, 0.05 + 0.13 * shape.cheek),
        ]
        soft += [
            (side * 0.2 * wide, wing_y - 0.02, 0.035, 0.07, 0.1),
            (eye.iris[0] - side * 0.06, EYE_Y - 0.11, 0.2, 0.08, 0.17),
            (side * 0.14, EYE_Y - 0.02, 0.05, 0.09, 0.15),
            (side * 0.5, cheek_y - 0.05, 0.17, 0.1, -0.03 - 0.07 * shape.cheek),
            (side * 0.68, 0.62, 0.13, 0.24, 0.1),
        ]
    canvas.height += canvas.hills(height)
    return canvas.hills(soft)


def _wrinkles(canvas: Canvas, shape: Shape, soft: np.ndarray) -> None:
    creases = sorted(shape.creases, key=lambda c: c.depth)  # where two cross, the deeper one shows
    curves = [_curve(crease.points) for crease in creases]
    pixels = np.split(canvas.project(np.concatenate(curves)), np.cumsum([len(c) for c in curves])[:-1])
    depth = np.zeros_like(canvas.albedo)
    for crease, line in zip(creases, pixels, strict=True):
        canvas.line(depth, line, grey(crease.depth), max(1.6, crease.width * canvas.unit / canvas.thin))
    valley = canvas.blur(depth, 1.3).astype(np.float32) * np.float32(1 / 255)
    canvas.height -= 0.034 * valley
    soft += 0.48 * valley


def _curve(points: np.ndarray) -> np.ndarray:
    """Return 12 points of the polynomial through three to eight points; others as they are."""
    return np.asarray(_through(len(points)) @ points) if 3 <= len(points) <= 8 else points


@lru_cache(maxsize=8)
def _through(count: int, steps: int = 12) -> np.ndarray:
    knots = np.vander(np.arange(count), count, increasing=True).astype(np.float64)
    return np.asarray(np.vander(np.linspace(0, count - 1, steps), count, increasing=True) @ np.linalg.inv(knots))


def _paint_mouth(canvas: Canvas, person: Identity, mouth: Mouth) -> None:
    a, skin = canvas.albedo, person.skin
    outer_upper, inner_upper, inner_lower, outer_lower = (
        canvas.project(c) for c in (mouth.outer_upper, mouth.inner_upper, mouth.inner_lower, mouth.outer_lower)
    )
    lip = skin * person.lip_tone
    canvas.fill(a, np.concatenate([outer_upper, inner_upper[::-1]]), grey(lip * 0.86))
    canvas.fill(a, np.concatenate([inner_lower, outer_lower[::-1]]), grey(lip))
    lips = canvas.mask(np.concatenate([outer_upper, outer_lower[::-1]]))
    canvas.height += canvas.soften(lips, 9).astype(np.float32) * np.float32(0.05 / 255)
    opening = np.concatenate([inner_upper, inner_lower[::-1]])
    if mouth.opening > 0.02:
        canvas.fill(a, opening, grey(0.06))
        inside = canvas.mask(opening)
        gap = inner_lower - inner_upper
        teeth = np.zeros_like(a)
        if mouth.upper_teeth > 0.05:
            edge = inner_upper + gap * mouth.upper_teeth
            canvas.fill(teeth, np.concatenate([inner_upper, edge[::-1]]), grey(0.82))
        if mouth.lower_teeth > 0.05:
            edge = inner_lower - gap * mouth.lower_teeth
            canvas.fill(teeth, np.concatenate([edge, inner_lower[::-1]]), grey(0.7))
        np.maximum(a, cv2.min(teeth, inside), out=a, where=inside > 127)
        canvas.line(a, inner_upper, grey(skin * 0.25), 1.4)
    else:
        canvas.line(a, inner_upper, grey(skin * 0.22), 2.6)
    for corner in (inner_upper[0], inner_upper[-1]):
        canvas.disc(a, corner, 1.8 * canvas.thin, grey(skin * 0.3))


def _paint_eye(canvas: Canvas, person: Identity, eye: Eye) -> None:
    a, skin = canvas.albedo, person.skin
    upper, lower = canvas.project(eye.upper), canvas.project(eye.lower)
    iris = canvas.project(np.array([eye.iris]))[0]
    almond = canvas.mask(np.concatenate([upper, lower[::-1]]))
    ball = np.full_like(a, grey(0.86))
    radius = eye.iris_radius * canvas.unit
    for size, tone in ((1.0, person.iris * 0.7), (0.8, person.iris), (0.45, 0.02)):
        canvas.disc(ball, iris, radius * size, grey(tone))
    canvas.disc(ball, iris + radius * np.array([-0.3, -0.35]), radius * 0.24, 250)
    cv2.copyTo(ball, almond, a)
    lid = (
        upper
        + np.array([0, -0.095 * canvas.unit * person.eye_size]) * np.sin(np.linspace(0, np.pi, len(upper)))[:, None]
    )
    canvas.line(a, lid[2:-2], grey(skin * 0.62), 1.6)
    canvas.line(a, lower, grey(skin * 0.55), 1.3)
    canvas.line(a, upper, grey(min(0.1, skin * 0.2)), 3.2)
    canvas.fill(canvas.hair, canvas.project(eye.brow), 235)


def _paint_nostrils(canvas: Canvas, person: Identity, shape: Shape) -> None:
    for side in (-1, 1):
        x = side * 0.085 * person.nose_width
        y = shape.nose_y + 0.045 + 0.7 * shape.nostril_y
        points = np.array([(x - 0.04, y + 0.01), (x, y - 0.012), (x + 0.04, y + 0.01)])
        canvas.line(canvas.albedo, canvas.project(points), grey(person.skin * 0.25), 3.0)


# Hairlines from the image's right to its left: `(x, y)`, y counted from the person's hairline above -0.5.
_HAIRLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "short": (
        (0.9, -0.2),
        (0.84, -0.5),
        (0.66, 0.1),
        (0.3, 0.0),
        (-0.3, 0.0),
        (-0.66, 0.1),
        (-0.84, -0.5),
        (-0.9, -0.2),
    ),
    "parted": (
        (0.92, -0.05),
        (0.84, -0.4),
        (0.62, 0.26),
        (0.2, 0.1),
        (-0.42, -0.16),
        (-0.78, 0.2),
        (-0.92, -0.1),
    ),
    "fringe": (
        (0.9, 0.1),
        (0.8, -0.4),
        (0.66, 0.2),
        (0.2, 0.14),
        (-0.25, 0.17),
        (-0.66, 0.2),
        (-0.8, -0.4),
        (-0.9, 0.1),
    ),
    "long": (
        (0.84, 1.5),
        (0.86, 0.5),
        (0.8, -0.4),
        (0.5, 0.08),
        (0.05, -0.1),
        (-0.45, 0.1),
        (-0.8, -0.4),
        (-0.86, 0.5),
        (-0.84, 1.5),
    ),
}


def _paint_hair(canvas: Canvas, person: Identity, shape: Shape) -> None:
    if person.beard or person.moustache:
        _beard(canvas, person, shape)
    if person.hair_style == "bald":
        return
    hairline = np.array(_HAIRLINES[person.hair_style])
    inner = np.abs(hairline[:, 0]) < 0.8
    hairline[inner, 1] += person.hairline_y
    hairline[~inner, 0] *= person.head_width
    out = 0.99 if person.hair_style == "short" else 1.1
    first, last = hairline[0], hairline[-1]
    cap = [
        (-out, last[1]),
        (-out, -0.5),
        (-0.78, -1.25),
        (-0.4, -1.5),
        (0, -1.56),
        (0.4, -1.5),
        (0.78, -1.25),
        (out, -0.5),
    ]
    rim = np.array([*cap, (out, first[1])]) * (person.head_width, 1)
    points = smooth_closed(np.concatenate([rim, hairline]))
    z = np.where(np.arange(len(points)) < 6 * len(rim), 0.0, 0.35)
    canvas.fill(canvas.hair, canvas.project(points, z), 255)


def _beard(canvas: Canvas, person: Identity, shape: Shape) -> None:
    layer = np.zeros_like(canvas.hair)
    chin, corner = shape.chin_y, shape.mouth.outer_upper[-1]
    if person.beard:
        half = [(0.93, 0.1), (0.86, 0.62), (0.5, chin - 0.02), (0.0, chin + 0.06)]
        back = [(0.0, chin - 0.2), (0.3, chin - 0.27), (0.62, 0.62), (0.8, 0.1)]
        for side in (-1, 1):
            patch = np.array([*half, *back]) * (side * person.jaw_width, 1)
            canvas.fill(layer, canvas.project(patch), grey(person.beard))
    if person.moustache:
        top = shape.mouth.outer_upper
        raised = np.stack([top[:, 0] * 0.95, np.minimum(top[:, 1] - 0.02, corner[1]) - 0.09], 1)
        canvas.fill(layer, canvas.project(np.concatenate([top, raised[::-1]])), grey(person.moustache))
    np.maximum(canvas.hair, canvas.blur(layer, 3.0), out=canvas.hair)


def _blend_hair(canvas: Canvas, person: Identity, rng: np.random.Generator) -> np.ndarray:
    strands = rng.normal(1.0, 0.3, (5, 40)).astype(np.float32) * np.float32(255 * min(person.hair, 0.55 * person.skin))
    tone = cv2.resize(strands, (canvas.side, canvas.side), interpolation=cv2.INTER_LINEAR)
    weight = canvas.blur(canvas.hair, 1.4).astype(np.float32) * np.float32(1 / 255)
    under = canvas.albedo.astype(np.float32)
    canvas.albedo = np.maximum(0, np.minimum(255, under + weight * (tone - under))).astype(np.uint8)
    return weight


def _shade(canvas: Canvas, scene: Scene, head: np.ndarray, soft: np.ndarray) -> np.ndarray:
    x, y = grid(canvas.side)
    nx = (x - np.float32(canvas.centre[0])) / np.float32(1.06 * canvas.unit)
    ny = (y - np.float32(canvas.centre[1])) / np.float32(1.45 * canvas.unit)
    nz = np.sqrt(np.maximum(0.06, 1 - nx * nx - ny * ny))
    scale = -canvas.unit / 8 * 1.25  # Sobel's weights sum to 8
    nx += cv2.Sobel(canvas.height, cv2.CV_32F, 1, 0, scale=scale)
    ny += cv2.Sobel(canvas.height, cv2.CV_32F, 0, 1, scale=scale)
    lx, ly, lz = (np.float32(v) for v in scene.light)
    diffuse = np.maximum(0, nx * lx + ny * ly + nz * lz) / np.sqrt(nx * nx + ny * ny + nz * nz)
    lit = np.float32(scene.ambient) + np.float32(1.0 - 0.75 * scene.ambient) * diffuse
    lit *= 1 - np.minimum(soft, 0.75)
    # Twice the blurred mask: the smoothed edge lies outside, or a rim of unshaded skin would shine.
    weight = np.minimum(1, canvas.soften(head, 3).astype(np.float32) * np.float32(2 / 255))
    return np.asarray(1 + weight * (lit - 1))


def _glasses(canvas: Canvas, image: np.ndarray, person: Identity, *, dark: bool) -> None:
    frame = np.zeros_like(canvas.albedo)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    super_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.6
    super_y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.6
    for side in (-1, 1):
        rim = np.stack([side * 0.43 + 0.31 * super_x, EYE_Y + 0.03 + 0.2 * super_y], 1)
        pixels = canvas.project(rim)
        if dark:
            canvas.fill(frame, pixels, 255)
        canvas.line(frame, np.concatenate([pixels, pixels[:1]]), 255, 3.0)
        canvas.line(frame, canvas.project(np.array([(side * 0.74, -0.12), (side * 0.95, -0.15)])), 255, 3.0)
    canvas.line(frame, canvas.project(np.array([(-0.12, -0.12), (0.0, -0.15), (0.12, -0.12)])), 255, 3.0)
    image *= 1 - (0.93 if dark else 0.75) * (frame.astype(np.float32) / 255)


def _cover(canvas: Canvas, image: np.ndarray, person: Identity, scene: Scene, rng: np.random.Generator) -> None:
    if scene.cover == "sunglasses":
        return _glasses(canvas, image, person, dark=True)
    if scene.cover == "none":
        return None
    mask = np.zeros_like(canvas.albedo)
    tone = float(rng.uniform(0.1, 0.8))
    if scene.cover == "patch":
        corner, size = rng.uniform(-0.9, 0.7, 2), rng.uniform(0.25, 0.7, 2)
        box = corner + np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * size
        canvas.fill(mask, canvas.project(box, 0.9), 255)
    elif scene.cover == "scarf":
        top = float(rng.uniform(0.55, 0.95))
        wrap = [
            (-1.2, top - 0.2),
            (-0.5, top),
            (0.0, top + 0.04),
            (0.5, top),
            (1.2, top - 0.2),
            (1.2, 2),
            (-1.2, 2),
        ]
        canvas.fill(mask, canvas.project(np.array(wrap), 0.5), 255)
    else:
        tone = person.skin * float(rng.uniform(0.7, 0.95))
        _hand(canvas, mask, rng)
    weight = canvas.blur(mask, 1.2).astype(np.float32) / 255
    folds = canvas.blur(rng.normal(0, 1, mask.shape).astype(np.float32), 5.0)
    fabric = tone * 205 * (1 + 0.9 * folds) * (0.75 + 0.25 * canvas.blur(mask, 9.0).astype(np.float32) / 255)
    image += weight * (fabric - image)
    return None


def _hand(canvas: Canvas, mask: np.ndarray, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1.0, 1.0)))
    base = np.array([side * rng.uniform(0.35, 0.75), rng.uniform(1.0, 1.3)])
    lean = -side * rng.uniform(0.0, 0.25)
    for k in range(4):
        root = base + np.array([(k - 1.5) * 0.17, 0])
        tip = root + np.array([lean + (k - 1.5) * 0.05, -rng.uniform(0.5, 0.75)])
        canvas.line(mask, canvas.project(np.stack([root, tip]), 0.85), 255, 0.15 * canvas.unit / canvas.thin)
    palm = base + np.array([(-0.34, -0.1), (0.34, -0.1), (0.42, 0.6), (-0.42, 0.6)])
    canvas.fill(mask, canvas.project(palm, 0.85), 255)


def _photograph(image: np.ndarray, scene: Scene, rng: np.random.Generator, size_px: int) -> np.ndarray:
    texture = rng.normal(0, 0.035, (24, 24)).astype(np.float32)
    image = image * (1 + cv2.resize(texture, image.shape, interpolation=cv2.INTER_LINEAR))
    small = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
    if scene.blur_px > 0.2:
        small = cv2.GaussianBlur(small, (0, 0), scene.blur_px * size_px / 48)
    level = (small * np.float32(scene.gain) - 110) * np.float32(scene.contrast) + 110
    level += rng.normal(0, 1, level.shape).astype(np.float32) * np.float32(scene.noise)
    return np.asarray(np.clip(np.round(level), 0, 255).astype(np.uint8))
