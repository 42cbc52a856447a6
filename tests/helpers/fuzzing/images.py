"""Sound images of every format, mode and size, chosen by a random generator."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image as Pillow
from PIL import features

ORIENTATION = 0x0112
SIDES = (1, 2, 3, 7, 8, 16, 17, 31, 48, 63, 64, 100, 127, 200)  # px
LONG = (1, 2, 3000, 9000)  # px, for strips: one of them is the other side
FACE_SIDES = (96, 160, 256)  # px
LARGE_SIZE = (6000, 4000)  # px
CONTENTS = ("noise", "ramp", "flat", "face")
Made = tuple[bytes, str, str]
"""The bytes of a file, its usual suffix, and how it was made."""


@lru_cache(maxsize=8)
def _face(side: int) -> np.ndarray:
    from skimage.data import astronaut

    return np.asarray(Pillow.fromarray(astronaut()[:256, 100:356]).resize((side, side)))


def pixels(rng: random.Random) -> tuple[np.ndarray, str]:
    """Return `(H, W, 3)` uint8 of some size and content, and words for it."""
    content = rng.choice(CONTENTS)
    if content == "face":
        side = rng.choice(FACE_SIDES)
        return _face(side), f"face {side}x{side}"
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    if rng.random() < 0.08:
        width, height = rng.sample((rng.choice(LONG), rng.choice(LONG[:2])), 2)
    if content == "flat":
        image = np.full((height, width, 3), rng.randrange(256), np.uint8)
    elif content == "ramp":
        image = np.add.outer(np.arange(height), np.arange(width * 3).reshape(width, 3)).astype(np.uint8)
    else:
        image = np.frombuffer(rng.randbytes(height * width * 3), np.uint8).reshape(height, width, 3)
    return image, f"{content} {width}x{height}"


def picture(rng: random.Random, mode: str) -> tuple[Pillow.Image, str]:
    """Return an image of a Pillow mode, and words for it."""
    image, what = pixels(rng)
    if mode in ("I;16", "I;16B", "I", "F"):
        plane, deep = _deep(rng, image[:, :, 0])
        kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}[mode]
        clipped = plane if mode in ("I", "F") else plane.clip(0, 65535)
        with np.errstate(all="ignore"):  # what is no number, or too large, becomes any integer
            return Pillow.fromarray(clipped.astype(kind)), f"{mode} {deep} {what}"
    made = Pillow.fromarray(image)
    if mode in ("RGBA", "LA", "PA"):
        made.putalpha(Pillow.fromarray(image[:, :, 1]))
    return made.convert(mode), f"{mode} {what}"


def _deep(rng: random.Random, plane: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a plane of 8 bits in another range of numbers, such as cameras and microscopes write."""
    x = plane.astype(np.float64)
    kinds: dict[str, Callable[[], np.ndarray]] = {
        "8-bit": lambda: x,
        "10-bit": lambda: x * 1023 / 255,
        "12-bit": lambda: x * 4095 / 255,
        "16-bit": lambda: x * 257,
        "0..1": lambda: x / 255,
        "signed": lambda: x - 128,
        "huge": lambda: x * 1e7,
        "not a number": lambda: np.where(x > 128, np.nan, x),
        "infinite": lambda: np.where(x > 128, np.inf, -x),
    }
    kind = rng.choice(list(kinds))
    return kinds[kind](), kind


def exif(rng: random.Random) -> bytes:
    """Return an EXIF block, with an orientation that may be none of the eight."""
    block = Pillow.Exif()
    block[ORIENTATION] = rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 6, 8, 0, 9, 65535])
    if rng.random() < 0.5:
        block[0x010F] = "Maker" * rng.randrange(1, 40)
    if rng.random() < 0.3:
        block.get_ifd(0x8769)[0x9286] = rng.randbytes(rng.randrange(100))
    return block.tobytes()


def _saved(made: Pillow.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    try:
        made.save(buffer, kind, **options)
    except Exception:  # noqa: BLE001  (some encoders fail at some options: a full buffer, big TIFF with EXIF, ...)
        made.save(buffer := io.BytesIO(), kind)
    return buffer.getvalue()


def _with_exif(rng: random.Random) -> dict[str, object]:
    return {"exif": exif(rng)} if rng.random() < 0.4 else {}


def _profile(rng: random.Random) -> dict[str, object]:
    return {"icc_profile": rng.randbytes(rng.choice([1, 128, 3000]))} if rng.random() < 0.1 else {}


def jpeg(rng: random.Random) -> Made:
    """Make a JPEG: baseline or progressive, grey, colour or CMYK, sometimes two in one file (MPO)."""
    made, what = picture(rng, rng.choice(["RGB", "RGB", "L", "CMYK", "YCbCr"]))
    options = _with_exif(rng) | _profile(rng)
    options |= {"quality": rng.choice([1, 50, 92, 100]), "progressive": rng.random() < 0.4}
    if made.mode in ("RGB", "YCbCr"):
        options["subsampling"] = rng.choice([0, 1, 2])
    if rng.random() < 0.2:
        options["restart_marker_blocks"] = rng.choice([1, 3])
    if made.mode == "RGB" and rng.random() < 0.1:
        data = _saved(made, "MPO", save_all=True, append_images=[made.transpose(Pillow.Transpose.ROTATE_90)])
        return data, ".jpg", f"MPO {what}"
    progressive = " progressive" if options["progressive"] else ""
    return _saved(made, "JPEG", **options), ".jpg", f"JPEG{progressive} {what}"


def png(rng: random.Random) -> Made:
    """Make a PNG: every mode, with transparency, an animation, or a raw one with any header."""
    if rng.random() < 0.2:
        return raw_png(rng)
    made, what = picture(rng, rng.choice(["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"]))
    options = _with_exif(rng) | _profile(rng)
    if made.mode in ("P", "L", "RGB") and rng.random() < 0.3:
        options["transparency"] = {"P": 0, "L": 7, "RGB": (1, 2, 3)}[made.mode]
    if made.mode == "RGB" and rng.random() < 0.15:
        options |= {"save_all": True, "append_images": [made, made], "duration": rng.choice([0, 40])}
    return _saved(made, "PNG", **options), ".png", f"PNG {what}"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG with its right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(rng: random.Random) -> Made:
    """Make a PNG with any depth, colour type and interlacing: what the encoder here does not write."""
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    depth, colour, interlace = rng.choice([1, 2, 4, 8, 16]), rng.choice([0, 2, 3, 4, 6]), rng.choice([0, 1])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = height * 3 if interlace else height
    row = b"\0" + rng.randbytes((width * depth * channels + 7) // 8)
    chunks = [png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))]
    if colour == 3:
        chunks.append(png_chunk(b"PLTE", rng.randbytes(3 * rng.choice([1, 16, 256]))))
    if rng.random() < 0.2:
        chunks.append(png_chunk(b"tRNS", rng.randbytes(rng.choice([1, 2, 6, 256]))))
    if rng.random() < 0.1:  # a text that unpacks to megabytes
        chunks.append(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(rng.choice([10**5, 10**7])))))
    chunks += [png_chunk(b"IDAT", zlib.compress(row * rows)), png_chunk(b"IEND", b"")]
    what = f"raw PNG {width}x{height} depth {depth} colour {colour} interlace {interlace}"
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks), ".png", what


def gif(rng: random.Random) -> Made:
    """Make a GIF, often an animation."""
    made, what = picture(rng, rng.choice(["P", "L", "RGB"]))
    options: dict[str, object] = {}
    if rng.random() < 0.5:
        others = [made.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)] * rng.randrange(1, 4)
        options = {"save_all": True, "append_images": others, "disposal": rng.choice([0, 1, 2, 3]), "loop": 0}
    if rng.random() < 0.3:
        options["transparency"] = 0
    return _saved(made, "GIF", **options), ".gif", f"GIF {what}"


def bmp(rng: random.Random) -> Made:
    """Make a BMP."""
    made, what = picture(rng, rng.choice(["1", "L", "P", "RGB", "RGBA"]))
    return _saved(made, "BMP"), ".bmp", f"BMP {what}"


def ppm(rng: random.Random) -> Made:
    """Make a PBM, PGM, PPM or PFM, in binary or in digits, with any maximum."""
    if rng.random() < 0.4:
        made, what = picture(rng, rng.choice(["1", "L", "RGB", "I", "F"]))
        return _saved(made, "PPM"), rng.choice([".ppm", ".pgm", ".pnm"]), f"PPM {what}"
    kind = rng.choice(["P1", "P2", "P3", "P4", "P5", "P6"])
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    most = rng.choice([1, 7, 255, 256, 1023, 65535])
    count = width * height * (3 if kind in ("P3", "P6") else 1)
    comment = rng.choice(["", "# a comment\n", "#" + "x" * 200 + "\n"])
    head = f"{kind}\n{comment}{width} {height}\n" + ("" if kind in ("P1", "P4") else f"{most}\n")
    if kind in ("P1", "P2", "P3"):
        top = 1 if kind == "P1" else most
        body = " ".join(str(rng.randint(0, top)) for _ in range(min(count, 5000))).encode()
    else:
        body = rng.randbytes(count // 8 + height if kind == "P4" else count * (2 if most > 255 else 1))
    return head.encode() + body, ".ppm", f"{kind} {width}x{height} most {most}"


def webp(rng: random.Random) -> Made:
    """Make a WebP: lossy or lossless, with alpha, or an animation."""
    made, what = picture(rng, rng.choice(["RGB", "RGBA", "L"]))
    options = _with_exif(rng) | _profile(rng) | {"lossless": rng.random() < 0.4, "method": 0}
    if rng.random() < 0.25:
        options |= {"save_all": True, "append_images": [made, made]}
    return _saved(made, "WEBP", **options), ".webp", f"WebP {what}"


TIFF_COMPRESSIONS = {
    "1": ("raw", "group3", "group4", "packbits"),
    "RGB": ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma"),
    "L": ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"),
}


def tiff(rng: random.Random) -> Made:
    """Make a TIFF: every mode, many compressions, several pages, tiles of any size."""
    modes = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F"]
    made, what = picture(rng, rng.choice(modes))
    compression = rng.choice(TIFF_COMPRESSIONS.get(made.mode, ("raw", "tiff_lzw", "tiff_deflate")))
    options = _with_exif(rng) | _profile(rng)
    if rng.random() < 0.2:
        options |= {"save_all": True, "append_images": [made]}
    if rng.random() < 0.15:
        options["big_tiff"] = True
    return _saved(made, "TIFF", compression=compression, **options), ".tif", f"TIFF {compression} {what}"


def avif(rng: random.Random) -> Made:
    """Make an AVIF of one image (Pillow 13 crashes when it writes sequences); a PNG where there is no encoder."""
    if not features.check("avif"):
        return png(rng)
    made, what = picture(rng, rng.choice(["RGB", "RGBA", "L"]))
    options = _with_exif(rng) | {"speed": 10, "quality": rng.choice([20, 80]), "max_threads": 1}
    made = made.resize((min(max(made.width, 16), 256), min(max(made.height, 16), 256)))
    return _saved(made, "AVIF", **options), ".avif", f"AVIF {what}"


MAGIC = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"P6\n",
    b"RIFF\x10\0\0\0WEBPVP8 ",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0",
    b"\0\0\0\x20ftypavif",
)


def other(rng: random.Random) -> Made:
    """Make an image of a format that is not read, or none at all."""
    kind = rng.choice(["ICO", "TGA", "JPEG2000", "PCX", "EPS", "PDF", "DDS", "noise", "text", "empty", "magic"])
    if kind == "noise":
        return rng.randbytes(rng.randrange(1, 4000)), ".jpg", kind
    if kind == "text":
        return b"%!PS <svg> GIF89a P6 RIFF hello\n" * rng.randrange(1, 20), ".png", kind
    if kind == "empty":
        return b"", ".webp", kind
    if kind == "magic":
        magic = rng.choice(MAGIC)
        return magic + rng.randbytes(rng.randrange(200)), ".jpg", f"magic {magic!r}"
    made = Pillow.fromarray(_face(96))
    return _saved(made, kind), rng.choice([".jpg", f".{kind.lower()}"]), kind


def large(rng: random.Random) -> Made:
    """Make an image of 24 megapixels, as phones take them, in few bytes: what costs memory and time."""
    kind = rng.randrange(len(_LARGE))
    name, suffix, _ = _LARGE[kind]
    return _large(kind), suffix, f"large {name}"


_LARGE: tuple[tuple[str, str, Callable[[], bytes]], ...] = (
    ("PNG", ".png", lambda: zero_png(2, 8, 3)),
    ("PNG with alpha", ".png", lambda: zero_png(6, 8, 4)),
    ("PNG of 16 bits", ".png", lambda: zero_png(0, 16, 1)),
    ("interlaced PNG", ".png", lambda: zero_png(2, 8, 3, interlace=1)),
    ("JPEG, turned", ".jpg", lambda: _saved(Pillow.new("RGB", LARGE_SIZE, "teal"), "JPEG", exif=_turned())),
    ("progressive JPEG", ".jpg", lambda: _saved(Pillow.new("RGB", LARGE_SIZE, "teal"), "JPEG", progressive=True)),
    ("GIF", ".gif", lambda: _saved(Pillow.new("P", LARGE_SIZE), "GIF")),
    ("TIFF of floats", ".tif", lambda: _saved(Pillow.new("F", LARGE_SIZE), "TIFF", compression="tiff_deflate")),
    ("WebP", ".webp", lambda: _saved(Pillow.new("RGBA", LARGE_SIZE), "WEBP", lossless=True, method=0)),
)


def _turned() -> bytes:
    block = Pillow.Exif()
    block[ORIENTATION] = 6
    return block.tobytes()


def zero_png(
    colour: int, depth: int, channels: int, *, interlace: int = 0, size: tuple[int, int] = LARGE_SIZE
) -> bytes:
    """Return a black PNG, without ever holding its pixels."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    row, rows = bytes(1 + width * depth * channels // 8), height * (2 if interlace else 1)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@lru_cache(maxsize=len(_LARGE))
def _large(kind: int) -> bytes:
    return _LARGE[kind][2]()


MAKERS: dict[str, Callable[[random.Random], Made]] = {
    "jpeg": jpeg,
    "png": png,
    "gif": gif,
    "bmp": bmp,
    "ppm": ppm,
    "webp": webp,
    "tiff": tiff,
    "avif": avif,
    "other": other,
}
