"""The photos and videos that paths name."""

import os
from pathlib import Path

import pytest

from fervit.errors import ImageError, VideoError
from fervit.inference.inputs import describe_skipped, find_inputs


def test_files_and_folders_become_photos_and_videos_each_once(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.jpg"):
        (photos / name).touch()
    clip, other = tmp_path / "clip.MP4", tmp_path / "named.txt"
    clip.touch()
    other.touch()
    found = find_inputs([photos / "b.png", photos, clip, other, clip])
    assert found.photos == [photos / "b.png", photos / "a.jpg", other]  # what is named is read, whatever its suffix
    assert found.videos == [clip]
    assert not found.alone and find_inputs([clip]).alone


def test_what_does_not_exist_or_holds_no_image_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file or folder"):
        find_inputs([tmp_path / "absent.jpg"])
    with pytest.raises(ImageError, match=r"no images in .*, nor videos: it is empty"):
        find_inputs([tmp_path])


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["a.jpg", "b.jpg"], ImageError, "none of the 2 images"),
        (["a.mp4", "b.mp4", "c.mp4"], VideoError, "none of the 3 videos"),
        (["a.jpg", "b.mp4"], ImageError, "none of the 2 inputs"),
    ],
)
def test_a_run_that_could_read_nothing_says_of_how_many(
    tmp_path: Path, names: list[str], kind: type[Exception], message: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    error = find_inputs([tmp_path / name for name in names]).none_read()
    assert isinstance(error, kind) and str(error).startswith(message)


def test_what_a_folder_holds_beside_images_is_counted_by_reason(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "folder"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "a.jpg").touch()
    (folder / "inner").mkdir()
    for name in ("a.jpg", "inner/b.png", "notes.txt", "inner/data.csv", ".DS_Store"):
        (folder / name).touch()
    clip.rename(folder / "photo.jpeg")  # a video under the name of a photo
    (folder / "again").symlink_to(folder / "inner")
    (folder / "gone.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "linked.jpg").symlink_to(folder / "a.jpg")
    os.mkfifo(folder / "pipe.jpg")
    found = find_inputs([folder, folder])
    assert found.photos == [folder / "a.jpg", folder / "inner" / "b.png", folder / "linked.jpg"]
    assert found.videos == [folder / "photo.jpeg"]
    assert [(Path(item.source).name, item.reason) for item in found.skipped] == [
        (".DS_Store", "hidden"),
        (".git", "hidden"),
        ("again", "link to a folder"),
        ("gone.jpg", "broken link"),
        ("data.csv", "neither image nor video"),
        ("notes.txt", "neither image nor video"),
        ("pipe.jpg", "pipe or device"),
    ]
    line = "skipped 7: 2 hidden, 2 neither image nor video, 1 link to a folder, 1 broken link, 1 pipe or device"
    assert describe_skipped(found.skipped) == line
    without = find_inputs([folder], videos=False)
    assert not without.videos and ("video" in {item.reason for item in without.skipped})


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every folder")
def test_an_unreadable_folder_within_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "locked").mkdir(mode=0)
    assert [item.reason for item in find_inputs([tmp_path]).skipped] == ["unreadable folder"]


def test_a_folder_that_cannot_be_listed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert [item.reason for item in find_inputs([tmp_path]).skipped] == ["unreadable folder"]
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        find_inputs([tmp_path / "locked"])


def test_a_pattern_that_the_shell_left_is_expanded(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.png", "[x].jpg"):
        (tmp_path / name).touch()
    found = find_inputs([str(tmp_path / "*.jpg")])
    assert [Path(str(path)).name for path in found.photos] == ["[x].jpg", "a.jpg", "b.jpg"]
    assert find_inputs([str(tmp_path / "[x].jpg")]).photos == [tmp_path / "[x].jpg"]  # a name first
    with pytest.raises(ImageError, match=r"no file matches .*\*\.gif"):
        find_inputs([str(tmp_path / "*.gif")])


def test_addresses_are_cameras_or_refused_without_their_password(tmp_path: Path) -> None:
    found = find_inputs(["rtsp://admin:hunter2@10.0.0.2/live", "http://10.0.0.3/video.mjpg"])
    assert found.cameras == ["rtsp://admin:hunter2@10.0.0.2/live", "http://10.0.0.3/video.mjpg"] and found.count == 2
    files = ("https://u:hunter2@host/a.jpg", "ftp://u:hunter2@host/a", "http://u:hunter2@[::1/a", "rtsp:/hunter2@x")
    for address in files:
        with pytest.raises(VideoError, match="is no address of a camera") as error:
            find_inputs([address])
        assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("address", ["data:image/png;base64," + "A" * 107_000, "data:" + "x" * 5000])
def test_a_data_uri_is_refused_in_one_short_line(address: str) -> None:
    with pytest.raises(VideoError, match="is no path: write its bytes to a file") as error:
        find_inputs([address])
    assert len(str(error.value)) < 200
