"""Decoding: one size and one number of channels for all, and images that cannot be read."""

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data import load
from fervit.errors import DataError
from fervit.media import images
from tests.helpers.data_files import write_image

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_images_of_several_sizes_are_squashed_to_224_rgb(tmp_path: Path) -> None:
    write_image(tmp_path / "d" / "train" / "sad" / "a.jpg", size=(300, 200), mode="RGB")
    write_image(tmp_path / "d" / "train" / "sad" / "b.png", size=(48, 48))
    assert load(tmp_path / "d").images.shape == (2, 224, 224, 3)
    assert load(tmp_path / "d", size_px=64).images.shape == (2, 64, 64, 3)


def test_small_images_of_one_size_keep_it(tmp_path: Path) -> None:
    for k in range(2):
        write_image(tmp_path / "d" / "train" / "sad" / f"{k}.png", size=(40, 30), mode="RGB", seed=k)
    assert load(tmp_path / "d").images.shape == (2, 30, 40, 3)


def test_images_of_100_px_are_not_blown_up(tmp_path: Path) -> None:
    for k in range(2):
        write_image(tmp_path / "d" / "train" / "sad" / f"{k}.png", size=(100, 100), mode="RGB", seed=k)
    assert load(tmp_path / "d").images.shape == (2, 100, 100, 3)
    write_image(tmp_path / "d" / "train" / "sad" / "small.png", size=(60, 50), mode="RGB", seed=3)
    assert load(tmp_path / "d").images.shape == (3, 100, 100, 3)


def test_grey_images_stored_as_rgb_come_out_grey(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    folder = tmp_path / "d" / "train" / "sad"
    folder.mkdir(parents=True)
    Image.fromarray(grey).convert("RGB").save(folder / "a.png")
    Image.fromarray(grey.T).save(folder / "b.png")
    dataset = load(tmp_path / "d")
    assert dataset.images.shape == (2, 48, 48, 1)
    assert (dataset.images[0, ..., 0] == grey).all()


def test_sixteen_bit_images_are_scaled_not_clipped(tmp_path: Path) -> None:
    folder = tmp_path / "d" / "train" / "sad"
    folder.mkdir(parents=True)
    Image.fromarray(np.linspace(0, 65535, 2304).astype(np.uint16).reshape(48, 48)).save(folder / "a.png")
    images = load(tmp_path / "d").images
    assert images.max() == 255
    assert 120 <= images.mean() <= 135


def test_unreadable_images_are_skipped_counted_and_the_first_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(3):
        write_image(tmp_path / "d" / "train" / "sad" / f"{k}.png", seed=k)
    (tmp_path / "d" / "train" / "sad" / "3 ü.jpg").write_bytes(b"not an image")
    whole = (tmp_path / "d" / "train" / "sad" / "2.png").read_bytes()
    (tmp_path / "d" / "train" / "sad" / "4.png").write_bytes(whole[:900])
    with caplog.at_level(logging.WARNING):
        dataset = load(tmp_path / "d")
    assert len(dataset) == 3
    assert dataset.skipped == ("train/sad/3 ü.jpg", "train/sad/4.png")
    assert "2 of 5 images cannot be read, the first is train/sad/3 ü.jpg" in caplog.text
    assert load(tmp_path / "d").skipped == dataset.skipped
    assert dataset.rows.tolist() == [0, 1, 2]


def test_an_image_bomb_is_skipped_without_being_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    medium = bomb.replace(header, chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 8_000, 8, 0, 0, 0, 0)))
    for name, data in (("bomb.png", bomb), ("medium.png", medium)):
        (tmp_path / "d" / "train" / "sad").mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / "train" / "sad" / name).write_bytes(data)
    with pytest.raises(
        DataError, match=r"2 of 2 images cannot be read, the first is train/sad/bomb.png: it is too large: more than 64"
    ):
        load(tmp_path / "d")


def test_an_image_in_a_format_that_starts_programs_is_not_opened(tmp_path: Path) -> None:
    for k in range(2):
        write_image(tmp_path / "d" / "train" / ("sad", "joy")[k] / f"{k}.png", seed=k)
    Image.new("RGB", (48, 48)).save(tmp_path / "d" / "train" / "sad" / "x.jpg", format="EPS")
    dataset = load(tmp_path / "d")
    assert dataset.skipped == ("train/sad/x.jpg",)
    assert any("the first is train/sad/x.jpg: " in note for note in dataset.notes)


def test_an_image_whose_decoder_is_not_installed_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    for k in range(2):
        write_image(tmp_path / "d" / "train" / ("sad", "joy")[k] / f"{k}.png", seed=k)
    (tmp_path / "d" / "train" / "sad" / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    assert any("pip install 'fervit[heic]'" in note for note in load(tmp_path / "d").notes)
