"""The view of a synthetic face and the buffers that it is painted in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fervit.media.opencv import opencv

cv2 = opencv()

SUPERSAMPLING = 4  # of the FER2013 size, 48 px
COVERS = ("none", "hand", "sunglasses", "scarf", "patch")
_SHIFT = 4  # bits of sub-pixel position in OpenCV's drawing calls


@dataclass(frozen=True)
class Scene:
    """How a face is seen: what changes from image to image without meaning.

    Angles are in degrees, `scale` and the offsets relative to the frame, `light` points from the face to the
    light (x right, y down, z to the viewer), `noise` is in grey levels, `blur_px` in px at 48 px, `cover` is
    one of `COVERS`.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    offset: tuple[float, float]
    light: tuple[float, float, float]
    ambient: float
    gain: float
    contrast: float
    background: float
    blur_px: float
    noise: float
    cover: str


def draw_scene(rng: np.random.Generator, variation: float = 1.0) -> Scene:
    """Draw a view, a light and a camera; `variation` 0 is a studio portrait, 1 the spread of a data set."""
    v = variation
    side, above = rng.normal(0.0, 0.5) * v, -0.35 - rng.normal(0.0, 0.3) * v
    light = np.array([side if v else -0.25, above, 0.85])
    light /= np.linalg.norm(light)
    cover = str(rng.choice(COVERS, p=(0.89, 0.03, 0.03, 0.02, 0.03)))

    def spread(sd: float) -> float:
        return float(np.clip(rng.normal(0.0, sd), -2.2 * sd, 2.2 * sd)) * v

    return Scene(
        yaw=spread(9.0),
        pitch=spread(5.0),
        roll=spread(4.5),
        scale=1.0 + spread(0.035),
        offset=(spread(0.014), spread(0.014)),
        light=(float(light[0]), float(light[1]), float(light[2])),
        ambient=0.42 + spread(0.09),
        gain=1.0 * float(np.exp(spread(0.16))),
        contrast=1.0 + spread(0.13),
        background=float(rng.uniform(0.08, 0.9)),
        blur_px=min(1.0, float(rng.gamma(2.0, 0.14))) * v,
        noise=min(9.0, float(rng.gamma(2.0, 1.3))) * v,
        cover=cover if rng.random() < v else "none",
    )


@lru_cache(maxsize=4)
def grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return read-only `(side, side)` float32 arrays of x and y in px."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


class Canvas:
    """Square working buffers and the projection from face coordinates to their pixels."""

    def __init__(self, side: int, scene: Scene):
        self.side = side
        self.unit = 0.425 * side * scene.scale  # px per face unit
        self.thin = side / (48 * SUPERSAMPLING)  # scale of widths that are given in px of the usual canvas
        yaw, pitch, roll = np.radians((scene.yaw, scene.pitch, scene.roll))
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        self.rotation = tilt @ nod @ turn
        # Turning moves the face's middle, but detectors centre on it: move half of the way back.
        front = self.rotation[:2, 2] * 0.8
        self.centre = np.array([0.5, 0.465]) * side + np.array(scene.offset) * side - 0.5 * front * self.unit
        self.albedo = np.zeros((side, side), np.uint8)
        self.height = np.zeros((side, side), np.float32)
        self.hair = np.zeros((side, side), np.uint8)

    def project(self, points: np.ndarray, z: np.ndarray | float | None = None) -> np.ndarray:
        """Project `(N, 2)` face points, at height `z` or on the head's surface, to `(N, 2)` px."""
        if z is None:
            z = 0.85 * np.sqrt(np.maximum(0, 1 - (points[:, 0] / 1.05) ** 2 - (points[:, 1] / 1.5) ** 2))
        depth = np.reshape(z, (-1, 1)) * self.rotation[:2, 2]
        return np.asarray(self.centre + self.unit * (points @ self.rotation[:2, :2].T + depth))

    def fill(self, target: np.ndarray, pixels: np.ndarray, value: float) -> None:
        """Fill a polygon given in px, with smoothed edges on 8-bit targets."""
        cv2.fillPoly(target, [fixed(pixels)], value, cv2.LINE_AA, _SHIFT)

    def line(self, target: np.ndarray, pixels: np.ndarray, value: float, width: float) -> None:
        """Draw an open line given in px; `width` in px of the usual canvas."""
        thick = max(1, round(width * self.thin))
        cv2.polylines(target, [fixed(pixels)], False, value, thick, cv2.LINE_AA, _SHIFT)

    def disc(self, target: np.ndarray, centre: np.ndarray, radius: float, value: int) -> None:
        """Fill a circle given in px."""
        x, y = fixed(centre)
        size = int(radius * (1 << _SHIFT))
        cv2.circle(target, (int(x), int(y)), size, value, -1, cv2.LINE_AA, _SHIFT)

    def mask(self, pixels: np.ndarray) -> np.ndarray:
        """Return a `(side, side)` uint8 mask of a polygon given in px."""
        mask = np.zeros((self.side, self.side), np.uint8)
        self.fill(mask, pixels, 255)
        return mask

    def blur(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """Blur; `sigma` in px of the usual canvas."""
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * self.thin))

    def soften(self, image: np.ndarray, width: int) -> np.ndarray:
        """Blur by a box, faster than `blur`; `width` in px of the usual canvas."""
        size = max(1, round(width * self.thin))
        return np.asarray(cv2.blur(image, (size, size)))

    def hills(self, rows: Sequence[tuple[float, ...]]) -> np.ndarray:
        """Return the `(side, side)` float32 sum of Gaussian hills, rows of `x, y, size_x, size_y, amount`."""
        hills = np.array(rows)  # (K, 5)
        centre, size = self.project(hills[:, :2]), hills[:, 2:4] * self.unit
        at = np.arange(self.side, dtype=np.float32)
        steps = (at - centre.astype(np.float32)[:, :, None]) / size.astype(np.float32)[:, :, None]  # (K, 2, side)
        across, down = np.exp(-0.5 * steps * steps).swapaxes(0, 1)
        return np.asarray((down.T * hills[:, 4].astype(np.float32)) @ across)  # a Gaussian is separable


def fixed(pixels: np.ndarray) -> np.ndarray:
    """Return px as the fixed-point numbers that OpenCV draws with."""
    return np.round(pixels * (1 << _SHIFT)).astype(np.int32)


def grey(reflectance: float) -> int:
    """Return a reflectance of 0..1 in the 0..255 of an 8-bit buffer."""
    return min(255, max(0, round(reflectance * 255)))
