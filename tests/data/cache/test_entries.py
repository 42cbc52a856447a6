"""The cache: opened without decoding, built again when damaged, clear about a disk that is full."""

import errno
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, decode, load, save
from fervit.data.cache import cached_array, entries
from fervit.errors import DataError

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_the_second_opening_decodes_nothing(faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(faces, tmp_path / "x.parquet")
    load(tmp_path / "x.parquet")
    monkeypatch.setattr(decode, "decode", None)
    (tmp_path / "x.parquet").rename(tmp_path / "renamed.parquet")
    assert load(tmp_path / "renamed.parquet").name == "renamed.parquet"


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x"])
def test_a_full_disk_says_so_and_leaves_nothing_behind(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path, name: str
) -> None:
    save(faces, tmp_path / name)

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def enter(file: decode.ImageArrayFile) -> decode.ImageArrayFile:
        file._file = Full()
        return file

    with monkeypatch.context() as patch:
        patch.setattr(decode.ImageArrayFile, "__enter__", enter)
        with pytest.raises(DataError, match=r"No space left on device.*set FERVIT_CACHE"):
            load(tmp_path / name)
        patch.undo()
        patch.setenv("FERVIT_CACHE", str(cache_folder))
        patch.setattr(entries, "_store", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(DataError, match=r"No space left.*set FERVIT_CACHE"):
            load(tmp_path / name)
    assert list(cache_folder.iterdir()) == []
    assert load(tmp_path / name).data_hash == faces.data_hash


def test_a_cache_that_is_a_file_says_so(faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(faces, tmp_path / "x.csv")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set FERVIT_CACHE to another folder"):
        load(tmp_path / "x.csv")


def test_a_damaged_cache_entry_is_built_again(faces: Dataset, tmp_path: Path, cache_folder: Path) -> None:
    save(faces, tmp_path / "x.csv")
    load(tmp_path / "x.csv")
    (entry,) = cache_folder.iterdir()
    (entry / "images.npy").write_bytes((entry / "images.npy").read_bytes()[:5000])
    assert (load(tmp_path / "x.csv").images == faces.images).all()


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x"])
@pytest.mark.parametrize("damage", ["no meta", "no arrays", "empty", "a file", "half of meta", "another form of meta"])
def test_an_entry_that_is_not_whole_blocks_no_later_run(
    faces: Dataset, tmp_path: Path, cache_folder: Path, name: str, damage: str
) -> None:
    save(faces, tmp_path / name)
    load(tmp_path / name)
    (entry,) = cache_folder.iterdir()
    if damage in ("no meta", "no arrays"):
        (entry / ("meta.json" if damage == "no meta" else "arrays.npz")).unlink()
    elif damage in ("empty", "a file"):
        shutil.rmtree(entry)
        entry.write_text("x") if damage == "a file" else entry.mkdir()
    else:
        text = (entry / "meta.json").read_text()
        (entry / "meta.json").write_text(text[:50] if damage == "half of meta" else "[]")
    assert load(tmp_path / name).data_hash == faces.data_hash
    assert (load(tmp_path / name).images == faces.images).all()
    assert [path.name for path in cache_folder.iterdir()] == [entry.name]


@pytest.mark.parametrize("file", ["images.npy", "arrays.npz"])
@pytest.mark.parametrize("keep_time", [True, False])
def test_an_entry_whose_content_was_changed_is_built_again(
    faces: Dataset, tmp_path: Path, cache_folder: Path, caplog: pytest.LogCaptureFixture, file: str, keep_time: bool
) -> None:
    save(faces, tmp_path / "x.csv")
    load(tmp_path / "x.csv")
    path = next(cache_folder.iterdir()) / file
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-200:-100] = bytes(byte ^ 255 for byte in content[-200:-100])
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    dataset = load(tmp_path / "x.csv")
    assert (dataset.images == faces.images).all() and (dataset.targets == faces.targets).all()
    assert f"is damaged ({file} was changed): it is made again" in caplog.text


def test_a_change_anywhere_is_noticed_by_the_time_and_a_copy_of_the_cache_is_accepted(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, 4_000_000, dtype=np.uint8)
    made = []

    def build() -> np.ndarray:
        made.append(1)
        return drawn

    cached_array("soft-targets", "key", build)
    (entry,) = cache_folder.iterdir()
    shutil.copytree(cache_folder, tmp_path / "copy", copy_function=shutil.copyfile)
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "copy"))
    for _ in range(2):
        assert (cached_array("soft-targets", "key", build) == drawn).all()
    assert len(made) == 1 and caplog.text == ""
    monkeypatch.setenv("FERVIT_CACHE", str(cache_folder))
    with (entry / "array.npy").open("r+b") as file:  # a byte between the blocks of the sample
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(entry / "array.npy", (1, 1))
    assert (cached_array("soft-targets", "key", build) == drawn).all()
    assert len(made) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions of POSIX, which root does not have")
def test_a_read_only_cache_serves_what_it_holds(faces: Dataset, tmp_path: Path, cache_folder: Path) -> None:
    save(faces, tmp_path / "x.csv")
    load(tmp_path / "x.csv")
    cache_folder.chmod(0o555)
    try:
        assert load(tmp_path / "x.csv").data_hash == faces.data_hash
    finally:
        cache_folder.chmod(0o755)


def test_an_entry_that_another_process_removes_is_built_again(
    faces: Dataset, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(faces, tmp_path / "x.csv")
    original, calls = entries._verified, []

    def removed_once(entry: Path) -> dict[str, object]:
        calls.append(entry)
        if len(calls) == 1:
            shutil.rmtree(entry)
        return original(entry)

    monkeypatch.setattr(entries, "_verified", removed_once)
    assert load(tmp_path / "x.csv").data_hash == faces.data_hash and len(calls) == 2

    def removed_always(entry: Path) -> dict[str, object]:
        shutil.rmtree(entry)
        return original(entry)

    monkeypatch.setattr(entries, "_verified", removed_always)
    with pytest.raises(DataError, match="does not stay in the cache"):
        load(tmp_path / "x.csv")


def test_what_is_said_about_a_source_is_said_at_every_loading(
    faces: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(faces, tmp_path / "x")
    (tmp_path / "x" / "train" / "angry").mkdir(exist_ok=True)
    (tmp_path / "x" / "train" / "angry" / "Training_9.png").write_bytes(b"no image")
    for _ in range(2):
        caplog.clear()
        notes = load(tmp_path / "x").notes
        assert "1 of 31 images cannot be read" in caplog.text and "1 of 31" in notes[0]
