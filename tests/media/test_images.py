"""Decoding images, and what is refused."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

import fervit.media.images
from fervit.data.decode import Shape, decode
from fervit.errors import ImageError
from fervit.media.images import CONTENT_TYPES, EXTENSIONS, as_image, jpeg_scans, list_images, read_image


def encode(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, idat, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_path_bytes_and_an_open_file_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = noise(5, 7, 3)
    data = encode(Image.fromarray(pixels))
    path = tmp_path / "é ü 表情 photo.png"
    path.write_bytes(data)
    for source in (path, str(path), data, io.BytesIO(data)):
        image = read_image(source)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    stored = noise(4, 6, 3)
    turned = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1]}
    turned |= {k: np.transpose(turned[other], (1, 0, 2)) for k, other in ((5, 1), (6, 4), (7, 3), (8, 2))}
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(stored), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(read_image(data), turned[orientation])


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, :, 3] = 255
    image = read_image(encode(Image.fromarray(rgba)))
    assert image[0].max() == 0
    assert image[1].min() == 255
    palette = Image.fromarray(rgba[..., :3]).convert("P")
    assert read_image(encode(palette, transparency=palette.getpixel((0, 0)))).min() == 255


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    image = read_image(encode(Image.fromarray(deep)))
    assert image.shape == (1, 4, 3)
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_from_zero_to_one_are_scaled_to_eight_bits() -> None:
    image = read_image(encode(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF"))
    assert image[0, :, 1].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    picture = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    image = read_image(encode(picture, "PNG" if mode not in ("CMYK", "YCbCr") else "TIFF"))
    assert image.shape == (4, 6, 3)
    assert image.min() > 250


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    image = read_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image[4, 4].tolist() == [255, 0, 0]


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    for width, height in ((20_000, 20_000), (13_000, 13_000), (10_001, 10_000)):
        path.write_bytes(png_header(width, height))
        start = time.perf_counter()
        with pytest.raises(ImageError, match=r"bomb\.png is too large.*100"):
            read_image(path)
        assert time.perf_counter() - start < 0.5


def scan_bomb(scans: int, before: bytes = b"") -> bytes:
    """Return a progressive JPEG of 4 megapixels with `scans` more, empty scans; 300 take a second to decode."""
    whole = encode(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + before + last * scans + whole[-2:]


COMMENT = b"\xff\xfe\x00\x02"
HIDING = {
    "nothing": b"",
    "a byte between segments": COMMENT + b"\x00",
    "a stuffed byte between segments": COMMENT + b"\xff\x00",
    "a marker without a length": COMMENT + b"\xff\x01\x7f\xff",
    "fill bytes": COMMENT + b"\xff\xff\xff",
}


@pytest.mark.parametrize("hiding", HIDING)
def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(hiding: str, tmp_path: Path) -> None:
    data = scan_bomb(3000, HIDING[hiding])  # ten seconds
    path = tmp_path / "bomb.jpg"
    path.write_bytes(data)
    start = time.perf_counter()
    for source in (data, path, io.BytesIO(data)):
        with pytest.raises(ImageError, match="too many scans: expected a JPEG of at most 100"):
            read_image(source)
    with pytest.raises(ImageError, match="it has too many scans"):
        decode(data, Shape(48, 48, 1))  # as an image of a data set
    with pytest.raises(ImageError, match="the image has too many scans"), Image.open(path) as opened:
        as_image(opened)
    assert time.perf_counter() - start < 2


def test_the_larger_a_jpeg_the_fewer_scans_it_may_have() -> None:
    data = bytearray(scan_bomb(30))
    assert read_image(bytes(data)).shape == (2000, 2000, 3)
    at = data.index(b"\xff\xc2") + 5  # height and width in the frame's header
    data[at : at + 4] = struct.pack(">HH", 8000, 8000)
    with pytest.raises(ImageError, match="too many scans: expected a JPEG of at most 23"):
        read_image(bytes(data))


def test_an_open_file_whose_image_is_refused_stays_open() -> None:
    for data in (png_header(20_000, 20_000), scan_bomb(101), b"hello", b""):
        file = io.BytesIO(data)
        with pytest.raises(ImageError):
            read_image(file)
        assert not file.closed


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB"])
def test_a_tiff_is_upright_by_its_name_as_from_its_bytes(mode: str, orientation: int, tmp_path: Path) -> None:
    stored = (
        Image.fromarray(noise(4, 6).astype(np.uint16))
        if mode == "I;16"
        else Image.fromarray(noise(4, 6, 3)).convert(mode)
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "scan.tif"
    stored.save(path, exif=exif)
    image = read_image(path)
    assert image.shape == ((6, 4, 3) if orientation > 4 else (4, 6, 3))
    np.testing.assert_array_equal(image, read_image(path.read_bytes()))


def test_a_progressive_jpeg_with_much_after_its_end_is_read() -> None:
    data = scan_bomb(5) + b"\xff\xda\x00\x02" * 500
    assert jpeg_scans(data, 1000) < 20
    assert read_image(data).shape == (2000, 2000, 3)


def test_a_truncated_jpeg_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encode(Image.fromarray(noise(64, 64, 3)), "JPEG")[:900])
    with pytest.raises(ImageError, match=r"cut\.jpg cannot be read: .*truncated"):
        read_image(path)


def test_an_empty_file_is_named_empty(tmp_path: Path) -> None:
    path = tmp_path / "zero.jpg"
    path.touch()
    with pytest.raises(ImageError, match=r"zero\.jpg is empty"):
        read_image(path)
    with pytest.raises(ImageError, match="is empty"):
        read_image(b"")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.jpg"
    path.write_text("hello")
    with pytest.raises(ImageError, match="is not an image"):
        read_image(path)
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


def test_cut_off_files_of_every_format_are_image_errors() -> None:
    picture = Image.fromarray(noise(40, 40, 3))
    for format in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        data = encode(picture, format)
        for length in (3, 12, 30, len(data) // 2):
            with pytest.raises(ImageError):
                read_image(data[:length])


def test_arrays_and_pillow_images_are_taken_as_they_are() -> None:
    colour, grey = noise(5, 6, 3), noise(5, 6)
    assert as_image(colour) is colour
    np.testing.assert_array_equal(as_image(Image.fromarray(colour)), colour)
    np.testing.assert_array_equal(as_image(grey), np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(as_image(grey[..., None]), as_image(grey))
    assert as_image(noise(5, 6, 4)).shape == (5, 6, 3)
    for wrong in (
        colour.astype(np.complex64),
        colour.astype(object),
        noise(5, 6, 2),
        noise(2, 5, 6, 3),
        np.empty((0, 4, 3), np.uint8),
    ):
        with pytest.raises(ImageError, match="expected"):
            as_image(wrong)


def test_images_of_a_folder_are_listed_in_order(tmp_path: Path) -> None:
    (tmp_path / "b c").mkdir()
    for name in ("z.PNG", "a.jpg", "b c/ü.webp", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == [
        "a.jpg",
        "b c/ü.webp",
        "z.PNG",
    ]


def test_an_avif_is_read_with_its_orientation(tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.jpg", "AVIF", exif=exif, quality=95)
    for source in (tmp_path / "a.jpg", (tmp_path / "a.jpg").read_bytes()):
        read = read_image(source)
        assert read.shape == (60, 40, 3) and read[:25].mean() > 230 and read[35:].mean() < 20


def test_a_heic_is_read_where_its_package_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.new("RGB", (60, 40), (200, 30, 30)).save(tmp_path / "a.heic", "HEIF")
    read = read_image(tmp_path / "a.heic")
    assert read.shape == (40, 60, 3) and abs(read.mean(axis=(0, 1)) - (200, 30, 30)).max() < 8
    cut = (tmp_path / "a.heic").read_bytes()[:200]
    with pytest.raises(ImageError):
        read_image(cut)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc"])
def test_a_heic_names_the_extra_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, brand: bytes) -> None:
    monkeypatch.setattr(fervit.media.images, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"is in HEIF, which needs .*: pip install 'fervit\[heic\]'"):
        read_image(b"\0\0\0\x18ftyp" + brand + b"\0" * 60)


def test_an_avif_names_the_pillow_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(ImageError, match=r"is in AVIF, which needs .*: pip install 'pillow>=11.3'"):
        read_image(b"\0\0\0\x18ftypavif" + b"\0" * 60)


def test_every_format_has_its_endings_and_content_types_in_one_table() -> None:
    assert {".jpg", ".heic", ".avif", ".apng"} <= EXTENSIONS
    assert {"image/jpeg", "image/jpg", "image/heic", "image/avif"} <= CONTENT_TYPES


def test_the_first_of_several_images_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = [Image.new("RGB", (9, 7), name) for name in ("red", "green", "blue")]
    for name, form in (("a.gif", "GIF"), ("a.tif", "TIFF"), ("a.webp", "WEBP"), ("a.png", "PNG")):
        pages[0].save(tmp_path / name, form, save_all=True, append_images=pages[1:])
        caplog.clear()
        assert read_image(tmp_path / name)[0, 0].argmax() == 0
        assert "only the first of 3 images" in caplog.text, name
