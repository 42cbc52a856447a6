"""Files: pickles by name and content, and writing whole or not at all."""

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from fervit.errors import ConfigError, DataError
from fervit.files import (
    ASSETS,
    cannot_write,
    file_digest,
    fitting_name,
    is_pickle,
    open_regular,
    read_json,
    read_regular,
    replacing,
    replacing_folder,
)


def test_the_assets_are_in_the_package() -> None:
    assert (ASSETS / "yunet_graph.onnx").is_file()


@pytest.mark.parametrize("name", ["a.pt", "A.PTH", "pytorch_model.bin", "a.pkl", "a.pickle", "a.ckpt"])
def test_a_pickle_is_known_by_its_suffix(name: str) -> None:
    assert is_pickle(Path(name))
    assert not is_pickle(Path("model.safetensors")) and not is_pickle(Path("model.onnx"))


def test_a_pickle_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    for protocol in (2, 3, 4, 5):
        assert is_pickle(Path("model.onnx"), pickle.dumps({}, protocol)[:4])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:  # as torch.save writes it
        archive.writestr("data.pkl", b"x")
    assert is_pickle(Path("model.onnx"), (tmp_path / "a.zip").read_bytes()[:4])
    assert not is_pickle(Path("model.onnx"), b"\x08\x09\x12\x07")


def test_a_replaced_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with replacing(path) as beside:
        assert beside.parent == path.parent and beside.suffix == path.suffix
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="broken"), replacing(path) as beside:
        beside.write_text("half")
        raise ValueError("broken")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_replaced_file_has_the_permissions_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.json") as beside:
            beside.write_text("{}")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


def test_long_and_odd_names_can_be_replaced_and_a_missing_folder_cannot(tmp_path: Path) -> None:
    for name in ("表" * 80 + ".onnx", "without suffix", ".hidden"):
        with replacing(tmp_path / name) as beside:
            beside.write_text("x")
        assert (tmp_path / name).read_text() == "x"
    with pytest.raises(OSError, match="No such file"), replacing(tmp_path / "none" / "a.json"):
        pytest.fail("there is no such folder")


def test_a_replaced_folder_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deeper" / "models"
    for name in ("old", "new"):
        with replacing_folder(folder) as beside:
            assert beside.is_dir() and not any(beside.iterdir())
            (beside / name).touch()
            assert name == "old" or [path.name for path in folder.iterdir()] == ["old"]
        assert [path.name for path in folder.iterdir()] == [name]
    with pytest.raises(ValueError, match="broken"), replacing_folder(folder) as beside:
        (beside / "half").touch()
        raise ValueError("broken")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_in_the_place_of_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"), replacing_folder(tmp_path / "file" / "models"):
        pytest.fail("a file has no folders in it")


def test_what_cannot_be_written_is_one_line() -> None:
    error = cannot_write("out/a.csv", OSError(28, "No space left on device", "out/a.csv"))
    assert isinstance(error, ConfigError)
    assert str(error) == "cannot write out/a.csv: No space left on device"
    assert str(cannot_write("t.png", ValueError("bad size\nin detail"))) == "cannot write t.png: bad size"


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("stem", ["a" * 300, "ü" * 150, "a" + "ü" * 150, os.fsdecode(b"\xff" * 300)])
def test_a_name_that_is_too_long_is_cut_between_characters_and_told_apart_by_a_hash(tmp_path: Path, stem: str) -> None:
    name = fitting_name(tmp_path, stem, "-2.jpg")
    assert 245 < len(os.fsencode(name)) <= 255 and name.endswith("-2.jpg")
    (tmp_path / name).touch()
    assert fitting_name(tmp_path, stem + "b", "-2.jpg") != name
    assert fitting_name(tmp_path, "short", ".jpg") == "short.jpg"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_regular_files_and_links_to_them_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "piped").symlink_to(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("a", "link"):
        assert read_regular(tmp_path / name, limit=3) == b"abc"
    for name, kind in (("pipe", "a named pipe"), ("piped", "a named pipe"), ("zero", "a device"), (".", "a folder")):
        for read in (open_regular, file_digest):
            with pytest.raises(OSError, match=f"it is {kind}, expected a regular file"):
                read(tmp_path / name)
        with pytest.raises(DataError, match=f"cannot be read .it is {kind}"):
            read_json(tmp_path / name)
    with pytest.raises(OSError, match="No such file"):
        open_regular(tmp_path / "none")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(10**10)  # sparse: takes no space
    with pytest.raises(OSError, match="it is larger than 5 MB"):
        read_regular(tmp_path / "a", limit=5_000_000)
