"""What a file is, by its content: endings lie, and some files have none."""

import enum
import os
import stat
from pathlib import Path
from typing import IO

from fervit.media import images

HEAD = 4096  # bytes that are looked at; five packets of a transport stream are 1,020
TRANSPORT_PACKETS = (188, 192, 204)  # bytes: MPEG-TS, M2TS, and with error correction
OTHER_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"crx ")  # sound, and Canon's raw photos


def _endings(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


CAMERA_RAW = _endings("3fr arw cr2 cr3 dcr dng erf iiq kdc mos nef nrw orf pef raf rw2 sr2 srw")
"""Endings of what cameras' sensors saw: most are a TIFF with a thumbnail, which is not the photo."""

SOUND = _endings("m4a m4b mka oga ogg opus spx wma")
"""Endings of sound in a container that videos have too."""

VIDEO_EXTENSIONS = _endings(
    "3g2 3gp asf avi divx dv f4v flv h264 h265 hevc m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts mxf ogv rm rmvb "
    "ts vob webm wmv y4m"
)
AMBIGUOUS = frozenset({".ts"})  # TypeScript has it too: only the content tells
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the header that follows the first 14 bytes
NAL_H264 = (7, 9)  # a raw stream begins with its parameters, or with a delimiter (ITU-T H.264, table 7-1)
NAL_H265 = (32, 33, 34, 35)  # ITU-T H.265, table 7-1
VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: .asf, .wmv
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"\x00\x00\x01\xba",  # MPEG program stream: .mpg, .vob
    b"\x00\x00\x01\xb3",  # MPEG-1 and MPEG-2 without a container
    b".RMF",
    b"DKIF",
    b"YUV4MPEG2 ",
    b"OggS",
)
QUICKTIME_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp")


class Kind(enum.Enum):
    """What a file is."""

    IMAGE = "image"
    ANIMATION = "animation"
    VIDEO = "video"
    OTHER = "other"


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """Return what a file is by its first bytes, or by its name's ending where they say nothing.

    A file with the ending of an image that holds none is an image, so that reading it tells what is wrong with it.

    Raises:
        OSError: the file cannot be read, or is none: only regular files are opened.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for somebody to write
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as file:
        return kind_of_file(file, path.suffix.lower())


def kind_of_file(file: IO[bytes], suffix: str = "") -> Kind:
    """Return what an open file is; it is read from its beginning, and stays where it was."""
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(HEAD)
        by_content = _by_content(head)
        if by_content is Kind.IMAGE and _is_animated(file, head):
            return Kind.ANIMATION
    finally:
        file.seek(place)
    if (by_content is Kind.VIDEO and suffix in SOUND) or (by_content is Kind.IMAGE and suffix in CAMERA_RAW):
        return Kind.OTHER
    if by_content is not Kind.OTHER:
        return by_content
    if suffix in images.EXTENSIONS:
        return Kind.IMAGE
    return Kind.VIDEO if suffix in VIDEO_EXTENSIONS - AMBIGUOUS else Kind.OTHER


def _by_content(head: bytes) -> Kind:
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (*images.AVIF_BRANDS, *images.HEIF_BRANDS):
            return Kind.IMAGE
        return Kind.OTHER if brand in OTHER_BRANDS else Kind.VIDEO
    if _is_image(head):
        return Kind.IMAGE
    if head.startswith(VIDEO_STARTS) or head[4:8] in QUICKTIME_BOXES or (head[:4], head[8:12]) == (b"RIFF", b"AVI "):
        return Kind.VIDEO
    return Kind.VIDEO if _is_raw_stream(head) or _is_transport_stream(head) else Kind.OTHER


def _is_image(head: bytes) -> bool:
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0")):
        return True
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\n", b"\r", b"\t"):
        return head[3:4].isdigit() or head[3:4] == b"#"
    if head[:2] == b"BM":
        return int.from_bytes(head[14:18], "little") in BMP_HEADERS
    return (head[:4], head[8:12]) == (b"RIFF", b"WEBP")


def _is_animated(file: IO[bytes], head: bytes) -> bool:
    if head[8:12] == b"WEBP":  # by its flag, because Pillow would read the whole file
        return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)
    if head[8:12] in images.SEQUENCES:
        return True
    if not head.startswith((b"GIF8", b"\x89PNG")):
        return False
    try:
        file.seek(0)
        with images.opening(file) as opened:
            return bool(getattr(opened, "is_animated", False))
    except Exception:  # noqa: BLE001  (Pillow raises nearly anything on broken files; reading it tells which)
        return False


def _is_raw_stream(head: bytes) -> bool:
    """Return whether H.264 or H.265 follows without a container."""
    for start in (b"\0\0\0\1", b"\0\0\1"):
        if head.startswith(start) and len(head) > len(start):
            unit = head[len(start)]
            return unit & 0x1F in NAL_H264 or (unit >> 1) in NAL_H265
    return False


def _is_transport_stream(head: bytes) -> bool:
    """Return whether every packet begins with its sync byte; the first one may be cut."""
    return b"\0" in head and any(
        all(head[first + k * size : first + k * size + 1] == b"G" for k in range(5))
        for size in TRANSPORT_PACKETS
        for first in range(size)
    )
