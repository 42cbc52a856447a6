"""Results as text: JSON rows for machines, aligned lines for people."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TypedDict

from fervit.errors import ConfigError, quoted
from fervit.formatting import percent
from fervit.inference.results import FrameResult, ImageResult, Skipped
from fervit.types import UNCERTAIN, Prediction

NAME_WIDTH = 40  # columns at most; longer names push their own line only
_FLAT = ("source", "frame", "time_s", "track", "person", "face_score", "label", "score")


class JsonRow(TypedDict, total=False):
    """A row of `json_rows`; which keys it has depends on what was found."""

    source: str
    detector: str
    frame: int
    time_s: float
    cut: bool
    error: str
    faces: int
    box: list[float]
    face_score: float
    label: str
    score: float
    probs: dict[str, float]
    track: int
    person: str
    skipped: str


def json_rows(result: ImageResult | FrameResult | Skipped) -> list[JsonRow]:
    """Return the rows of one image, of one frame of a video, or of what was left out.

    One row for each face: `source, box [x1, y1, x2, y2], face_score, label, score, probs {name: p}`; a frame's
    rows have `frame, time_s` after the source, `cut` where a new shot begins, and end with `track` and `person`, where
    it is known. An image or frame without a face gives
    `source, faces: 0`; an image that could not be read gives `source, error`; what was left out, `source, skipped`.
    Where another detector stands in for the usual one, `detector` follows the source.
    """
    head: JsonRow = {"source": result.source}
    if isinstance(result, Skipped):
        return [{**head, "skipped": result.reason}]
    if result.fallback is not None:
        head |= {"detector": result.fallback}
    if isinstance(result, FrameResult):
        head |= {"frame": result.frame.index, "time_s": round(result.frame.time_s, 6)}
        if result.frame.cut:
            head |= {"cut": True}
    elif result.error is not None:
        return [{**head, "error": result.error}]
    if not result.predictions:
        return [{**head, "faces": 0}]
    return [{**head, **prediction.to_dict()} for prediction in result.predictions]


def json_lines(result: ImageResult | FrameResult | Skipped) -> str:
    """Return `json_rows` as JSON lines, one object a line, each line ended."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in json_rows(result))


def columns_of(labels: Sequence[str], *, errors: bool = False) -> dict[str, type]:
    """Return the names and types of a table's columns; a run's tables have `error` too."""
    names: dict[str, type] = {"source": str, "frame": int, "time_s": float, "cut": int, "track": int, "person": str}
    names |= dict.fromkeys(("x1", "y1", "x2", "y2", "face_score"), float)
    names |= {"label": str, "score": float}
    names |= {f"p_{label}": float for label in labels}
    return names | ({"error": str} if errors else {})


def table_rows(
    result: ImageResult | FrameResult, labels: Sequence[str], *, errors: bool = False
) -> list[dict[str, object]]:
    """Return flat rows, one for each face, for `pandas.DataFrame(rows)` or `polars.DataFrame(rows)`.

    Columns are those of `columns_of`, None where there is no value. With `errors`, an image or a frame without a face
    has a row too, and so has a file that could not be read.

    Raises:
        ConfigError: `result` or `labels` is of another type.
    """
    if not isinstance(result, ImageResult | FrameResult):
        raise ConfigError(f"expected a result of `Recognizer.images` or `.video`, got {quoted(result)}")
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise ConfigError(f"expected the model's labels, got {quoted(labels)}")
    rows = []
    for row in json_rows(result):
        if "box" not in row and not errors:
            continue
        flat: dict[str, object] = dict.fromkeys(columns_of(labels, errors=errors))
        flat |= {name: value for name, value in row.items() if name in _FLAT}
        if isinstance(result, FrameResult):
            flat["cut"] = int(result.frame.cut)
        if errors:
            flat["error"] = row.get("error")
        if "box" in row:
            flat |= dict(zip(("x1", "y1", "x2", "y2"), row["box"], strict=True))
            flat |= {f"p_{label}": p for label, p in row["probs"].items()}
        rows.append(flat)
    return rows


def table_lines(result: ImageResult, width: int = NAME_WIDTH) -> Iterator[str]:
    """Yield aligned lines for people: one for each face, with the name on the first.

    Args:
        result: one image.
        width: columns of the name.
    """
    name = pad(printable(result.source), width)
    if result.error is not None:
        yield f"{name}  error    {printable(result.error)}"
        return
    if not result.predictions:
        yield f"{name}  no face"
        return
    count = len(result.predictions)
    for index, prediction in enumerate(result.predictions):
        faces = f"{count} face{'s' if count > 1 else ''}" if index == 0 else ""
        yield f"{name if index == 0 else ' ' * width}  {faces:<8} {_described(prediction)}"


def printable(text: str) -> str:
    r"""Return `text` with control characters escaped: a file name must not move the cursor.

    >>> printable("a\nb.jpg")
    'a\\nb.jpg'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def columns(text: str) -> int:
    """Return how many terminal columns `text` takes; East Asian wide characters take two."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int) -> str:
    """Return `text` filled with blanks to `width` terminal columns."""
    return text + " " * max(0, width - columns(text))


def _described(prediction: Prediction) -> str:
    first, *others = prediction.top(3)
    label, score = prediction.label, prediction.score
    if label == UNCERTAIN:
        others = [first, *others]
    rest = ", ".join(f"{name} {percent(p, 0)}" for name, p in others if p >= 0.005)
    x1, y1, x2, y2 = (round(v) for v in prediction.face.box.to_list())
    size = max(len(name) for name in (label, *prediction.labels))
    return f"{label:<{size}} {percent(score, 0):>5}  [{x1}, {y1}, {x2}, {y2}]" + (f"  ({rest})" if rest else "")
