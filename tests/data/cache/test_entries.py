"""The cache: opened without decoding, built again when damaged, clear about a disk that is full."""

import errno
import io
from pathlib import Path

import pytest

from fervit.data import Dataset, decode, load, save
from fervit.data.cache import entries
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
