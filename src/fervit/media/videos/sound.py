"""The sound of a video in a copy with other images: its packets as they are, or encoded anew where they do not fit."""

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from fervit.errors import VideoError, reason
from fervit.media.images import source_name
from fervit.media.videos.opening import Nameless, VideoSource, opened

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer, OutputContainer

COPIED = {
    "mp4": ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac"),
    "webm": ("opus", "vorbis"),
}
"""Codecs that each container takes as they are; players know them there."""
ENCODERS = {"mp4": "aac", "webm": "libopus"}
OPUS_RATE = 48_000  # Hz; Opus takes few others
MOST_CHANNELS = 2  # of what is encoded anew

log = logging.getLogger(__name__)


class Sound:
    """Copies all sound tracks of a video into a container, in step with the images that are written there.

    A track whose codec the container does not take is encoded anew, as AAC or Opus; one that cannot be decoded is left
    out, and told of. Broken sound ends early and is told of; it never ends the copy.

    Args:
        source: the video, as a path or the bytes of a file; an open file must be nobody else's.
        container: the copy, before anything was written into it.
        form: `mp4` or `webm`.

    Attributes:
        tracks: how many are copied.
    """

    def __init__(self, source: VideoSource, container: "OutputContainer", form: str):
        self._name, self._out = source_name(source), container
        self._stack = contextlib.ExitStack()
        self._tracks: dict[int, _Track] = {}
        self._packets: Iterator[Packet] = iter(())
        self._next: Packet | None = None
        with self._tolerated(), contextlib.ExitStack() as stack:
            file = stack.enter_context(opened(source, self._name))
            self._open(stack.enter_context(_container(file)), form)
            self._stack = stack.pop_all()
        self.tracks = len(self._tracks)

    def _open(self, found: "InputContainer", form: str) -> None:
        known = [stream for stream in found.streams.audio if stream.codec_context is not None]
        if len(known) < len(found.streams.audio):
            log.warning("%s: a sound track of unknown form is left out of the copy", self._name)
        for stream in known:
            self._tracks[stream.index] = _Track(stream, self._out, form)
        start_s = max(found.start_time or 0, 0) / 1_000_000
        for track in self._tracks.values():
            track.start_s = start_s
        if self._tracks:
            self._packets = found.demux([track.stream for track in self._tracks.values()])
            self._next = next(self._packets, None)

    def until(self, time_s: float) -> None:
        """Write the sound up to a time, s from the beginning of the video."""
        with self._tolerated():
            while self._next is not None:
                track = self._tracks[self._next.stream.index]
                begins_s = track.time_of(self._next)
                if begins_s is not None and begins_s > time_s:
                    return
                if begins_s is not None and begins_s >= 0:  # before the beginning lies what encoders need only
                    track.write(self._next, self._out)
                self._next = next(self._packets, None)

    def close(self, *, complete: bool) -> None:
        """Finish the sound; where `complete`, with all that follows the last image. Harmless when done twice."""
        if complete:
            self.until(float("inf"))
        self._next = None
        with self._tolerated():
            for track in self._tracks.values():
                track.finish(self._out)
        self._tracks = {}
        self._stack.close()

    @contextlib.contextmanager
    def _tolerated(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.FFmpegError, VideoError, OSError, ValueError) as error:
            if self._next is not None or not self._tracks:
                log.warning("%s: its sound could not be copied to the end: %s", self._name, reason(error))
            self._next, self._packets = None, iter(())


@contextlib.contextmanager
def _container(file: object) -> "Iterator[InputContainer]":
    import av

    with av.open(Nameless(file), metadata_errors="replace") as container:  # type: ignore[arg-type]
        yield container


def _decoded(packet: "Packet") -> "list[AudioFrame]":
    """Return a packet's sound; a broken one has none, and the next may be whole again."""
    import av

    try:
        return [frame for frame in packet.decode() if isinstance(frame, av.AudioFrame)]
    except av.FFmpegError:
        return []


class _Track:
    """One sound track on its way."""

    def __init__(self, stream: "AudioStream", container: "OutputContainer", form: str):
        self.stream, self.start_s = stream, 0.0
        self._last_s = self._end_s = self._offset_s = 0.0
        self._copied = stream.codec_context.codec.canonical_name in COPIED[form]
        self._out: AudioStream
        if self._copied:
            self._out = container.add_stream_from_template(stream)
        else:
            channels = min(MOST_CHANNELS, stream.codec_context.channels or 1)
            rate = OPUS_RATE if form == "webm" else stream.codec_context.sample_rate
            layout = "mono" if channels == 1 else "stereo"
            self._out = container.add_stream(ENCODERS[form], rate=rate, layout=layout)

    def time_of(self, packet: "Packet") -> float | None:
        """Return when a packet begins, s from the beginning of the video; None where it does not say."""
        if packet.pts is None or packet.time_base is None:
            return None
        own_s = float(packet.pts * packet.time_base) - self.start_s
        if own_s + self._offset_s < self._last_s:  # files joined without new times begin again: go on from the last
            self._offset_s = self._end_s - own_s
        return own_s + self._offset_s

    def write(self, packet: "Packet", container: "OutputContainer") -> None:
        """Write a packet, as it is or encoded anew."""
        time_s, base = self.time_of(packet), packet.time_base
        assert time_s is not None and base is not None and packet.pts is not None, "asked for before"
        self._last_s, self._end_s = time_s, time_s + float((packet.duration or 0) * base)
        moved = round(Fraction(time_s) / base) - packet.pts
        if not self._copied:
            for frame in _decoded(packet):
                if frame.pts is not None:
                    frame.pts += round(moved * base / frame.time_base)
                container.mux(self._out.encode(frame))
            return
        if packet.dts is not None:
            packet.dts += moved
        packet.pts += moved
        packet.stream = self._out
        container.mux(packet)

    def finish(self, container: "OutputContainer") -> None:
        """Write what the encoder still holds."""
        if not self._copied:
            container.mux(self._out.encode(None))
