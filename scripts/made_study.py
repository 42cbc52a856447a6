"""Make the rows of a study that nobody took part in, and the pictures of docs/study.md from them.

Usage: python scripts/made_study.py rows.csv       # what `fervit predict recordings/ --csv rows.csv` would write
       python scripts/made_study.py --pictures     # docs/images/study_*.png

Twelve people watch two films, A and B; during B they smile more. Everything is drawn at random, seeded.
"""

import contextlib
import csv
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.inference.rows import columns_of
from fervit.labels import FER7

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "study.md"
RATE = 5  # frames a second
Row = dict[str, object]


def probabilities(rng: np.random.Generator, count: int, smiles: float) -> np.ndarray:
    """Return `(count, 7)` probabilities of a face that shows one expression after the other."""
    logits = np.zeros((count, len(FER7)))
    often = np.array([0.3, 0.1, 0.1, smiles, 0.4, 0.5, 3.0])
    start = 0
    while start < count:
        end = start + int(rng.gamma(2, 1.2) * RATE) + 2
        logits[start:end, rng.choice(len(FER7), p=often / often.sum())] += rng.uniform(1.5, 4.0)
        start = end
    kernel = np.ones(3) / 3
    logits = np.stack([np.convolve(column, kernel, "same") for column in logits.T], axis=1)
    weights = np.exp(1.4 * (logits + rng.normal(0, 0.12, logits.shape)))
    found: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return found


def video(rng: np.random.Generator, source: str, *, seconds: float, smiles: float) -> Iterator[Row]:
    """Yield the rows of a video: the person looks away once, and now and then another face is seen in the back."""
    count = int(seconds * RATE)
    probs = probabilities(rng, count, smiles)
    away = rng.uniform(10, seconds - 15)
    behind = rng.uniform(5, seconds - 10) if rng.random() < 0.2 else np.inf
    columns = columns_of(FER7, errors=True)
    for k in range(count):
        head: Row = dict.fromkeys(columns) | {"source": source, "frame": k, "time_s": k / RATE}
        faces = [] if away <= k / RATE < away + 6 else [1]
        faces += [2] if behind <= k / RATE < behind + 4 else []
        if not faces:
            yield head
        for track in faces:
            values = probs[k] if track == 1 else np.roll(probs, 40, axis=0)[k]
            top = int(values.argmax())
            row = head | {"track": track, "x1": 40.0, "y1": 40.0, "x2": 200.0, "y2": 220.0, "face_score": 0.95}
            row |= {"label": FER7[top], "score": round(float(values[top]), 4)}
            yield row | {f"p_{name}": round(float(p), 4) for name, p in zip(FER7, values, strict=True)}


def made_rows(people: int = 12, seconds: float = 90, seed: int = 3) -> Iterator[Row]:
    """Yield the rows of the study."""
    rng = np.random.default_rng(seed)
    for person in range(people):
        habit = rng.gamma(4, 0.3)
        for film, factor in (("A", 1.0), ("B", 2.0)):
            source = f"recordings/{film}/p{person + 1:02d}.mp4"
            yield from video(rng, source, seconds=seconds + rng.uniform(-10, 10), smiles=factor * habit)


def write_rows(path: Path, **options: float) -> None:
    """Write the rows as `fervit predict` does."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns_of(FER7, errors=True)))
        writer.writeheader()
        writer.writerows(made_rows(**options))  # type: ignore[arg-type]


def pictures(folder: Path) -> None:
    """Draw the pictures of the page."""
    from fervit.analysis.contact import draw_contact_sheet
    from fervit.analysis.study import study
    from fervit.analysis.timeline import draw_timeline
    from fervit.reports.figures.files import write_figure

    with tempfile.TemporaryDirectory() as place:
        write_rows(Path(place) / "rows.csv")
        found = study(Path(place) / "rows.csv")
        names: dict[str, object] = {}
        with contextlib.chdir(place):  # the test's figure is the page's own
            for example in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
                exec(example, names)
        (folder / "study_test.png").write_bytes((Path(place) / "test.png").read_bytes())
    drawn = {"contact": draw_contact_sheet(found), "timeline": draw_timeline(found, found.videos[1].source)}
    for name, figure in drawn.items():
        path = folder / f"study_{name}.png"
        write_figure(figure, path)
        Image.open(path).convert("RGB").quantize(96).save(path, optimize=True)  # a quarter of the size


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--pictures":
        pictures(ROOT / "docs" / "images")
    else:
        write_rows(Path(sys.argv[1]))
