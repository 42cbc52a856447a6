"""What a recognizer returns: `ImageResult` of a photo, `FrameResult` of a video's frame; and what a run left out."""

from dataclasses import dataclass, field, replace

from fervit.inference.videos.points import ResumePoint
from fervit.types import Frame, Image, Prediction


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What was found in one image of many.

    Attributes:
        source: the path or name it came from.
        predictions: one for each face, most confident face first.
        error: why it could not be read, or None.
        size: `(width, height)` in px, or None when it could not be read.
        fallback: the detector that stood in for the usual one, or None.
    """

    source: str
    predictions: list[Prediction] = field(default_factory=list)
    error: str | None = None
    size: tuple[int, int] | None = None
    fallback: str | None = None


@dataclass(frozen=True, eq=False)
class FrameResult:
    """What was found in one frame of a video.

    Attributes:
        source: the path or name it came from.
        frame: the frame, with its index, its time and its image.
        predictions: one for each face, with the id of its track; the probabilities are smoothed.
        fallback: the detector that stood in for the usual one, or None.
        resume: from where `Recognizer.video` can go on after this frame; every few frames have it.
    """

    source: str
    frame: Frame
    predictions: list[Prediction] = field(default_factory=list)
    fallback: str | None = None
    resume: ResumePoint | None = None

    def with_image(self, image: Image) -> "FrameResult":
        """Return the same result of a frame with another image, `(H, W, 3)` uint8."""
        return replace(self, frame=replace(self.frame, image=image))


@dataclass(frozen=True)
class Skipped:
    """What lay in a folder and was left out.

    Attributes:
        source: its path.
        reason: why, in a few words that are the same for all of a kind.
    """

    source: str
    reason: str
