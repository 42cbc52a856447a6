"""Images of 16 and 32 bits: the ranges that cameras, microscopes and numpy give, as bright as their 8-bit copy."""

import io
import json
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fervit.cli import app
from fervit.data.decode import Shape, decode
from fervit.media.decoding import depth
from fervit.media.decoding.depth import told_white, white_of
from fervit.media.images import as_image, read_image
from tests.helpers.fuzzing.images import png_chunk

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 13), np.uint8)
GREY[0, :2] = 0, 255
COLOUR = RNG.integers(0, 256, (9, 13, 3), np.uint8)
COLOUR[0, 0], COLOUR[0, 1] = 255, 0
RANGES = {"8 bits": 255, "10 bits": 1023, "12 bits": 4095, "14 bits": 16383, "16 bits": 65535}


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "_told", set())


def deep(values: np.ndarray, white: float) -> np.ndarray:
    """Return 8-bit values in the range 0..white."""
    return np.rint(values / 255 * white)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(values: np.ndarray, colour_type: int) -> bytes:
    """Return a PNG of 16 bits a channel, whatever Pillow can write."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(values: np.ndarray, order: str, *, packed: bool) -> bytes:
    """Return an RGB TIFF (6.0) of 16 bits a channel; `order` is `<` or `>`."""
    height, width = values.shape[:2]
    strip = values.astype(order + "u2").tobytes()
    strip = zlib.compress(strip) if packed else strip
    entries = [
        (256, 4, width),
        (257, 4, height),
        (259, 4, 8 if packed else 1),
        (262, 4, 2),
        (277, 4, 3),
        (278, 4, height),
    ]
    entries += [(273, 4, 200), (279, 4, len(strip))]
    table = [struct.pack(order + "HHII", tag, kind, 1, value) for tag, kind, value in entries]
    table.append(struct.pack(order + "HHII", 258, 3, 3, 190))
    table.sort(key=lambda entry: struct.unpack(order + "H", entry[:2]))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(table))
    data = (head + b"".join(table) + bytes(4)).ljust(190, b"\0") + struct.pack(order + "HHH", 16, 16, 16)
    return data.ljust(200, b"\0") + strip


def pnm(magic: str, values: np.ndarray, most: int) -> bytes:
    height, width = values.shape[:2]
    body = values.astype(">u2" if most > 255 else "u1").tobytes()
    if magic in ("P2", "P3"):
        body = b"# in digits\n" + b" ".join(b"%d" % value for value in values.astype(int).ravel()) + b"\n"
    return f"{magic}\n{width} {height}\n{most}\n".encode() + body


def with_alpha(values: np.ndarray, white: float) -> np.ndarray:
    return np.concatenate([values, np.full((*values.shape[:2], 1), white)], axis=2)


Maker = Callable[[float], tuple[bytes, np.ndarray]]
FILES: dict[str, Maker] = {
    "grey PNG": lambda w: (saved(Image.fromarray(deep(GREY, w).astype(np.uint16)), "PNG"), GREY),
    "grey TIFF": lambda w: (saved(Image.fromarray(deep(GREY, w).astype("<u2")), "TIFF"), GREY),
    "grey TIFF, other bytes first": lambda w: (saved(Image.fromarray(deep(GREY, w).astype(">u2")), "TIFF"), GREY),
    "TIFF of int32": lambda w: (saved(Image.fromarray(deep(GREY, w).astype(np.int32)), "TIFF"), GREY),
    "TIFF of floats": lambda w: (saved(Image.fromarray(deep(GREY, w).astype(np.float32)), "TIFF"), GREY),
    "PGM": lambda w: (pnm("P5", deep(GREY, w), 65535), GREY),
    "PGM in digits": lambda w: (pnm("P2", deep(GREY, w), 65535), GREY),
    "PPM": lambda w: (pnm("P6", deep(COLOUR, w), 65535), COLOUR),
    "PPM in digits": lambda w: (pnm("P3", deep(COLOUR, w), 65535), COLOUR),
    "RGB PNG": lambda w: (png(deep(COLOUR, w), 2), COLOUR),
    "RGBA PNG": lambda w: (png(with_alpha(deep(COLOUR, w), w), 6), COLOUR),
    "grey PNG with alpha": lambda w: (png(with_alpha(deep(GREY[..., None], w), w), 4), GREY),
    "RGB TIFF": lambda w: (tiff(deep(COLOUR, w), "<", packed=False), COLOUR),
    "RGB TIFF, other bytes first": lambda w: (tiff(deep(COLOUR, w), ">", packed=False), COLOUR),
    "RGB TIFF, packed": lambda w: (tiff(deep(COLOUR, w), "<", packed=True), COLOUR),
}


def assert_shows(image: np.ndarray, expected: np.ndarray) -> None:
    rgb = np.repeat(expected[:, :, None], 3, axis=2) if expected.ndim == 2 else expected
    assert image.shape == rgb.shape
    assert np.abs(image.astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("range", RANGES)
@pytest.mark.parametrize("kind", FILES)
def test_a_deep_file_is_as_bright_as_its_8_bit_copy_and_it_is_told(
    kind: str, range: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, expected = FILES[kind](RANGES[range])
    path = tmp_path / "scan.png"
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert_shows(read_image(path), expected)
    told = [record.getMessage() for record in caplog.records]
    if range == "16 bits" and kind != "TIFF of floats":
        assert told == []
    else:
        assert len(told) == 1
        assert f"scan.png: its values from 0 to {RANGES[range]} are taken for {range.split()[0]}-bit ones" in told[0]
    assert_shows(read_image(data), expected)
    assert_shows(as_image(Image.open(io.BytesIO(data))), expected)
    assert_shows(np.repeat(decode(data, Shape(9, 13, 3)), 1, axis=2), expected)
    assert len(caplog.records) == len(told), "once for all such images"


def test_a_header_that_names_the_greatest_value_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    dark = deep(COLOUR, 40)  # of 1023: a night
    for magic in ("P6", "P3"):
        image = read_image(pnm(magic, dark, 1023))
        assert np.abs(image - dark * 255 / 1023).max() <= 1
    assert_shows(read_image(pnm("P5", deep(GREY, 1023), 1023)), GREY)
    assert_shows(read_image(pnm("P5", deep(GREY, 200), 200)), GREY)
    assert not caplog.records


def test_floats_of_any_scale_are_shown_and_what_is_no_number_is_black(caplog: pytest.LogCaptureFixture) -> None:
    ramp = np.linspace(-3, 5, 256, dtype=np.float32)[None]
    assert read_image(saved(Image.fromarray(ramp), "TIFF"))[0, :, 0].tolist() == list(range(256))
    assert "its values from -3 to 5 have no known scale: -3 is shown black and 5 white" in caplog.text
    holes = np.array([[0, 100, 200, np.nan, np.inf, -np.inf]], np.float32)
    assert read_image(saved(Image.fromarray(holes), "TIFF"))[0, :, 0].tolist() == [0, 100, 200, 0, 255, 0]
    nothing = np.full((2, 2), np.nan, np.float32)
    assert not read_image(saved(Image.fromarray(nothing), "TIFF")).any()


ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint16 of 10 bits": lambda x: deep(x, 1023).astype(np.uint16),
    "uint16 of 0..255": lambda x: x.astype(np.uint16),
    "uint16 of 16 bits": lambda x: deep(x, 65535).astype(np.uint16),
    "int64, as lists become": lambda x: x.astype(np.int64),
    "floats of 0..1": lambda x: (x / 255).astype(np.float32),
    "floats of 0..255": lambda x: x.astype(np.float64),
    "half floats": lambda x: (x / 255).astype(np.float16),
    "floats of -1..1": lambda x: x / 127.5 - 1,
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_other_numbers_are_as_bright_as_8_bit_ones(kind: str) -> None:
    make = ARRAYS[kind]
    assert_shows(as_image(make(COLOUR)), COLOUR)
    assert_shows(as_image(make(GREY)), GREY)
    assert_shows(as_image(make(GREY)[:, :, None]), GREY)
    if kind != "floats of -1..1":
        white = make(np.array([[255]]))[0, 0] if "int64" not in kind else 255
        assert_shows(as_image(np.concatenate([make(COLOUR), np.full((9, 13, 1), white)], axis=2)), COLOUR)


def test_an_array_of_truth_values_is_black_and_white() -> None:
    assert as_image(np.array([[True, False]]))[0, :, 1].tolist() == [255, 0]


def test_a_large_image_is_scaled_alike_in_all_its_rows() -> None:
    plane = np.zeros((5000, 1000), np.uint16)
    plane[-1, -1] = 1023
    plane[2500] = 512
    image = as_image(plane)
    assert [image[0, 0, 0], image[2500, 9, 1], image[-1, -1, 2]] == [0, 128, 255]
    assert np.array_equal(image, read_image(saved(Image.fromarray(plane), "TIFF")))


def test_what_is_assumed_of_a_folder_is_told_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    for high in (200, 250, 900, 1000, 255):
        told_white(f"{high}.png", [np.array([0, high], np.uint16)])
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["200.png", "900.png"]
    assert white_of("u", 0, 1)[1] == 1 and white_of("i", 0, 70_000)[:2] == (0, 70_000)


@pytest.mark.slow
@pytest.mark.parametrize("range", RANGES)
def test_a_face_in_a_deep_image_is_found_and_classified_as_in_its_8_bit_copy(
    range: str, tmp_path: Path, astronaut: np.ndarray
) -> None:
    grey = np.asarray(Image.fromarray(astronaut).convert("L"))
    Image.fromarray(deep(grey, RANGES[range]).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "plain.png")
    lines = {}
    for name in ("deep", "plain"):
        result = CliRunner().invoke(app, ["predict", str(tmp_path / f"{name}.png"), "--json", "-"])
        lines[name] = json.loads(result.stdout)
    assert lines["deep"]["label"] == lines["plain"]["label"]
    assert lines["deep"]["probs"] == pytest.approx(lines["plain"]["probs"], abs=0.02)
