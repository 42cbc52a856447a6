"""Shot boundaries: where a video goes from one view to another, found while its frames are decoded.

Two frames belong to two shots when their details neither lie in the same places, the camera's movement aside
(correlation), nor their brightness can come from nearby places (difference). Either alone is not enough: light that
changes, flashes and fast pans change every pixel and keep the details; a face that appears before a plain wall changes
the details and keeps most places. Details, not brightness, as two people who sit before plain walls are bright and dark
in the same places. Measured beside PySceneDetect's detectors in docs/video.md.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fervit.types import Frame, Image

if TYPE_CHECKING:
    from av import VideoFrame

ROWS, COLUMNS = 18, 32  # cells of a look
SAMPLES = 4  # pixels of a cell, along each side
UNLIKE = 0.32  # 1 - correlation of details; cuts had 0.38 or more, fast pans and shaken cameras 0.27 or less
FAR = 3.5  # grey levels, mean; cuts had 4.6 or more
LARGE = 20.0  # grey levels; larger differences count as this one, so that most places must differ and not one face
MOVED = 3, 6  # rows and columns by which the picture may have moved, either way
NEARBY = 2  # cells from which a cell's brightness may come
AROUND = 2  # cells whose mean is taken off a cell: what is left are details
LEAST = 2.0  # grey levels; smaller details are noise of the camera and the codec
FLAT = 1.5  # grey levels, standard deviation of details: nothing to compare
DARK = 20.0  # grey levels, mean: faded to black
FLASH_S = 0.1  # what looks as before within it was a flash
MOST_HELD = 8  # frames
MOST_HELD_BYTES = 60_000_000  # of frames; one of 8K has 100 MB


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded frame on its way to whoever reads the video.

    Attributes:
        time_s: s.
        frame: the frame, or None for one that is left out.
        look: `(ROWS, COLUMNS)` float32, the brightness of its cells, 0..255; None where nobody asks for cuts.
    """

    time_s: float
    frame: Frame | None
    look: np.ndarray | None = None


def look_of_frame(frame: "VideoFrame") -> np.ndarray:
    """Return the look of PyAV's frame; only the sampled pixels of its luma are read."""
    grey = frame.to_ndarray(format="gray", width=COLUMNS * SAMPLES, height=ROWS * SAMPLES, interpolation="POINT")
    return _cells(grey)


def look_of_image(image: Image) -> np.ndarray:
    """Return the look of an RGB image, `(H, W, 3)` uint8."""
    rows, columns = (
        (np.arange(count * SAMPLES) + 0.5) * size / (count * SAMPLES)
        for count, size in zip((ROWS, COLUMNS), image.shape[:2], strict=True)
    )
    pixels = image[rows.astype(int)[:, None], columns.astype(int)]
    return _cells(pixels @ np.array([0.299, 0.587, 0.114], np.float32))


def with_cuts(decoded: Iterable[Decoded]) -> Iterator[Frame]:
    """Yield the frames that are not left out, with `cut` at the first one of every shot but the video's first.

    Frames wait only where a shot may have begun, until it is known whether it was a flash.
    """
    finder, cut = _Finder(), False
    for item in decoded:
        for ready, begins in finder.add(item):
            cut = cut or begins
            if ready.frame is not None:
                yield replace(ready.frame, cut=True) if cut else ready.frame
                cut = False
    for ready, begins in finder.rest():
        cut = cut or begins
        if ready.frame is not None:
            yield replace(ready.frame, cut=True) if cut else ready.frame
            cut = False


@dataclass
class _Finder:
    """Compares each look with the last ones of the shot that had details.

    Attributes:
        recent: their times and looks, back to `FLASH_S` before the last; of the flash itself, some look as before.
        faded: the picture has gone black since.
        held: frames that wait, the first of which may begin a shot.
    """

    recent: deque[tuple[float, np.ndarray]] = field(default_factory=lambda: deque(maxlen=MOST_HELD))
    faded: bool = False
    held: list[Decoded] = field(default_factory=list)

    def add(self, item: Decoded) -> Iterator[tuple[Decoded, bool]]:
        """Yield what is decided by now, each with whether a shot begins with it."""
        todo = deque([item])
        while todo:
            item = todo.popleft()
            if self.held:
                yield from self._hold(item, todo)
            elif item.look is None or _is_flat(item.look):
                self.faded = self.faded or (item.look is not None and float(item.look.mean()) < DARK)
                yield item, False
            elif self._is_other(item.look):
                self.held = [item]
            else:
                self._go_on(item.time_s, item.look)
                yield item, False

    def rest(self) -> Iterator[tuple[Decoded, bool]]:
        """Yield what still waits at the end of the video."""
        while self.held:
            todo: deque[Decoded] = deque()
            yield self._begin(todo)
            for item in todo:
                yield from self.add(item)

    def _hold(self, item: Decoded, todo: deque[Decoded]) -> Iterator[tuple[Decoded, bool]]:
        self.held.append(item)
        assert item.look is not None, "no shot begins without a look"
        if not _is_flat(item.look) and not self._is_other(item.look):
            yield from ((held, False) for held in self.held)
            self.held = []
            self._go_on(item.time_s, item.look)
        elif item.time_s - self.held[0].time_s >= FLASH_S or _are_many(self.held):
            yield self._begin(todo)

    def _begin(self, todo: deque[Decoded]) -> tuple[Decoded, bool]:
        """Begin a shot with the first frame that waits; the others are looked at anew."""
        first, *others = self.held
        assert first.look is not None, "no shot begins without a look"
        self.held = []
        self.recent.clear()
        self._go_on(first.time_s, first.look)
        todo.extendleft(reversed(others))
        return first, True

    def _is_other(self, look: np.ndarray) -> bool:
        return bool(self.recent) and all(_differ(before, look, faded=self.faded) for _, before in reversed(self.recent))

    def _go_on(self, time_s: float, look: np.ndarray) -> None:
        self.recent.append((time_s, look))
        while time_s - self.recent[0][0] > FLASH_S:
            self.recent.popleft()
        self.faded = False


def _are_many(held: list[Decoded]) -> bool:
    frames = [item.frame for item in held if item.frame is not None]
    return len(frames) >= MOST_HELD or sum(frame.image.nbytes for frame in frames) >= MOST_HELD_BYTES


def _cells(grey: np.ndarray) -> np.ndarray:
    cells: np.ndarray = grey.reshape(ROWS, SAMPLES, COLUMNS, SAMPLES).mean((1, 3), dtype=np.float32)
    return cells


def _differ(before: np.ndarray, now: np.ndarray, *, faded: bool) -> bool:
    """Return whether two looks are of two shots; where one has faded to black, only details are compared."""
    if not faded:
        if np.minimum(np.abs(before - now), LARGE).mean() < FAR:  # as most do: the nearest difference is no larger
            return False
        if max(_nearest(before, now), _nearest(now, before)) < FAR:
            return False
    first, second = _clipped(_details(before)), _clipped(_details(now))
    return 1 - max(_correlation(first, second), _correlation(second, first)) > UNLIKE


def _is_flat(look: np.ndarray) -> bool:
    return bool(_details(look).std() < FLAT)


def _clipped(details: np.ndarray) -> np.ndarray:
    """Return details without peaks: a bright face in the dark is not all that counts."""
    most = max(LEAST, float(np.abs(details).mean()))
    return details.clip(-most, most)


def _details(look: np.ndarray) -> np.ndarray:
    side = 2 * AROUND + 1
    around = sliding_window_view(np.pad(look, AROUND, mode="edge"), (side, side)).mean((2, 3))
    details: np.ndarray = look - around
    return details


def _nearest(before: np.ndarray, now: np.ndarray) -> float:
    """Return the mean difference of each cell from the most similar one that was nearby, in grey levels."""
    side = 2 * NEARBY + 1
    nearby = sliding_window_view(np.pad(before, NEARBY, mode="edge"), (side, side))  # (ROWS, COLUMNS, side, side)
    return float(np.abs(nearby - now[..., None, None]).min((2, 3)).clip(max=LARGE).mean())


def _correlation(before: np.ndarray, now: np.ndarray) -> float:
    """Return the correlation, -1..1, of the middle of `before` with the most similar part of `now`."""
    down, along = MOVED
    middle = before[down:-down, along:-along]
    parts = sliding_window_view(now, middle.shape).reshape(-1, middle.size)  # (places, cells)
    middle = (middle - middle.mean()).ravel()
    parts = parts - parts.mean(axis=1, keepdims=True)
    norms = np.sqrt((parts * parts).sum(axis=1) * (middle @ middle))
    return float((parts @ middle / np.maximum(norms, 1e-3)).max())
