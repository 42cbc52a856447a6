"""The JSON that the service returns, for its OpenAPI document; the class names are the names of its schemas."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]
FACE: Json = {
    "box": [181.3, 65.1, 266.7, 177.1],
    "face_score": 0.93,
    "label": "happy",
    "score": 0.91,
    "probs": {
        "angry": 0.01,
        "disgust": 0.0,
        "fear": 0.01,
        "happy": 0.91,
        "sad": 0.01,
        "surprise": 0.02,
        "neutral": 0.04,
    },
}
TIMINGS = {"decode": 3.1, "detect": 14.2, "classify": 5.4, "total": 24.0}
IMAGE: Json = {
    "model": "tiny@0123456789ab",
    "width": 512,
    "height": 512,
    "faces": [FACE],
    "faces_found": 1,
    "truncated": False,
    "timings_ms": TIMINGS,
}
PROBLEM: Json = {
    "type": "urn:problem-type:fervit:unsupported-format",
    "title": "This kind of image or body is not accepted",
    "status": 415,
    "detail": "expected JPEG, PNG, WebP, got GIF",
}


class FaceRow(BaseModel):
    """What one face shows."""

    box: Annotated[list[float], Field(min_length=4, max_length=4)] = Field(
        description="x1, y1, x2, y2 in pixels of the upright image; x2 and y2 lie outside"
    )
    face_score: float = Field(ge=0, le=1, description="the detector's confidence")
    label: str = Field(description="the most probable expression, or uncertain below --min-confidence")
    score: float = Field(ge=0, le=1, description="the largest calibrated probability")
    probs: dict[str, float] = Field(description="calibrated probability of every expression; they sum to 1")


class Timings(BaseModel):
    """Milliseconds of this image; `classify` is the time of the batch that its faces were in."""

    decode: float
    detect: float
    classify: float
    total: float = Field(description="from the read request to the response, waiting included")


class Picture(BaseModel):
    """The response for one image; no face is an empty list."""

    model_config = ConfigDict(json_schema_extra={"examples": [IMAGE]})

    model: str = Field(description="model name and hash of its file")
    width: int
    height: int
    faces: list[FaceRow] = Field(description="most confident face first")
    faces_found: int
    truncated: bool = Field(description="whether more faces were found than are returned")
    timings_ms: Timings


class ProblemRow(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM]})

    type: str
    title: str
    status: int
    detail: str | None = None


class BatchRow(BaseModel):
    """One image of a batch: its response, or `error`."""

    index: int
    width: int | None = None
    height: int | None = None
    faces: list[FaceRow] | None = None
    faces_found: int | None = None
    truncated: bool | None = None
    timings_ms: Timings | None = None
    error: ProblemRow | None = None


class Batch(BaseModel):
    """The responses of a batch, in order; one bad image does not stop the others."""

    model: str
    results: list[BatchRow]


class Model(BaseModel):
    """What the service runs, and its limits."""

    id: str
    spec: Json = Field(description="the ModelSpec that the model file holds")
    colours: dict[str, dict[str, str]] = Field(
        description="every label's colour in annotated images (dark), and a darker one for light grounds (light)"
    )
    card: str | None = Field(description="the model card, Markdown")
    limits: Json
    fallback: str | None = Field(None, description="the face detector that stands in for the usual one, if any")


class Health(BaseModel):
    """Whether the service lives, or accepts images."""

    status: str
    fallback: str | None = Field(
        None, description="the face detector that stands in for the usual one, which is not installed; it finds fewer"
    )


RAW = {"schema": {"type": "string", "format": "binary"}}


def bodies(name: str, *, many: bool) -> Json:
    """Return the OpenAPI bodies with one field `name` of one image, or `many`: a form, and JSON with base64."""

    def schema(image: Json) -> Json:
        field = {"type": "array", "items": image, "minItems": 1} if many else image
        return {"schema": {"type": "object", "properties": {name: field}, "required": [name]}}

    return {
        "multipart/form-data": schema({"type": "string", "format": "binary"}),
        "application/json": schema({"type": "string", "contentEncoding": "base64"}),
    }
