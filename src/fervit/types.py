"""The values that flow between modules: frozen, small, and without behaviour beyond their own shape."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np

from fervit.errors import ModelError, reason
from fervit.labels import FER7
from fervit.licences import Licence, licences_of, non_commercial
from fervit.metadata import check_preprocess, check_spec

INPUT = "pixel_values"  # the model's input; an ensemble has more of them: pixel_values_1, ...
OUTPUT = "logits"
METADATA_KEY = "fervit"  # under which a model file holds its `ModelSpec`
UNCERTAIN = "uncertain"  # the label of a prediction below the wanted confidence; no data set has it

Image = np.ndarray
"""An image: `(H, W, 3)` uint8, RGB, upright."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the upright source image; half-open: `x2` and `y2` lie outside."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        """Width in px."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Height in px."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Area in px²; 0 for a box that is inside out."""
        return max(0.0, self.width) * max(0.0, self.height)

    def iou(self, other: "Box") -> float:
        """Return the intersection over union with `other`, 0..1."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        overlap = max(0.0, width) * max(0.0, height)
        union = self.area + other.area - overlap
        return overlap / union if union > 0 else 0.0

    def to_list(self) -> list[float]:
        """Return `[x1, y1, x2, y2]`, rounded to a tenth of a pixel."""
        return [round(float(v), 1) for v in (self.x1, self.y1, self.x2, self.y2)]


@dataclass(frozen=True, eq=False)
class Face:
    """A detected face.

    Attributes:
        box: where it is, in source pixels.
        score: the detector's confidence, 0..1.
        landmarks: `(5, 2)` float pixels (right eye, left eye, nose, right and left mouth corner; the
            person's own right and left), or None where the detector gives none.
    """

    box: Box
    score: float
    landmarks: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One video frame.

    Attributes:
        index: from 0.
        time_s: when it is shown, s.
        image: `(H, W, 3)` uint8 RGB.
        cut: a new shot begins with it, or with a frame that was left out since the one before it.
    """

    index: int
    time_s: float
    image: Image
    cut: bool = False


class PredictionRow(TypedDict):
    """A prediction as JSON: `Prediction.to_dict`."""

    box: list[float]
    face_score: float
    label: str
    score: float
    probs: dict[str, float]
    track: NotRequired[int]
    person: NotRequired[str]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The expression that a face shows.

    Attributes:
        face: the face that was classified.
        labels: K label names.
        probs: `(K,)` calibrated probabilities that sum to 1.
        track: id of the face's track in a video, or None.
        min_confidence: probability below which the label is `uncertain`.
        person: whom the track shows, where somebody has said so (`fervit.inference.people`).
    """

    face: Face
    labels: tuple[str, ...]
    probs: np.ndarray
    track: int | None = None
    min_confidence: float = 0.0
    person: str | None = None

    @property
    def label(self) -> str:
        """The most probable label, or `uncertain` where its probability is below `min_confidence`."""
        return UNCERTAIN if self.score < self.min_confidence else self.labels[int(self.probs.argmax())]

    @property
    def score(self) -> float:
        """The largest probability: that of `label`, unless it is `uncertain`."""
        return float(self.probs.max())

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the `k` most probable `(label, probability)` pairs, best first."""
        order = np.argsort(-self.probs, kind="stable")[:k]
        return [(self.labels[i], float(self.probs[i])) for i in order]

    def to_dict(self) -> PredictionRow:
        """Return the JSON row: `box, face_score, label, score, probs` (and `track`, `person` where they are known)."""
        row: PredictionRow = {
            "box": self.face.box.to_list(),
            "face_score": round(float(self.face.score), 4),
            "label": self.label,
            "score": round(self.score, 6),
            "probs": {n: round(float(p), 6) for n, p in zip(self.labels, self.probs, strict=True)},
        }
        if self.track is not None:
            row["track"] = self.track
        if self.person is not None:
            row["person"] = self.person
        return row


@dataclass(frozen=True)
class Preprocess:
    """How a face crop becomes model input; it is stored in the checkpoint and nowhere else.

    Attributes:
        image_size: side of the square input in px.
        mean: per-channel mean, in units of the 0..1 range: of three channels, or of one for a model of grey input.
            Zeros where nothing is subtracted.
        std: per-channel standard deviation, same units. Another factor than 1/255 is part of it and of the mean.
        interpolation: one of Pillow's filters, by its name in `metadata.FILTERS`.
        crop_margin: fraction of the detected box's side added on every side before cropping.
        crop_offset: downward shift of the crop, as a fraction of the box's height (negative is up).
        resize_to: None resizes to the input's square. Else what crops are resized to before the input is cut out of
            their centre, in px: `(shortest edge,)`, `(height, width)`, or `()` where they are not resized. What is
            smaller than the input is padded with black.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    crop_margin: float = 0.0
    crop_offset: float = 0.0
    resize_to: tuple[int, ...] | None = None

    @property
    def channels(self) -> int:
        """Channels of the input: 3, or 1 for a model of grey input."""
        return len(self.mean)

    @property
    def geometry(self) -> tuple[object, ...]:
        """What makes two inputs have the same pixels before they are normalised."""
        return self.image_size, self.interpolation, self.resize_to, self.channels

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `from_dict` reads back; it has `resize_to` only where that is set."""
        values = asdict(self)
        if self.resize_to is None:
            del values["resize_to"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Build from a JSON object; lists become tuples.

        Raises:
            ModelError: a field is missing, unknown, of another type or out of its range.
        """
        check_preprocess(values)
        fields: dict[str, Any] = dict(values)
        for name in ("mean", "std", "resize_to"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class ModelSpec:
    """All that the run half needs of a model; stored in the checkpoint and in the ONNX metadata.

    Attributes:
        arch: architecture name, such as `vit` or `dinov2`.
        labels: K label names in the order of the logits.
        preprocess: how crops become input.
        temperature: the calibration temperature that was fitted on validation data; it is already folded
            into the classifier's weights, so softmax of the logits is calibrated everywhere.
        name: short name of the model.
        licence: SPDX id, or words; of the weights themselves.
        data_hash: content hash of the training data set.
        metrics: measured figures of the model, such as `{"public_test": {...}}`.
        extra_inputs: how crops become the further inputs of an ensemble whose members preprocess faces differently.
        trained_on: the licences of the data that it learnt from, also through its teacher, its members and the weights
            that it started from. Empty where nobody noted them.
    """

    arch: str
    preprocess: Preprocess
    labels: tuple[str, ...] = FER7
    temperature: float = 1.0
    name: str = ""
    licence: str = ""
    data_hash: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    extra_inputs: tuple[Preprocess, ...] = ()
    trained_on: tuple[Licence, ...] = ()

    @property
    def non_commercial(self) -> bool:
        """Whether the terms of what it was trained on exclude commercial use."""
        return bool(non_commercial(self.trained_on))

    @property
    def inputs(self) -> dict[str, Preprocess]:
        """How crops become each of the model's inputs, by its name; one of them, except for ensembles."""
        each = (self.preprocess, *self.extra_inputs)
        return {f"{INPUT}_{k}" if k else INPUT: preprocess for k, preprocess in enumerate(each)}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `from_dict` reads back, with `extra_inputs` and `trained_on` if there are any."""
        values = asdict(self) | {"preprocess": self.preprocess.to_dict()}
        del values["extra_inputs"], values["trained_on"]
        if self.extra_inputs:
            values["extra_inputs"] = [preprocess.to_dict() for preprocess in self.extra_inputs]
        if self.trained_on:
            values["trained_on"] = [asdict(licence) for licence in self.trained_on]
        return values

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads back."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelSpec":
        """Build from a JSON object; one without `trained_on` gets it where the hash of its data is known.

        Raises:
            ModelError: a field is missing, unknown, of another type or out of its range (see `metadata.check_spec`).
        """
        check_spec(values)
        fields = dict(values)
        fields["preprocess"] = Preprocess.from_dict(fields["preprocess"])
        fields["labels"] = tuple(fields.get("labels", FER7))
        fields["extra_inputs"] = tuple(map(Preprocess.from_dict, fields.get("extra_inputs", ())))
        fields["trained_on"] = licences_of(values)
        return cls(**fields)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Read what `to_json` wrote.

        Raises:
            ModelError: see `from_dict`; or it is no JSON.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"the model's fervit metadata is not JSON ({reason(error)}); export it again") from error
        return cls.from_dict(values)


class Classifier(Protocol):
    """What turns face crops into probabilities: `OnnxClassifier`, or the train half's `TorchClassifier`.

    Attributes:
        spec: labels, preprocessing and provenance of the model.
    """

    spec: ModelSpec

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = ...) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of N uint8 crops, grey or RGB, of any sizes."""
        ...


def check_labels(labels: Sequence[str], expected: Sequence[str], what: str, way_out: str = "") -> None:
    """Raise `ModelError` when two label lists differ, naming both, and `way_out` at the end."""
    if tuple(labels) != tuple(expected):
        raise ModelError(
            f"{what}: the model knows {len(labels)} labels ({', '.join(labels)}), "
            f"the data has {len(expected)} ({', '.join(expected)})" + (f"; {way_out}" if way_out else "")
        )
