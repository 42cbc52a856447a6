"""How far a run over many files is, measured in frames: what takes the time."""

import contextlib
from collections.abc import Sequence

from fervit.errors import VideoError
from fervit.inference.results import FrameResult
from fervit.inference.runs.files import Ahead, Ended, Event, Source, Started, size_of
from fervit.media.video import VideoInfo, probe

BYTES_PER_FRAME = 20_000  # of a video whose header tells no length: 4 Mbit/s at 25 frames/s


class Workload:
    """The frames of all files of a run, by their headers; a photo is one frame.

    Args:
        files: photos, videos and the addresses of cameras; the length of the latter counts as one frame.
        videos: those that are videos or cameras.
        every: look only at every so many frames.

    Attributes:
        total: frames in all.
        done: frames of the finished sources, and of the present one.
        infos: the headers of the videos that could be read.
    """

    def __init__(self, files: Sequence[Source], videos: Sequence[Source], every: int = 1):
        moving = set(videos)
        self.infos: dict[Source, VideoInfo] = {}
        for file in files:
            if file in moving and not isinstance(file, str):
                with contextlib.suppress(VideoError):  # its turn comes, with a row that says why
                    self.infos[file] = probe(file)
        self._sizes = {file: _frames(file, self.infos[file]) / every if file in self.infos else 1.0 for file in files}
        self.total, self.done = sum(self._sizes.values()), 0.0
        self._finished = 0.0
        self._frames, self._size, self._ahead = 0, 1.0, 0

    def update(self, event: Event) -> float:
        """Count what happened, and return how many frames are done."""
        if isinstance(event, Ahead):
            self._ahead = event.frames
        elif isinstance(event, Started):
            self._frames = 0 if event.before is None else event.before.frames
            self._size = self._sizes[event.file]
        elif isinstance(event, FrameResult):
            self._frames += 1
            self._ahead = max(0, self._ahead - 1)  # as it was when it was last told
        elif isinstance(event, Ended):
            self._finished += self._sizes[event.file]
            self._frames = 0
        present = min(self._frames, self._size)
        self.done = max(self.done, min(self.total, self._finished + present + self._ahead))
        return self.done


def _frames(file: Source, info: VideoInfo) -> float:
    if info.duration_s is not None:
        return max(1.0, info.duration_s * info.rate)
    return max(1.0, info.frames or (size_of(file) or 0) / BYTES_PER_FRAME)
