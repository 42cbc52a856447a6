"""The photos and videos that a command's paths name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fervit.errors import ImageError, VideoError, reason
from fervit.media import images, video


@dataclass(frozen=True)
class Inputs:
    """Photos and videos, each once, in the order in which they were named."""

    photos: Sequence[Path]
    videos: Sequence[Path]

    @property
    def alone(self) -> bool:
        """Whether there is one file only."""
        return len(self.photos) + len(self.videos) == 1

    def none_read(self) -> ImageError | VideoError:
        """Return the error of a run over several inputs, none of which could be read."""
        if not self.photos:
            return VideoError(f"none of the {len(self.videos)} videos could be read")
        what = "inputs" if self.videos else "images"
        return ImageError(f"none of the {len(self.photos) + len(self.videos)} {what} could be read")


def find_inputs(paths: Sequence[Path]) -> Inputs:
    """Return the named photos with those in the named folders, and the named videos.

    Raises:
        ImageError: a path does not exist, a folder cannot be read, or holds no image.
    """
    files: dict[Path, None] = {}
    for path in paths:
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except OSError:  # the name is too long, or its folder not readable: reading the file reports which
            is_folder, exists = False, True
        if is_folder:
            files.update(dict.fromkeys(_images_in(path)))
        elif exists:
            files[path] = None
        else:
            raise ImageError(f"no such file or folder: {path}")
    videos = [path for path in files if path.suffix.lower() in video.EXTENSIONS]
    return Inputs([path for path in files if path not in set(videos)], videos)


def _images_in(folder: Path) -> list[Path]:
    try:
        found = images.list_images(folder)
    except OSError as error:
        raise ImageError(f"the folder {folder} cannot be read: {reason(error)}") from error
    if not found:
        raise ImageError(f"no images in {folder} (looked for {', '.join(sorted(images.EXTENSIONS))})")
    return found
