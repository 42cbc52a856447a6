"""Ways to damage a file: what disks, networks, cut-off copies and attackers do to it, some of them format by format."""

import random
import struct
import zlib
from collections.abc import Callable

from tests.helpers.fuzzing.images import png_chunk

HEAD = 64  # bytes; most decisions of a decoder are made from so many
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 9999, 10_000, 0x7FFFFFFF, 0x80000000,
               0xFFFFFFFE, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # fmt: skip
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
Damage = Callable[[random.Random, bytearray], bytearray]
"""Returns the damaged bytes of a file that is not empty; it may change those given."""


def _place(rng: random.Random, data: bytearray) -> int:
    """Return a position, in the head half of the time."""
    return rng.randrange(min(HEAD, len(data)) if rng.random() < 0.5 else len(data))


def truncate(rng: random.Random, data: bytearray) -> bytearray:
    """Cut the end off."""
    return data[: _place(rng, data)]


def flip_bits(rng: random.Random, data: bytearray) -> bytearray:
    """Flip a few bits."""
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)
    return data


def set_bytes(rng: random.Random, data: bytearray) -> bytearray:
    """Overwrite a few bytes with any."""
    for _ in range(rng.choice([1, 2, 8])):
        data[_place(rng, data)] = rng.choice([0, 0xFF, rng.randrange(256)])
    return data


def set_integer(rng: random.Random, data: bytearray) -> bytearray:
    """Write an extreme integer of 1 to 8 bytes somewhere: a size, an offset, a count."""
    for _ in range(rng.choice([1, 1, 2])):
        width, at = rng.choice([1, 2, 4, 4, 8]), _place(rng, data)
        value = rng.choice([*INTERESTING, len(data), rng.randrange(1 << 32)]) % (1 << 8 * width)
        data[at : at + width] = value.to_bytes(width, rng.choice(["little", "big"]))
    return data


def _span(rng: random.Random, data: bytearray) -> slice:
    start = _place(rng, data)
    return slice(start, start + rng.choice([1, 2, 16, 100, 512, len(data) // 4 + 1]))


def remove(rng: random.Random, data: bytearray) -> bytearray:
    """Leave a block out."""
    del data[_span(rng, data)]
    return data


def blank(rng: random.Random, data: bytearray) -> bytearray:
    """Overwrite a block with zeros, as a download with holes."""
    span = _span(rng, data)
    data[span] = bytes(len(data[span]))
    return data


def repeat(rng: random.Random, data: bytearray) -> bytearray:
    """Put a block in again, once or many times."""
    span = _span(rng, data)
    block = data[span]
    data[span.start : span.start] = block * rng.choice([1, 1, 2, 30])
    return data


def insert(rng: random.Random, data: bytearray) -> bytearray:
    """Put bytes in that do not belong there."""
    at = _place(rng, data)
    data[at:at] = rng.randbytes(rng.choice([1, 2, 7, 300]))
    return data


def append(rng: random.Random, data: bytearray) -> bytearray:
    """Add bytes at the end, or the file itself once more."""
    return data + (data if rng.random() < 0.3 else rng.randbytes(rng.choice([1, 100, 5000])))


def swap(rng: random.Random, data: bytearray) -> bytearray:
    """Move the second part before the first."""
    at = _place(rng, data)
    return data[at:] + data[:at]


def newlines(rng: random.Random, data: bytearray) -> bytearray:
    """Change line ends, as a copy in text mode does."""
    old, new = rng.choice([(b"\n", b"\r\n"), (b"\r\n", b"\n"), (b"\r", b"\n")])
    return data.replace(old, new)


def utf8(rng: random.Random, data: bytearray) -> bytearray:
    """Read as text and write again: what is not UTF-8 becomes a question mark of three bytes."""
    return bytearray(bytes(data).decode("utf-8", "replace").encode())


GENERAL: tuple[Damage, ...] = (
    truncate, truncate, flip_bits, flip_bits, set_bytes, set_integer, set_integer,
    remove, blank, repeat, insert, append, swap, newlines, utf8,
)  # fmt: skip


def png_field(rng: random.Random, data: bytearray) -> bytearray:
    """Change, drop, repeat or move a chunk of a PNG, with right checksums."""
    chunks = _chunks(bytes(data))
    if not data.startswith(PNG_MAGIC) or not chunks:
        return flip_bits(rng, data)
    at = rng.randrange(len(chunks)) if rng.random() < 0.6 else 0
    kind, body = chunks[at]
    way = rng.choice(["body", "body", "body", "drop", "repeat", "move", "kind"])
    if way == "body" and body:
        chunks[at] = kind, bytes(rng.choice([set_integer, set_bytes, truncate])(rng, bytearray(body)))
    elif way == "drop":
        del chunks[at]
    elif way == "repeat":
        chunks[at:at] = [chunks[at]] * rng.choice([1, 50])
    elif way == "kind":
        chunks[at] = rng.choice([b"tRNS", b"PLTE", b"iCCP", b"gAMA", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"zTXt"]), body
    else:
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(at))
    return bytearray(PNG_MAGIC + b"".join(png_chunk(*chunk) for chunk in chunks))


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(PNG_MAGIC)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_pixels(rng: random.Random, data: bytearray) -> bytearray:
    """Pack other pixel bytes into a PNG: too few, too many, of unknown filters."""
    chunks = _chunks(bytes(data))
    if not data.startswith(PNG_MAGIC) or not chunks:
        return flip_bits(rng, data)
    body = rng.choice([b"", bytes(10**6), rng.randbytes(rng.randrange(1, 3000))])
    new = (b"IDAT", zlib.compress(body, 1))
    return bytearray(PNG_MAGIC + b"".join(png_chunk(*(new if c[0] == b"IDAT" else c)) for c in chunks))


def jpeg_field(rng: random.Random, data: bytearray) -> bytearray:
    """Change a segment of a JPEG: sizes, tables, lengths; or repeat or drop it."""
    spans, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4])
        spans.append(slice(at, at + 2 + length))
        at += 2 + length
        if data[spans[-1]][1] == 0xDA:
            break
    if not spans:
        return set_integer(rng, data)
    frames = [span for span in spans if data[span][1] in (0xC0, 0xC1, 0xC2)]
    span = rng.choice(frames if frames and rng.random() < 0.5 else spans)
    segment = data[span]
    way = rng.choice(["body", "body", "body", "drop", "repeat", "kind"])
    if way == "drop":
        del data[span]
    elif way == "repeat":
        data[span.start : span.start] = segment * rng.choice([1, 20])
    elif way == "kind":
        data[span.start + 1] = rng.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xE1, 0xED, 0xDD, 0xDA, 0xD9])
    else:
        data[span] = segment[:2] + rng.choice([set_integer, set_bytes])(rng, segment[2:] or bytearray(1))
    return data


def tiff_field(rng: random.Random, data: bytearray) -> bytearray:
    """Change an entry of a TIFF's first directory: its tag, type, count or value."""
    little = data[:2] == b"II"
    order = "<" if little else ">"
    if len(data) < 8:
        return flip_bits(rng, data)
    start = struct.unpack_from(order + "I", data, 4)[0]
    if start + 2 > len(data):
        return set_integer(rng, data)
    count = struct.unpack_from(order + "H", data, start)[0]
    entry = start + 2 + 12 * rng.randrange(max(1, min(count, 60)))
    if entry + 12 > len(data):
        return set_integer(rng, data)
    at, kind, most = rng.choice([(0, "H", 16), (2, "H", 16), (4, "I", 32), (8, "I", 32), (8, "H", 16)])
    value = rng.choice([*INTERESTING, rng.randrange(1 << 16), *range(14)]) % (1 << most)
    if at == 0:  # the tags that say how pixels are stored
        value = rng.choice([256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 338, 339])
    struct.pack_into(order + kind, data, entry + at, value)
    return data


def box_field(rng: random.Random, data: bytearray) -> bytearray:
    """Change the size, kind or first bytes of a box of an MP4, MOV or AVIF."""
    spots = [at for at in _boxes(data, 0, len(data)) if at + 24 <= len(data)]
    if not spots:
        return set_integer(rng, data)
    at = rng.choice(spots)
    way = rng.choice(["size", "kind", "body", "body"])
    if way == "size":
        struct.pack_into(">I", data, at, rng.choice([0, 1, 7, 8, 9, len(data), 0xFFFFFFFF, rng.randrange(1000)]))
    elif way == "kind":
        data[at + 4 : at + 8] = data[(other := rng.choice(spots)) + 4 : other + 8]
    else:
        data[at + 8 : at + 24] = set_integer(rng, data[at + 8 : at + 24])[:16]
    return data


def _boxes(data: bytearray, start: int, end: int, deep: int = 0) -> list[int]:
    found: list[int] = []
    while start + 8 <= end and len(found) < 200:
        size = int.from_bytes(data[start : start + 4])
        if size < 8 or start + size > end:
            break
        found.append(start)
        kind = bytes(data[start + 4 : start + 8])
        skipped = {b"meta": 12, b"stsd": 16, b"iprp": 8, b"ipco": 8}.get(kind, 8)
        if deep < 8 and kind in (
            b"moov",
            b"trak",
            b"mdia",
            b"minf",
            b"stbl",
            b"edts",
            b"meta",
            b"stsd",
            b"iprp",
            b"ipco",
        ):
            found += _boxes(data, start + skipped, start + size, deep + 1)
        start += size
    return found


def riff_field(rng: random.Random, data: bytearray) -> bytearray:
    """Change the size or the first bytes of a chunk of a WebP or AVI."""
    spots: list[int] = []
    at = 12
    while at + 8 <= len(data) and len(spots) < 200:
        spots.append(at)
        inside = data[at : at + 4] == b"LIST"
        at += 12 if inside else 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2
    if not spots:
        return set_integer(rng, data)
    at = rng.choice(spots[:30])
    if rng.random() < 0.4:
        size = rng.choice([0, 1, len(data), 0x7FFFFFFF, 0xFFFFFFF6, 0xFFFFFFFF, rng.randrange(1000)])
        struct.pack_into("<I", data, at + 4, size)
    else:
        data[at + 8 : at + 48] = set_integer(rng, data[at + 8 : at + 48] or bytearray(1))
    return data


def exif_field(rng: random.Random, data: bytearray) -> bytearray:
    """Damage the EXIF block: types, counts and offsets that lead nowhere, or back to where they are."""
    start = data.find(b"Exif\0\0")
    start = start + 6 if start >= 0 else max(data.find(b"II*\0"), data.find(b"MM\0*"))
    if start < 0 or start + 8 >= len(data):
        return set_integer(rng, data)
    block = data[start : start + 120]
    if rng.random() < 0.3:
        struct.pack_into("<I" if block[:1] == b"I" else ">I", block, 4, rng.choice([0, 4, 8, 100, 0xFFFFFFFF]))
    else:
        at = rng.randrange(4, len(block))
        size = rng.choice([1, 2, 4])
        block[at : at + size] = (rng.choice(INTERESTING) % (1 << 8 * size)).to_bytes(size, "little")
    data[start : start + 120] = block[:120]
    return data


OWN: dict[str, tuple[Damage, ...]] = {
    "jpeg": (jpeg_field, jpeg_field, exif_field),
    "png": (png_field, png_field, png_pixels, exif_field),
    "tiff": (tiff_field, tiff_field, exif_field),
    "webp": (riff_field, exif_field),
    "avif": (box_field, exif_field),
    ".mp4": (box_field,),
    ".mov": (box_field,),
    ".m4v": (box_field,),
    ".avi": (riff_field,),
}
"""Damage that fits a format, by its name in `images.MAKERS` or by a video's suffix."""


def damaged(rng: random.Random, kind: str, data: bytes) -> tuple[bytes, list[str]]:
    """Return a file with no, one or several damages, and their names."""
    names = []
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3])):
        own = OWN.get(kind, ())
        damage = rng.choice(own if own and rng.random() < 0.4 else GENERAL)
        if data:
            data = bytes(damage(rng, bytearray(data)))
        names.append(damage.__name__)
    return data, names
