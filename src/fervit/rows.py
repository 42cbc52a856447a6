"""Results as text: JSON rows for machines, aligned lines for people."""

import json
import unicodedata
from collections.abc import Iterator
from typing import Any

from fervit.recognizer import ImageResult
from fervit.types import Prediction

NAME_WIDTH = 40  # columns at most; longer names push their own line only


def json_rows(result: ImageResult) -> list[dict[str, Any]]:
    """Return the rows of one picture.

    One row for each face: `source, box [x1, y1, x2, y2], face_score, label, score, probs {name: p}`.
    A picture without a face gives `source, faces: 0`; one that could not be read gives `source, error`.
    """
    if result.error is not None:
        return [{"source": result.source, "error": result.error}]
    if not result.predictions:
        return [{"source": result.source, "faces": 0}]
    return [{"source": result.source, **prediction.to_dict()} for prediction in result.predictions]


def json_lines(result: ImageResult) -> str:
    """Return `json_rows` as JSON lines, one object a line, each line ended."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in json_rows(result))


def table_lines(result: ImageResult, width: int = NAME_WIDTH) -> Iterator[str]:
    """Yield aligned lines for people: one for each face, with the name on the first.

    Args:
        result: one picture.
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
        yield f"{name if index == 0 else ' ' * width}  {faces:<8} {_answer(prediction)}"


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


def _answer(prediction: Prediction) -> str:
    (label, score), *others = prediction.top(3)
    rest = ", ".join(f"{name} {_percent(p)}" for name, p in others if p >= 0.005)
    x1, y1, x2, y2 = (round(v) for v in prediction.face.box.to_list())
    size = max(len(name) for name in prediction.labels)
    return f"{label:<{size}} {_percent(score):>5}  [{x1}, {y1}, {x2}, {y2}]" + (f"  ({rest})" if rest else "")


def _percent(p: float) -> str:
    return f"{100 * p:.0f} %"
