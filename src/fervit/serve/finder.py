"""The dangerous part of a request: bytes are checked, decoded and searched for faces, in a process apart."""

import faulthandler
import io
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from PIL import Image as Pillow
from PIL import (
    WebPImagePlugin,  # noqa: F401  (or Pillow would load all its plugins at the first WebP)
    features,
)

from fervit.errors import ImageError
from fervit.faces.detectors import make_detector
from fervit.faces.finder import FaceFinder
from fervit.media.images import FORMATS, MAX_SCANS, jpeg_scans, read_image
from fervit.serve.settings import Settings
from fervit.serve.transport.parent import KILL, signal_on_parent_death
from fervit.types import Face, Image, ModelSpec

EXTRA_MEMORY = 2_000_000_000  # bytes that one process may take on top of its start; 25 megapixels need 0.8
MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
)
# Brands of ISO files (14496-12): the one it is best read as, and those it can be read as.
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
PILLOW_NAMES = {"WebP": "WEBP", "HEIC": "HEIF"}  # where they differ

log = logging.getLogger(__name__)


@dataclass
class Found:
    """One image's faces, or why there are none.

    Attributes:
        width: of the upright image in px.
        height: of the upright image in px.
        faces: the most confident ones, at most `max_faces`.
        crops: one for every face, uint8 RGB, as small as the model's inputs allow.
        total: faces before the cut.
        decode_s: seconds.
        detect_s: seconds, cropping included.
        refusal: kind and detail of a `Problem`, or None.
    """

    width: int = 0
    height: int = 0
    faces: list[Face] = field(default_factory=list)
    crops: list[Image] = field(default_factory=list)
    total: int = 0
    decode_s: float = 0.0
    detect_s: float = 0.0
    refusal: tuple[str, str] | None = None


class Finder:
    """Checks, decodes and detects, by the service's limits; `find` may be called from several threads."""

    def __init__(self, settings: Settings, spec: ModelSpec):
        self.settings = settings
        self._faces = FaceFinder(make_detector(settings.detector), spec)

    def find(self, data: bytes, crop: bool = False) -> Found:
        """Return the faces of an image's bytes; nothing about a bad image raises."""
        started = time.perf_counter()
        refusal = self._refusal(data)
        if refusal is not None:
            return Found(refusal=refusal)
        try:
            image = read_image(data)
            decoded = time.perf_counter()
            faces = self._faces.find(image, crop=crop, most=self.settings.max_faces)
        except (ImageError, MemoryError) as error:
            log.info("an image of %d bytes could not be decoded: %s", len(data), error)
            return Found(refusal=("unreadable-picture", "it is truncated, damaged or needs too much memory"))
        height, width = image.shape[:2]
        detect_s = time.perf_counter() - decoded
        return Found(width, height, faces.faces, faces.crops, faces.total, decoded - started, detect_s)

    def _refusal(self, data: bytes) -> tuple[str, str] | None:
        """Return why an image is not even decoded; only its header is read."""
        if not data:
            return "empty-picture", "0 bytes came where an image was expected"
        kind, allowed = sniff(data), self.settings.formats
        if kind not in allowed:
            return "unsupported-format", f"expected {', '.join(allowed)}, got {kind}"
        if remedy := lacking(kind):
            return "unsupported-format", f"{kind} is not decoded by this service: it needs {remedy}"
        limit = self.settings.max_pixels
        try:
            with Pillow.open(io.BytesIO(data), formats=[PILLOW_NAMES.get(kind, kind)]) as opened:
                width, height = opened.size
        except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
            return "too-many-pixels", f"expected at most {limit / 1e6:g} megapixels"
        except Exception as error:  # noqa: BLE001  (Pillow's parsers raise nearly anything on broken headers)
            log.info("an image of %d bytes has no readable header: %s", len(data), type(error).__name__)
            return "unreadable-picture", "its header is truncated or damaged"
        if kind == "JPEG" and jpeg_scans(data, MAX_SCANS + 1) > MAX_SCANS:
            return "unreadable-picture", f"expected a JPEG of at most {MAX_SCANS} scans"
        if width * height > limit:
            return (
                "too-many-pixels",
                f"expected at most {limit / 1e6:g} megapixels, got {width} x {height} = {width * height / 1e6:.1f}",
            )
        return None


def sniff(data: bytes) -> str:
    """Return the image format that the first bytes claim.

    >>> sniff(b"GIF89a"), sniff(b"hello")
    ('GIF', 'something else')
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = {data[i : i + 4] for i in (8, *range(16, min(int.from_bytes(data[:4]), 64), 4))}
        return "AVIF" if brands & AVIF_BRANDS else "HEIC" if brands & HEIC_BRANDS else "video"
    head = data[:64].lstrip()
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), "something else")


def lacking(kind: str) -> str:
    """Return what to install so that this Python decodes a format; "" where it does already."""
    if kind == "AVIF":
        return "" if "AVIF" in FORMATS and features.check("avif") else "pillow>=11.3"
    if kind != "HEIC":
        return ""
    if "HEIF" not in FORMATS or find_spec("pillow_heif") is None:
        return "fervit[heic]"
    if "HEIF" not in Pillow.OPEN:
        import_module("pillow_heif").register_heif_opener()
    return ""


_finder: Finder | None = None  # of this process, when it is one of the pool's
_nowhere: IO[bytes] | None = None


def start_process(settings: Settings, spec: ModelSpec) -> None:
    """Prepare a pool process: its memory is capped, and it ends with its parent."""
    global _finder, _nowhere
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent drains
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal_on_parent_death(KILL)
    _finder = Finder(settings, spec)
    _nowhere = Path(os.devnull).open("wb")  # noqa: SIM115  (for the life of the process)
    _cap_memory()


def find_in_process(data: bytes, crop: bool) -> Found:
    """Run `Finder.find` in a pool process, which ends when that takes longer than the response may."""
    assert _finder is not None and _nowhere is not None
    # A thread of C: it also ends a decoder that never comes back to Python.
    faulthandler.dump_traceback_later(_finder.settings.timeout_s, exit=True, file=_nowhere)
    try:
        return _finder.find(data, crop)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _cap_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    cap = pages * resource.getpagesize() + EXTRA_MEMORY
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or cap < hard:
        resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
