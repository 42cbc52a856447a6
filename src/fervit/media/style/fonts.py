"""Fonts that have the letters of the labels: Pillow's own has those of ASCII only."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PACKAGED = "SourceSansPro-Regular.ttf"  # Latin, Greek, Cyrillic; from the package font-source-sans-pro
# Looked for where the system keeps its fonts, when the packaged one lacks a letter; the first that has all is taken.
SYSTEM = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "fonts-japanese-gothic.ttf",
    "NanumGothic.ttf",
    "msyh.ttc",  # Windows: Chinese, Japanese, Korean, Hindi, Thai
    "YuGothM.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
    "LeelawUI.ttf",
    "Arial Unicode.ttf",  # macOS
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Thonburi.ttc",
    "NotoSansThai-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "DejaVuSans.ttf",
    "FreeSans.ttf",
)
MISSING = "\uffff"  # no character: every font draws its sign for what it lacks
SAMPLE_PX = 24

log = logging.getLogger(__name__)


def font_for(text: str, size: int) -> Font:
    """Return the first font that has every letter of a text: Pillow's own, the packaged one, or one of the system.

    Args:
        text: what is to be drawn with it, all labels of a set together, so that they look alike.
        size: px.
    """
    return _open(_name_of(frozenset(text)), size)


def file_for(text: str) -> str | None:
    """Return the file of the system's font that `font_for` takes; None where matplotlib's own has the letters."""
    name = _name_of(frozenset(text))
    font = None if name in (None, PACKAGED) else _open(name, SAMPLE_PX)
    return str(font.path) if isinstance(font, ImageFont.FreeTypeFont) else None


@lru_cache(maxsize=64)
def drawable(labels: tuple[str, ...]) -> dict[str, str]:
    """Return what is drawn for each label: itself, or `#2`, its place in the set, where no font has its letters.

    That is logged once.
    """
    if _has(_name_of(frozenset("".join(labels))), frozenset("".join(labels))):
        return {label: label for label in labels}
    shown = {}
    for place, label in enumerate(labels):
        letters = frozenset(label)
        shown[label] = label if _has(PACKAGED, letters) else f"#{place}"
    named = ", ".join(f"{sign} for {label}" for label, sign in shown.items() if sign != label)
    if named:
        log.warning("no font here has the letters of every label: images show %s; install Noto Sans CJK or such", named)
    return shown


@lru_cache(maxsize=256)
def _name_of(letters: frozenset[str]) -> str | None:
    for name in (None, PACKAGED, *SYSTEM):
        if _has(name, letters):
            return name
    return PACKAGED


@lru_cache(maxsize=64)
def _open(name: str | None, size: int) -> Font:
    """Open a font by its file's name; None is Pillow's own.

    Raises:
        OSError: the system has no such font, or the package is not installed.
    """
    if name is None:
        return ImageFont.load_default(size)
    if name == PACKAGED:
        return ImageFont.truetype(str(files("font_source_sans_pro") / "files" / PACKAGED), size)
    return ImageFont.truetype(name, size)


def _has(name: str | None, letters: Sequence[str] | frozenset[str]) -> bool:
    try:
        font = _open(name, SAMPLE_PX)
    except OSError:
        return False
    missing = _drawn(font, MISSING)
    return all(letter.isspace() or not letter.isprintable() or _drawn(font, letter) != missing for letter in letters)


@lru_cache(maxsize=4096)
def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
