"""The photos and videos that paths name."""

from pathlib import Path

import pytest

from fervit.errors import ImageError, VideoError
from fervit.inference.inputs import find_inputs


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
    with pytest.raises(ImageError, match=r"no images in .*\(looked for \.bmp"):
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
